"""The default policy: a small encoder shipped in the package, with evidence from the same pass."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rearank_agent.errors import InputError
from rearank_agent.policies.embedded.encoder import MAX_UNSUPPORTED, Encoder
from rearank_agent.policies.embedded.passages import PassageEncoder
from rearank_agent.policies.embedded.similarity import PooledText, similarity
from rearank_agent.policies.embedded.vector_store import VectorStore
from rearank_agent.policies.evidence import EvidenceQuery
from rearank_agent.policies.pointwise import PointwiseScorer
from rearank_agent.policies.protocol import best_first, instruction_fault, unit_score
from rearank_agent.text import QueryTerms, bigrams, content_tokens
from rearank_agent.types import Fault, Passage, Quote, Rationale, Reply, Task, Usage, Window

if TYPE_CHECKING:
    from rearank_agent.policies.lexical import Lexical

__all__ = ["DEFAULT", "WEIGHTS", "Embedded", "EncodedQuery", "shipped_weights"]

WEIGHTS = Path(__file__).parents[2] / "weights"
DEFAULT = "open"
"""The upper layers used where none are named."""


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """A query as the encoder reads it, or why the encoder is of no use for it."""

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
        store: where the vectors of passages are kept; None for nowhere. No score depends on it.

    Attributes:
        encoder: the network.
        passages: what it makes of passages.

    Raises:
        InputError: no such upper layers.
        SetupError: the weights are missing or damaged.
    """

    scores = True
    scale = 1.0
    window = None

    def __init__(
        self,
        top: str = DEFAULT,
        threads: int | None = None,
        weights: Path = WEIGHTS,
        store: VectorStore | None = None,
    ) -> None:
        self.name = "embedded" if top == DEFAULT else f"embedded:{top}"
        folder = _folder(top, weights)
        shipped = weights == WEIGHTS and folder.parent == WEIGHTS
        self.encoder = _shipped(folder) if shipped else Encoder(weights, folder)
        self.passages = PassageEncoder(self.encoder, store)
        self.threads = threads or os.cpu_count() or 1
        self._scorer = PointwiseScorer(self.encode_query, self._score_all, self.threads)

    @property
    def fingerprint(self) -> str:
        """`embedded`, and the start of the weights' checksum."""
        return f"embedded:{self.encoder.checksum}"

    @property
    def blend(self) -> float:
        """The best one measured with these weights."""
        return float(self.encoder.manifest["blend"])

    @property
    def unanswered(self) -> float | None:
        """The best score, 0 to 1, below which hardly any query is answered; None if unmeasured."""
        found: float | None = self.encoder.manifest.get("unanswered")
        return found

    @cached_property
    def _span_weight(self) -> float:
        return float(self.encoder.manifest["spans"])

    @cached_property
    def _bigrams(self) -> Lexical:
        from rearank_agent.policies.lexical import Lexical  # a slow import that few requests need

        return Lexical(bigrams)

    async def judge(self, task: Task, window: Window) -> Reply:
        """Score the window; passages not begun are dropped when the request is cancelled."""
        query = await self._scorer.query(task, window)
        if query.bigram_reason:
            reply = await self._bigrams.judge(task, window)
            fault = Fault("vocabulary", (), query.bigram_reason)
            scores = tuple(unit_score(s, self._bigrams.scale) for s in reply.scores or ())
            return replace(reply, scores=scores, faults=(fault, *reply.faults))
        scored = await self._scorer.passages(task, window)
        unkept = await asyncio.to_thread(self.passages.keep) if self.passages.store else ()
        scores = tuple(one.score for one in scored)
        return Reply(
            order=best_first(scores),
            scores=scores,
            rationales=tuple(one.rationale for one in scored),
            faults=(*self._faults(task, window, query, scored), *unkept),
            usage=Usage(calls=1),
        )

    def _faults(
        self, task: Task, window: Window, query: EncodedQuery, scored: Sequence[_Scored]
    ) -> tuple[Fault, ...]:
        detail = f"only the first {self.encoder.max_tokens} tokens were read"
        advice = "split longer passages to have all of them read"
        ids = task.ids(window)
        cut = tuple(i for i, one in zip(ids, scored, strict=True) if not one.complete)
        unsupported = tuple(i for i, one in zip(ids, scored, strict=True) if not one.supported)
        faults = [*instruction_fault(task, self.name), *self._unanswered(task, window, scored)]
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

    def _unanswered(self, task: Task, window: Window, scored: Sequence[_Scored]) -> Iterator[Fault]:
        """The fault of a query that no passage answers, as far as scores can tell.

        A passage that has all terms of the query counts as one, as what is found by its number.
        """
        best = max((one.score for one in scored if one.supported), default=None)
        lacking = all(one.rationale.lacks for one in scored)
        whole = len(window) == len(task.candidates)
        if whole and lacking and best is not None and best < (self.unanswered or 0.0):
            detail = (
                f"probably nothing here answers the query: the best score is {max(best, 0.0):.2f}, "
                f"and of queries with an answer hardly any is below {self.unanswered:g}"
            )
            yield Fault("unanswered", (), detail)

    def encode_query(self, text: str) -> EncodedQuery:
        """A query, as `quotes` takes it."""
        share = self.encoder.unsupported_share(text)
        encoded = self.encoder.encode(text)
        return EncodedQuery(
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

    def quotes(self, query: EncodedQuery, passage: Passage) -> tuple[Quote, ...]:
        """The passage's evidence for a query that another policy ranks by."""
        return self._score(query, passage).rationale.quotes

    def _score_all(self, query: EncodedQuery, passages: Sequence[Passage]) -> list[_Scored]:
        return [self._score(query, passage) for passage in passages]

    def _score(self, query: EncodedQuery, passage: Passage) -> _Scored:
        text = passage.content
        if not text.strip():
            return _Scored(-1.0, query.terms.rationale(()), True)
        if not self.encoder.supports(text):
            score = unit_score(self._bigrams.score_alone(query.text, passage), self._bigrams.scale)
            quotes = query.evidence.quotes(passage.text)
            rationale = query.terms.rationale(content_tokens(text), quotes)
            return _Scored(score, rationale, True, supported=False)
        vectors, shift = self.passages.vectors(text), len(text) - len(passage.text)
        quotes = query.evidence.quotes(
            passage.text, lambda quote: vectors.nearness(query.pooled.mean, quote, shift)
        )
        return _Scored(
            score=similarity(query.pooled, vectors, self._span_weight),
            rationale=query.terms.rationale(content_tokens(text), quotes),
            complete=vectors.complete,
        )


@cache
def _shipped(top: Path) -> Encoder:
    """The network of the package's own weights: in memory once, however many policies use it."""
    return Encoder(WEIGHTS, top)


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
