"""The default policy: a small encoder shipped in the package, with evidence from the same pass."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary

from rearank_agent.errors import InputError
from rearank_agent.policies.embedded.encoder import Encoder
from rearank_agent.policies.embedded.similarity import PooledText, SentenceNearness, similarity
from rearank_agent.policies.evidence import EvidenceQuery
from rearank_agent.policies.protocol import best_first, instruction_fault, unit_score
from rearank_agent.queueing.pool import FairPool
from rearank_agent.queueing.work import current_work
from rearank_agent.text import QueryTerms, bigrams, content_tokens
from rearank_agent.types import Fault, Passage, Rationale, Reply, Task, Usage, Window

if TYPE_CHECKING:
    from rearank_agent.policies.lexical import Lexical

__all__ = ["DEFAULT", "WEIGHTS", "Embedded", "shipped_weights"]

WEIGHTS = Path(__file__).parents[2] / "weights"
DEFAULT = "open"
"""The upper layers used where none are named."""
MAX_UNSUPPORTED = 0.2
"""The share of a text's letters in unsupported scripts, up to which the encoder reads it."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class _EncodedQuery:
    """The encoded query, or why the encoder is of no use for it."""

    text: str
    pooled: PooledText
    terms: QueryTerms
    evidence: EvidenceQuery
    complete: bool
    bigram_reason: str


@dataclass(frozen=True, slots=True)
class _Scored:
    score: float
    rationale: Rationale
    complete: bool
    supported: bool = True


class _Lazy(Generic[Found]):
    """A value computed once, by the first thread that calls; the others wait for it.

    Windows of one task share these and not futures: cancelling one window must not cancel
    what another waits for.
    """

    def __init__(self, work: Callable[[], Found]) -> None:
        self._work = work
        self._lock = Lock()
        self._found: list[Found] = []

    def __call__(self) -> Found:
        with self._lock:
            if not self._found:
                self._found.append(self._work())
            return self._found[0]


class _TaskWork:
    """A task's work; a passage is encoded once, whichever windows it is in."""

    def __init__(self, policy: Embedded, query: str, candidates: tuple[Passage, ...]) -> None:
        self.query = _Lazy(partial(policy._encode_query, query))
        self.scored = [_Lazy(partial(self._score, policy, passage)) for passage in candidates]

    def _score(self, policy: Embedded, passage: Passage) -> _Scored:
        return policy._score(self.query(), passage)


