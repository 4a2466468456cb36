"""Scores in a model's answer: `[1] 7, [2] 9.5`, on whatever one scale the whole answer uses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rearank_agent.listwise.answer_format import BEST_SCORE

__all__ = ["Scored", "find_scores", "scale_of"]

_SCORED = re.compile(
    r"\[\s*([0-9]+)\s*\]\**\s*[:=]?\s*\**\s*([0-9]+(?:\.[0-9]+)?)(?:\s*(%)|\s*/\s*([0-9]{1,4}))?"
)


class Scored(NamedTuple):
    """One scored identifier.

    Attributes:
        number: as the model wrote it, from 1.
        score: on the answer's own scale.
        out_of: the top of that scale where it is written ("7/10", "70%"); else 0.
        start, end: where it is in the answer.
    """

    number: int
    score: float
    out_of: float
    start: int
    end: int


def find_scores(answer: str) -> list[Scored]:
    """All scored identifiers of an answer, in its order."""
    return [
        Scored(
            int(one[1][:7]),
            float(one[2][:9]),
            100.0 if one[3] else float(one[4] or 0),
            one.start(),
            one.end(),
        )
        for one in _SCORED.finditer(answer)
    ]


def scale_of(scored: Sequence[Scored]) -> float | None:
    """The top of the scale that all scores of an answer agree on; None where they do not.

    Scores to 1, to 100 and out of a written number are known; else it is 10, as asked for.
    """
    values = [one.score for one in scored]
    highest = max(values, default=0.0)
    written = {one.out_of for one in scored} - {0.0}
    if written:
        (top, *others) = written
        return top if not others and highest <= top else None
    if highest <= 1 and any(0 < value < 1 for value in values):
        return 1.0
    if highest <= BEST_SCORE:
        return BEST_SCORE
    positive = [value for value in values if value]
    large = sum(value > BEST_SCORE for value in positive)
    return 100.0 if highest <= 100 and 2 * large >= len(positive) else None
