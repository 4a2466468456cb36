"""What a search found, before a policy ranks it."""

from __future__ import annotations

from dataclasses import dataclass

from rearank_agent.errors import InputError
from rearank_agent.types import Fault, Passage

__all__ = ["EmptyError", "SearchResult"]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The passages and faults of a search.

    Attributes:
        passages: best first, with BM25's score: 0 for those that are found by vectors alone.
        share: of the passages that were searched, those that have a vector, 0 to 1.
        words_weight: how much more than a policy recommends the first stage's scores count.
        faults: what was left out, and why, below the path that was asked; each reason once, `ids`
            are places.
        seconds: the time of each part: look, load, read, index, search.
    """

    passages: tuple[Passage, ...]
    share: float
    words_weight: float
    faults: tuple[Fault, ...]
    seconds: dict[str, float]


class EmptyError(InputError):
    """There is no text below the roots."""
