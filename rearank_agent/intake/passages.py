"""The passages of a request: each from its form, with unique ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rearank_agent.errors import InputError, shown
from rearank_agent.intake.forms import to_passage
from rearank_agent.types import Passage

__all__ = ["as_passages"]


def as_passages(items: Iterable[object]) -> tuple[Passage, ...]:
    """Passages in the order given; one without an id gets its position, from "1".

    Args:
        items: each in a form that `to_passage` knows.

    Raises:
        InputError: no passages, an id twice (also with the same text: nothing is left out
            unasked), or an item that is no passage.
    """
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        kind = type(items).__name__
        raise InputError(f"passages must be a list of passages, not one {kind}: {shown(items)}")
    passages: dict[str, tuple[int, Passage]] = {}
    for number, item in enumerate(items, 1):
        try:
            passage = to_passage(item, str(number))
        except InputError as error:
            raise InputError(f"passage {number}: {error}") from None
        if passage.id in passages:
            raise InputError(_twice(passage, number, *passages[passage.id]))
        passages[passage.id] = (number, passage)
    if not passages:
        raise InputError("there are no passages to rank")
    return tuple(passage for _, passage in passages.values())


def _twice(passage: Passage, number: int, earlier: int, first: Passage) -> str:
    same = passage.content == first.content
    return (
        f"two passages have the id {passage.id!r}: {earlier} and {number}, with "
        f"{'the same text; leave one out' if same else 'different texts; ids must be unique'}"
    )
