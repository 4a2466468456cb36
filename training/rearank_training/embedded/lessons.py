"""Lessons: what a teacher says of queries' candidates, and the windows that are drawn from them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from math import sqrt
from random import Random
from statistics import fmean, pvariance
from typing import Any

from rearank_agent.errors import InputError, PolicyError
from rearank_agent.types import NO_ANSWER, Passage, Ranking

__all__ = ["Candidates", "Lesson", "LessonSampler", "teacher_scores"]


@dataclass(frozen=True, slots=True)
class Candidates:
    """A query and the passages that its first stage found.

    Attributes:
        source: the collection, or the file of records.
        query: its text.
        instruction: one sentence on what relevant means; may be empty.
        passages: in first-stage order.
    """

    source: str
    query: str
    instruction: str
    passages: tuple[Passage, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """Titles and texts of the passages."""
        return tuple(passage.content for passage in self.passages)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a teacher says of a query's candidates.

    Attributes:
        candidates: of the query.
        scores: of the passages, higher is better; minus their ranks where it only orders them.
        ordered: whether it only orders them.
    """

    candidates: Candidates
    scores: tuple[float, ...]
    ordered: bool


def teacher_scores(ranking: Ranking) -> tuple[tuple[float, ...], bool]:
    """The scores of a teacher's ranking, by first-stage rank, and whether they are only ranks.

    Scores are as the model gave them (a cross-encoder's logits), since a map to 0 to 1 hides how
    much better the best are; the first stage has no part in them.

    Raises:
        PolicyError: the teacher failed on a window, or had no time for all.
    """
    faults = [fault for step in ranking.steps for fault in step.reply.faults]
    if failed := next((fault for fault in faults if fault.kind in NO_ANSWER), None):
        raise PolicyError(failed.detail or failed.kind)
    if ranking.partial or not ranking.judged:
        raise PolicyError("the ranking is not complete")
    if all(one.relevance is not None for one in ranking.passages):
        last = max(step.judge for step in ranking.steps)
        scores: dict[int, float] = {}
        for step in ranking.steps:
            if step.judge == last:
                own = step.reply.raw or step.reply.scores or ()
                scores.update(zip(step.window, own, strict=False))
        if len(scores) == len(ranking.passages):
            return tuple(scores[position] for position in range(len(scores))), False
    by_rank = sorted(ranking.passages, key=lambda one: one.was)
    return tuple(-float(one.rank) for one in by_rank), True


class LessonSampler:
    """Draws windows: a source, by the square root of its query count; a query; some passages.

    A draw depends on the seed and the step alone, so that a resumed run sees the same windows.

    Args:
        lessons: of all sources.
        seed: of the draws.
        teacher: the teacher's fingerprint.

    Raises:
        InputError: there are no lessons, or their scores say nothing.
    """

    def __init__(self, lessons: Sequence[Lesson], seed: int, teacher: str) -> None:
        self._lessons, self._seed, self._teacher = lessons, seed, teacher
        self._sources: dict[str, list[Lesson]] = {}
        for lesson in lessons:
            self._sources.setdefault(lesson.candidates.source, []).append(lesson)
        self._weights = [sqrt(len(each)) for each in self._sources.values()]
        if not lessons:
            raise InputError("the teacher ranked no query")
        self._unit = _unit(lessons)

    @cached_property
    def teacher(self) -> str:
        """The teacher's fingerprint, and the checksum of all it said."""
        said = [[one.candidates.query, *one.scores] for one in self._lessons]
        return f"{self._teacher} {sha256(json.dumps(said).encode()).hexdigest()[:12]}"

    @property
    def provenance(self) -> dict[str, Any]:
        """The teacher, and how many queries of each source it ranked, as JSON."""
        counts = Counter(one.candidates.source for one in self._lessons)
        return {"name": self.teacher, "queries": dict(counts)}

    def windows(self, step: int, windows: int, passages: int) -> list[Lesson]:
        """Windows of a step; scores are divided by their mean deviation within a query.

        So teachers of every scale suit one learning rate, and one query's margins still compare
        with another's.
        """
        random = Random(f"{self._seed} lessons {step}")  # noqa: S311 - reproducible, not secret
        sources = list(self._sources.values())
        drawn = (random.choices(sources, self._weights)[0] for _ in range(windows))
        return [self._window(random.choice(lessons), passages, random) for lessons in drawn]

    def _window(self, lesson: Lesson, passages: int, random: Random) -> Lesson:
        positions: Sequence[int] = range(len(lesson.scores))
        if len(positions) > passages:
            positions = sorted(random.sample(positions, passages))
        unit = 1.0 if lesson.ordered else self._unit
        shown = tuple(lesson.candidates.passages[position] for position in positions)
        return Lesson(
            candidates=replace(lesson.candidates, passages=shown),
            scores=tuple(lesson.scores[position] / unit for position in positions),
            ordered=lesson.ordered,
        )


def _unit(lessons: Sequence[Lesson]) -> float:
    """The deviation of scores within a query, the mean over queries' variances."""
    variances = [pvariance(one.scores) for one in lessons if not one.ordered]
    if variances and not any(variances):
        raise InputError("the teacher gives all passages of every query the same score")
    return sqrt(fmean(variances)) if variances else 1.0
