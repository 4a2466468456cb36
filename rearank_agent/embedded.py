"""The default judge: a small encoder shipped in the package, with evidence from the same pass."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np

from rearank_agent.encoder import Encoded, Encoder, Vector, unit
from rearank_agent.evidence import Terms, bigrams, content, sentences
from rearank_agent.lexical import Lexical, best_first, no_instruction
from rearank_agent.passage import Fault, Passage, Quote, Rationale, Reply, Task, Usage, Window

__all__ = ["WEIGHTS", "Embedded"]

WEIGHTS = Path(__file__).parent / "weights"
MOST_UNKNOWN = 0.2


@dataclass(frozen=True, slots=True)
class _Query:
    """What is worked out of a task before any passage is read."""

    vector: Vector
    terms: Terms
    whole: bool
    strange: frozenset[str]
    unreadable: str


@dataclass(frozen=True, slots=True)
class _Judged:
    score: float
    rationale: Rationale
    whole: bool


@dataclass(slots=True)
class _Request:
    """A task's work so far; a passage is read once, whichever windows it stands in."""

    query: Future[_Query]
    judged: dict[int, Future[_Judged]] = field(default_factory=dict)


class Embedded:
    """Scores by the cosine of query and passage; the evidence is the nearest sentence.

    A score depends on query and passage alone: it is equal to the last bit in any window, any
    order and on any number of threads of one machine. Scripts the vocabulary does not know are
    ranked by BM25 on pairs of letters instead, with a fault.

    Attributes:
        encoder: the network, from the folder of weights.
        threads: how many passages are read at the same time.

    Raises:
        SetupError: the weights are missing or damaged.
    """

    name = "embedded"
    scores = True

    def __init__(self, weights: Path = WEIGHTS, threads: int | None = None) -> None:
        self.encoder = Encoder(weights)
        self.threads = threads or os.cpu_count() or 1
        self._requests: WeakKeyDictionary[Task, _Request] = WeakKeyDictionary()
        self._lock = Lock()

    @property
    def fingerprint(self) -> str:
        """`embedded`, and the start of the weights' checksum."""
        return f"embedded:{self.encoder.checksum}"

    @property
    def blend(self) -> float:
        """As measured with these weights."""
        return float(self.encoder.facts["blend"])

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, thread_name_prefix="rearank-embedded")

    @cached_property
    def _bigrams(self) -> Lexical:
        return Lexical(bigrams)

    async def judge(self, task: Task, window: Window) -> Reply:
        """Score the window; passages not begun are dropped when the request is cancelled."""
        request = self._request(task)
        query = await asyncio.wrap_future(request.query)
        if query.unreadable:
            reply = await self._bigrams.judge(task, window)
            fault = Fault("vocabulary", (), query.unreadable)
            return replace(reply, faults=(fault, *reply.faults))
        futures = [self._future(request, query, task.candidates, p) for p in window]
        judged = await asyncio.gather(*map(asyncio.wrap_future, futures))
        scores = tuple(one.score for one in judged)
        return Reply(
            order=best_first(scores),
            scores=scores,
            rationales=tuple(one.rationale for one in judged),
            faults=self._faults(task, window, query, judged),
            usage=Usage(calls=1),
        )

    def _request(self, task: Task) -> _Request:
        with self._lock:
            request = self._requests.get(task)
            if request is None or request.query.cancelled():
                request = _Request(self._pool.submit(self._query, task))
                self._requests[task] = request
        return request

    def _future(
        self, request: _Request, query: _Query, candidates: tuple[Passage, ...], position: int
    ) -> Future[_Judged]:
        with self._lock:
            known = request.judged.get(position)
            if known is None or known.cancelled():
                known = self._pool.submit(self._judged, query, candidates[position])
                request.judged[position] = known
        return known

    def _faults(
        self, task: Task, window: Window, query: _Query, judged: list[_Judged]
    ) -> tuple[Fault, ...]:
        most = f"only the first {self.encoder.max_tokens} tokens were read"
        ids = task.ids(window)
        cut = tuple(i for i, one in zip(ids, judged, strict=True) if not one.whole)
        strange = tuple(i for i in ids if i in query.strange)
        faults = [*no_instruction(task, self.name)]
        if not query.whole:
            faults.append(Fault("cut", (), f"of the query {most}"))
        if cut:
            faults.append(Fault("cut", cut, most))
        if strange:
            detail = "the encoder knows too few of the letters; the scores mean little"
            faults.append(Fault("vocabulary", strange, detail))
        return tuple(faults)

    def _query(self, task: Task) -> _Query:
        unknown = [self.encoder.unknown(passage.content) for passage in task.candidates]
        shares = {
            "the query's letters": self.encoder.unknown(task.query),
            "the passages' letters": sum(unknown) / len(unknown),
        }
        told = " and ".join(
            f"{share:.0%} of {what}" for what, share in shares.items() if share > MOST_UNKNOWN
        )
        ids = task.ids(range(len(unknown)))
        encoded = self.encoder.encode(task.query)
        return _Query(
            vector=unit(encoded.hidden.mean(axis=0)),
            terms=Terms.of(task.query),
            whole=encoded.whole,
            strange=frozenset(i for i, s in zip(ids, unknown, strict=True) if s > MOST_UNKNOWN),
            unreadable=told and f"the encoder cannot read {told}; BM25 on pairs of letters ranks",
        )

    def _judged(self, query: _Query, passage: Passage) -> _Judged:
        text = passage.content
        if not text.strip():
            return _Judged(-1.0, query.terms.rationale(()), True)
        encoded = self.encoder.encode(text)
        quotes = _nearest(query.vector, encoded, passage, len(text) - len(passage.text))
        return _Judged(
            score=float(np.dot(query.vector, unit(encoded.hidden.mean(axis=0)))),
            rationale=query.terms.rationale(content(text[: encoded.end]), quotes),
            whole=encoded.whole,
        )


def _nearest(query: Vector, encoded: Encoded, passage: Passage, shift: int) -> tuple[Quote, ...]:
    """The sentence of the passage's text whose tokens lie nearest to the query."""
    starts = encoded.starts[1:-1]
    best: Quote | None = None
    highest = -2.0
    for span in sentences(passage.text[: max(0, encoded.end - shift)]):
        first, after = np.searchsorted(starts, (span.start + shift, span.end + shift))
        if after > first:
            tokens = encoded.hidden[1 + first : 1 + after]
            nearness = float(np.dot(query, unit(tokens.mean(axis=0))))
            if nearness > highest:
                best, highest = span, nearness
    return (best,) if best else ()
