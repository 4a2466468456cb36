"""What a language model is asked to learn from: word for word what it will be asked when served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rearank_agent.errors import InputError
from rearank_agent.listwise import build_prompt
from rearank_agent.listwise.prompt import Message, Prompt
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.types import Passage
from rearank_training.rows.rows import Passages, Row

__all__ = ["Example", "Length", "check_sizes", "example_of", "example_prompt", "fitting_examples"]

Length = Callable[[Sequence[Message]], int]
"""The tokens of a prompt, the start of the reply included."""


@dataclass(frozen=True, slots=True)
class Example:
    """A query and passages, as a policy gets to see them.

    Attributes:
        name: of the row, for a person: collection/query/number.
        grades: of the passages, in their order; empty where nobody judged them.
    """

    name: str
    query: str
    instruction: str
    passages: tuple[Passage, ...]
    grades: tuple[int, ...] = ()


def example_of(row: Row, passages: Passages) -> Example:
    """A row with its texts."""
    of = row.query
    texts = tuple(passages[of.collection, name] for name in row.passages)
    return Example(
        f"{of.collection}/{of.id}/{row.number}", of.text, of.instruction, texts, row.grades
    )


def example_prompt(
    words: PromptConfig, one: Example, window: Iterable[int] | None = None
) -> Prompt:
    """The messages that ask for the order of the passages at these positions; None for all."""
    positions = range(len(one.passages)) if window is None else window
    return build_prompt(
        one.query,
        [one.passages[position] for position in positions],
        instruction=one.instruction,
        form=words.form,
        think=words.think,
        template=words.template,
        cut=words.cut,
    )


def check_sizes(some: Iterable[Example], words: PromptConfig, whole: bool) -> None:
    """Raise InputError unless each is a window or, with `whole`, a list longer than one."""
    sizes = [len(one.passages) for one in some]
    if not whole and max(sizes) > words.window:
        raise InputError(
            f"there are rows of {max(sizes)} passages, and the model is shown {words.window} at "
            f"once: draw rows with --size {words.window}, or give --goal list"
        )
    if whole and min(sizes) <= words.window:
        raise InputError(
            f"there are rows of {min(sizes)} passages, and the goal list is for more than a window "
            f"of {words.window}: draw larger ones with --size"
        )


def fitting_examples(
    some: Iterable[Example], words: PromptConfig, length: Length, most: int
) -> tuple[list[Example], Counter[str]]:
    """Those whose prompt fits; and how many were too `long`, or show a passage `cut`.

    Args:
        most: tokens of a prompt; a longer one is left out, never cut.

    Raises:
        InputError: none fits.
    """
    kept: list[Example] = []
    counts = Counter[str]()
    for one in some:
        places = range(len(one.passages))
        longest = sorted(places, key=lambda place: -len(one.passages[place].content))
        said = example_prompt(words, one, longest[: words.window])  # of all windows there can be
        if length(said.messages) > most:
            counts["long"] += 1
        else:
            counts["cut"] += any(fault.kind == "cut" for fault in said.faults)
            kept.append(one)
    if not kept:
        raise InputError(
            f"all {counts['long']:,} prompts have more than {most} tokens: raise --prompt-tokens, "
            "show less of a passage (--cut), or draw smaller sets"
        )
    return kept, counts
