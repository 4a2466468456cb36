"""The prompts a language model is trained on: byte for byte those it gets when served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from rearank_agent.errors import InputError
from rearank_agent.listwise import build_prompt
from rearank_agent.listwise.prompt import Message, Prompt
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.types import Passage
from rearank_training.rows.rows import Passages, Row

__all__ = [
    "Example", "Tokenize", "check_form", "check_sizes", "example_of", "example_prompt",
    "fitting_examples",
]  # fmt: skip

Tokenize = Callable[[Sequence[Sequence[Message]]], Sequence[Sequence[int]]]
"""The token ids of every prompt, the start of the reply included."""

_AT_ONCE = 1024  # prompts tokenized at once: enough for all processors, few enough for memory


@dataclass(frozen=True, slots=True)
class Example:
    """A query and passages, as a policy is shown them.

    Attributes:
        name: of the row, for messages and logs: collection/query/number.
        grades: of the passages, in their order; empty where they are not judged.
    """

    name: str
    query: str
    instruction: str
    passages: tuple[Passage, ...]
    grades: tuple[int, ...] = ()


def example_of(row: Row, passages: Passages) -> Example:
    """A row with its texts."""
    query = row.query
    texts = tuple(passages[query.collection, name] for name in row.passages)
    name = f"{query.collection}/{query.id}/{row.number}"
    return Example(name, query.text, query.instruction, texts, row.grades)


def example_prompt(
    config: PromptConfig, one: Example, window: Iterable[int] | None = None
) -> Prompt:
    """The prompt for the order of the passages at these positions; None for all."""
    positions = range(len(one.passages)) if window is None else window
    return build_prompt(
        one.query,
        [one.passages[position] for position in positions],
        instruction=one.instruction,
        form=config.form,
        think=config.think,
        template=config.template,
        cut=config.cut,
    )


def check_form(config: PromptConfig) -> None:
    """Raise InputError for a model that is asked for scores: what is trained is an order."""
    if config.form != "order":
        raise InputError(
            f"the model is asked for {config.form}, and only orders are trained: a reward would "
            "be for another answer than the one that is served"
        )


def check_sizes(examples: Iterable[Example], config: PromptConfig, lists: bool) -> None:
    """Raise InputError unless each is a window or, with `lists`, some are longer than a window."""
    sizes = [len(one.passages) for one in examples]
    if not lists and max(sizes) > config.window:
        raise InputError(
            f"there are rows of {max(sizes)} passages, and the model is shown {config.window} at "
            f"once: draw rows with --size {config.window}, or give --goal list"
        )
    if lists and max(sizes) <= config.window:
        raise InputError(
            f"the rows have at most {max(sizes)} passages, and --goal list needs more than a "
            f"window of {config.window}: draw larger ones with --size"
        )


def fitting_examples(
    examples: Iterable[Example], config: PromptConfig, tokenize: Tokenize, max_tokens: int
) -> tuple[list[Example], Counter[str]]:
    """Those whose prompt fits; and how many were too `long`, or show a passage truncated (`cut`).

    Args:
        max_tokens: of a prompt; a longer one is left out, never truncated.

    Raises:
        InputError: none fits.
    """
    kept: list[Example] = []
    counts = Counter[str]()
    remaining = iter(examples)
    while some := [*islice(remaining, _AT_ONCE)]:
        prompts = [_longest_prompt(config, one) for one in some]
        tokenized = tokenize([prompt.messages for prompt in prompts])
        for one, prompt, tokens in zip(some, prompts, tokenized, strict=True):
            if len(tokens) > max_tokens:
                counts["long"] += 1
            else:
                counts["cut"] += any(fault.kind == "cut" for fault in prompt.faults)
                kept.append(one)
    if not kept:
        raise InputError(
            f"all {counts['long']:,} prompts have more than {max_tokens} tokens: raise "
            "--prompt-tokens, show less of a passage (--cut), or draw smaller sets"
        )
    return kept, counts


def _longest_prompt(config: PromptConfig, one: Example) -> Prompt:
    """The longest of all windows' prompts."""
    positions = range(len(one.passages))
    longest = sorted(positions, key=lambda position: -len(one.passages[position].content))
    return example_prompt(config, one, longest[: config.window])
