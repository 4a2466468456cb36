"""Windows that fit the length of a model: passages are cut before a server has to refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count as count_up

from rearank_agent.errors import PolicyError
from rearank_agent.listwise.prompt import Message, Prompt

__all__ = ["CountTokens", "answer_tokens", "estimate_tokens", "fit_window"]

MIN_CUT = 40
"""Fewer characters of a passage than this are not worth a judgement."""

_SECOND_TURN = 100  # what asking once more takes, without the answer
_TURN_TOKENS = 8  # what a chat template puts around a turn, with room to spare
_BYTES_A_TOKEN = 2.5  # fewer than usual text has, so that the guess is on the safe side

CountTokens = Callable[[Sequence[Message]], Awaitable[int | None]]


def answer_tokens(n: int) -> int:
    """As many tokens as an answer of n identifiers can take, with its tags."""
    return 24 + 8 * n


def estimate_tokens(messages: Sequence[Message]) -> int:
    """The tokens of a prompt, guessed from its bytes; rather too many than too few."""
    size = sum(len(message["content"].encode()) for message in messages)
    return int(size / _BYTES_A_TOKEN) + _TURN_TOKENS * (len(messages) + 1)


async def fit_window(
    ask: Callable[[int], Prompt],
    *,
    lengths: Sequence[int],
    cut: int,
    budget: int,
    most: int,
    count: CountTokens,
) -> tuple[Prompt, int]:
    """The messages of a window that fit, and the tokens left for the reply.

    A guess that is safely within the limit saves counting.

    Args:
        ask: the messages with passages cut to so many characters.
        lengths: the passages' characters.
        cut: the characters to begin with.
        budget: the tokens wanted for the reply.
        most: the tokens that the model takes, prompt and reply together.
        count: the tokens of a prompt; None where the server does not count.

    Raises:
        PolicyError: the query and the shortest passages do not fit.
    """
    answer = answer_tokens(len(lengths))
    answer += _SECOND_TURN
    limit = most - answer - min(budget, most // 2)
    for again in count_up():
        asked = ask(cut)
        tokens = estimate_tokens(asked.messages)
        if tokens > limit:
            tokens = await count(asked.messages) or tokens
        if tokens <= limit:
            return asked, min(budget, most - answer - tokens)
        if cut <= MIN_CUT:
            break
        size = sum(len(message["content"]) for message in asked.messages)
        shown = sum(min(length, cut) for length in lengths)
        keep = shown - 1.05 * (tokens - limit) * size / tokens
        # From the second time on at least by half: what was cut off may have been the cheap part.
        cut = max(MIN_CUT, min(_cut_to(lengths, cut, keep), cut // 2 if again else cut))
    raise PolicyError(
        f"a window of {len(lengths)} passages does not fit: the model takes {most} tokens, and "
        f"query, words and passages of {cut} characters need {tokens}; "
        "use smaller windows, or a model that takes more"
    )


def _cut_to(lengths: Sequence[int], cut: int, keep: float) -> int:
    """The most characters a passage may have so that all together have at most `keep`."""
    low, high = MIN_CUT, max(MIN_CUT, cut - 1)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(length, middle) for length in lengths) <= keep:
            low = middle
        else:
            high = middle - 1
    return low