class Embedded:
    """Scores by the similarity of query and passage; `EvidenceQuery` picks the evidence.

    A score depends on query and passage alone: it is equal to the last bit in any window, any
    order and on any number of threads of one machine. A passage of which more than a fifth is in
    an unsupported script is scored by BM25 on pairs of letters, as if it were the only one, and
    s / (1 + s) places it among the others: at 0 without a pair of the query. A query in such a
    script has all its passages ranked by BM25 on pairs of letters. Both are faults.

    Args:
        top: which upper layers: one of `shipped_weights`, or a folder.
        threads: how many passages are encoded at the same time.
        weights: the folder of the lower layers, and of those that are shipped.

    Attributes:
        encoder: the network.

    Raises:
        InputError: no such upper layers.
        SetupError: the weights are missing or damaged.
    """

    scores = True
    scale = 1.0
    window = None

    def __init__(
        self, top: str = DEFAULT, threads: int | None = None, weights: Path = WEIGHTS
    ) -> None:
        self.name = "embedded" if top == DEFAULT else f"embedded:{top}"
        self.encoder = Encoder(weights, _folder(top, weights))
        self.threads = threads or os.cpu_count() or 1
        self._requests: WeakKeyDictionary[Task, _TaskWork] = WeakKeyDictionary()
        self._lock = Lock()

    @property
    def fingerprint(self) -> str:
        """`embedded`, and the start of the weights' checksum."""
        return f"embedded:{self.encoder.checksum}"

    @property
    def blend(self) -> float:
        """The best one measured with these weights."""
        return float(self.encoder.manifest["blend"])

    @cached_property
    def _span_weight(self) -> float:
        return float(self.encoder.manifest["spans"])

    @cached_property
    def _pool(self) -> FairPool:
        return FairPool(self.threads, "rearank-embedded")

    @cached_property
    def _bigrams(self) -> Lexical:
        from rearank_agent.policies.lexical import Lexical  # a slow import that few requests need

        return Lexical(bigrams)

    async def judge(self, task: Task, window: Window) -> Reply:
        """Score the window; passages not begun are dropped when the request is cancelled."""
        request = self._request(task)
        run = partial(self._pool.run, current_work(len(window)))
        query = await run(request.query)
        if query.bigram_reason:
            reply = await self._bigrams.judge(task, window)
            fault = Fault("vocabulary", (), query.bigram_reason)
            scores = tuple(unit_score(s, self._bigrams.scale) for s in reply.scores or ())
            return replace(reply, scores=scores, faults=(fault, *reply.faults))
        scored = await asyncio.gather(*(run(request.scored[position]) for position in window))
        scores = tuple(one.score for one in scored)
        return Reply(
            order=best_first(scores),
            scores=scores,
            rationales=tuple(one.rationale for one in scored),
            faults=self._faults(task, window, query, scored),
            usage=Usage(calls=1),
        )

    def _request(self, task: Task) -> _TaskWork:
        with self._lock:
            if (request := self._requests.get(task)) is None:
                request = self._requests[task] = _TaskWork(self, task.query, task.candidates)
        return request

    def _faults(
        self, task: Task, window: Window, query: _EncodedQuery, scored: Sequence[_Scored]
    ) -> tuple[Fault, ...]:
        detail = f"only the first {self.encoder.max_tokens} tokens were read"
        advice = "split longer passages to have all of them read"
        ids = task.ids(window)
        cut = tuple(i for i, one in zip(ids, scored, strict=True) if not one.complete)
        unsupported = tuple(i for i, one in zip(ids, scored, strict=True) if not one.supported)
        faults = [*instruction_fault(task, self.name)]
        if not query.complete:
            faults.append(Fault("cut", (), f"of the query {detail}"))
        if cut:
            faults.append(Fault("cut", cut, f"{detail}; {advice}"))
        if unsupported:
            detail = (
                "in a script the encoder does not support; BM25 on pairs of letters scores them"
            )
            faults.append(Fault("vocabulary", unsupported, detail))
        return tuple(faults)

    def _encode_query(self, text: str) -> _EncodedQuery:
        share = self.encoder.unsupported_share(text)
        encoded = self.encoder.encode(text)
        return _EncodedQuery(
            text=text,
            pooled=PooledText(encoded.hidden),
            terms=QueryTerms.of(text),
            evidence=EvidenceQuery.of(text),
            complete=encoded.complete,
            bigram_reason=f"the encoder does not support {share:.0%} of the query's letters; "
            "BM25 on pairs of letters ranks"
            if share > MAX_UNSUPPORTED
            else "",
        )

    def _score(self, query: _EncodedQuery, passage: Passage) -> _Scored:
        text = passage.content
        if not text.strip():
            return _Scored(-1.0, query.terms.rationale(()), True)
        if self.encoder.unsupported_share(text) > MAX_UNSUPPORTED:
            score = unit_score(self._bigrams.score_alone(query.text, passage), self._bigrams.scale)
            quotes = query.evidence.quotes(passage.text)
            rationale = query.terms.rationale(content_tokens(text), quotes)
            return _Scored(score, rationale, True, supported=False)
        encoded = self.encoder.encode(text)
        nearness = SentenceNearness(query.pooled, encoded, len(text) - len(passage.text))
        quotes = query.evidence.quotes(passage.text, nearness)
        return _Scored(
            score=similarity(query.pooled, PooledText(encoded.hidden), self._span_weight),
            rationale=query.terms.rationale(content_tokens(text), quotes),
            complete=encoded.complete,
        )


def shipped_weights(weights: Path = WEIGHTS) -> tuple[str, ...]:
    """The names of the upper layers that come with the package."""
    return tuple(sorted(path.parent.name for path in weights.glob("*/policy.json")))


def _folder(top: str, weights: Path) -> Path:
    names = shipped_weights(weights)
    folder = weights / top if top in names else Path(top)
    if not (folder / "policy.json").is_file():
        raise InputError(
            f"there is no embedded policy {top!r}; there are: {', '.join(names)}, "
            "and folders that rearank-agent train embedded made"
        )
    return folder
