"""Fitting a window into a model's context length, by truncating passages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count as count_up

from rearank_agent.errors import PolicyError
from rearank_agent.listwise.prompt import Message, Prompt
from rearank_agent.listwise.template import LEAST

__all__ = ["CountTokens", "answer_tokens", "estimate_tokens", "fit_window"]

MIN_CUT = LEAST["cut"]
"""Fewer characters of a passage than this are not worth ranking."""

_REASK_TOKENS = 100  # of the turns that ask again, without the answer
_TURN_TOKENS = 8  # what a chat template puts around a turn, rather too much
_BYTES_A_TOKEN = 2.5  # fewer than usual text has, so that the estimate is rather too high

CountTokens = Callable[[Sequence[Message]], Awaitable[int | None]]


def answer_tokens(n: int) -> int:
    """The maximum tokens of an answer of n identifiers, with its tags."""
    return 24 + 8 * n


def estimate_tokens(messages: Sequence[Message]) -> int:
    """The tokens of a prompt, estimated from its bytes; rather too many than too few."""
    size = sum(len(message["content"].encode()) for message in messages)
    return int(size / _BYTES_A_TOKEN) + _TURN_TOKENS * (len(messages) + 1)


async def fit_window(
    build: Callable[[int], Prompt],
    *,
    lengths: Sequence[int],
    cut: int,
    budget: int,
    max_tokens: int,
    count: CountTokens,
) -> tuple[Prompt, int]:
    """The messages of a window that fit, and the tokens left for the reply.

    An estimate within the limit saves counting.

    Args:
        build: the prompt with passages truncated to this many characters.
        lengths: the passages' characters.
        cut: the characters to begin with.
        budget: the tokens wanted for the reply.
        max_tokens: the tokens that the model takes, prompt and reply together.
        count: the tokens of a prompt; None where the server does not count.

    Raises:
        PolicyError: the query and the shortest passages do not fit.
    """
    answer = answer_tokens(len(lengths))
    answer += _REASK_TOKENS
    limit = max_tokens - answer - min(budget, max_tokens // 2)
    for again in count_up():
        prompt = build(cut)
        tokens = estimate_tokens(prompt.messages)
        if tokens > limit:
            tokens = await count(prompt.messages) or tokens
        if tokens <= limit:
            return prompt, min(budget, max_tokens - answer - tokens)
        if cut <= MIN_CUT:
            break
        size = sum(len(message["content"]) for message in prompt.messages)
        shown = sum(min(length, cut) for length in lengths)
        keep = shown - 1.05 * (tokens - limit) * size / tokens
        # From the second time on at least by half: what was removed may have been the cheap part.
        cut = max(MIN_CUT, min(_cut_to(lengths, cut, keep), cut // 2 if again else cut))
    raise PolicyError(
        f"a window of {len(lengths)} passages does not fit: the model takes {max_tokens} "
        f"tokens, and query, template and passages of {cut} characters need {tokens}; "
        "use smaller windows, or a model that takes more"
    )


def _cut_to(lengths: Sequence[int], cut: int, keep: float) -> int:
    """The maximum characters of a passage so that all together have at most `keep`."""
    low, high = MIN_CUT, max(MIN_CUT, cut - 1)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(length, middle) for length in lengths) <= keep:
            low = middle
        else:
            high = middle - 1
    return low
