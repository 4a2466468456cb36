"""A cross-encoder as the policy: it reads query and passage together and gives one score."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

from rearank_agent.errors import PolicyError
from rearank_agent.policies.pointwise import PointwiseScorer
from rearank_agent.policies.pretrained.config import CrossEncoderConfig
from rearank_agent.policies.pretrained.load import load
from rearank_agent.policies.pretrained.tokens import Piece, Tokens
from rearank_agent.policies.protocol import best_first, instruction_fault, sigmoid
from rearank_agent.policies.quotes import BEST, QuotedQuery, Quotes
from rearank_agent.types import Passage, Rationale, Reply, Task, Usage, Window

__all__ = ["CrossEncoder"]


@dataclass(frozen=True, slots=True)
class _Query:
    tokens: Tokens
    quoted: QuotedQuery


@dataclass(frozen=True, slots=True)
class _Scored:
    """A passage's raw score, the part of its content that has it, and whether all was read."""

    raw: float
    start: int
    end: int
    complete: bool


class CrossEncoder:
    """Scores by a cross-encoder of the Hugging Face hub, or of a folder laid out like one.

    A score is the probability of relevance, 0 to 1: the sigmoid of the model's number, or its
    softmax where it has two labels. The number itself is the reply's `raw`. A passage that is
    longer than the model reads is scored by its best window, from which the quote comes.

    A cross-encoder has no vectors of sentences: quotes are those of the embedded policy's encoder
    for the ten best passages of a window, and chosen by the query's terms for the others.

    Args:
        model: the name, as `ModelName` has it.
        threads: how many passages are read at the same time.

    Raises:
        InputError: there is no such model, or it is no cross-encoder.
        SetupError: files are missing or damaged, or a package is.
    """

    scores = True
    scale = 1.0
    blend = 0.0
    window = None

    def __init__(self, model: str, threads: int | None = None) -> None:
        self.name = f"cross-encoder:{model}"
        self.model, self.config = load(model, CrossEncoderConfig.read)
        self._quotes = Quotes()
        self._scorer = PointwiseScorer(
            self._query, self._score, threads or os.cpu_count() or 1, self.model.runtime.batch
        )

    @property
    def fingerprint(self) -> str:
        """The model's revision, file and checksum, and whose quotes the best passages have."""
        return f"cross-encoder:{self.model.fingerprint} {self._quotes.fingerprint}"

    async def judge(self, task: Task, window: Window) -> Reply:
        """Score the window; passages not begun are dropped when the request is cancelled."""
        scored = await self._scorer.passages(task, window)
        query = await self._scorer.query(task, window)
        raw = tuple(one.raw for one in scored)
        order = best_first(raw)
        complete = [one.complete for one in scored]
        cut = self.model.tokenizer.faults(query.tokens.complete, task.ids(window), complete)
        return Reply(
            order=order,
            scores=tuple(sigmoid(number) for number in raw),
            raw=raw,
            rationales=await self._rationales(task, window, query, scored, order),
            faults=(*instruction_fault(task, self.name), *cut),
            usage=Usage(calls=1),
        )

    async def _rationales(
        self, task: Task, window: Window, query: _Query, scored: Sequence[_Scored], order: Window
    ) -> tuple[Rationale, ...]:
        best = set(order[:BEST])
        calls = (
            partial(
                self._quotes.rationale,
                query.quoted,
                task.candidates[position],
                by_vectors=place in best,
                start=one.start,
                end=one.end,
            )
            for place, (position, one) in enumerate(zip(window, scored, strict=True))
        )
        return tuple(await asyncio.gather(*(self._scorer.run(window, call) for call in calls)))

    def _query(self, text: str) -> _Query:
        return _Query(self.model.tokenizer.query(text), self._quotes.query(text))

    def _score(self, query: _Query, passages: Sequence[Passage]) -> list[_Scored]:
        texts = [self.model.tokenizer.pairs(query.tokens, passage.content) for passage in passages]
        numbers = self._numbers([piece for pieces, _ in texts for piece in pieces])
        found = []
        for pieces, complete in texts:
            raw, best = max(((next(numbers), piece) for piece in pieces), key=itemgetter(0))
            found.append(_Scored(raw, best.start, best.end, complete))
        return found

    def _numbers(self, pieces: Sequence[Piece]) -> Iterator[float]:
        """The model's number for each piece."""
        for output in self.model.rows(pieces):
            labels = self.model.head(output)
            number = float(labels[self.config.relevant])
            if len(labels) == 2:
                number -= float(labels[1 - self.config.relevant])
            if not math.isfinite(number):
                raise PolicyError(f"{self.name} gave a score of {number}")
            yield number
