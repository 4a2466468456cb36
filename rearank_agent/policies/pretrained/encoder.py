"""An encoder as the policy: it reads query and passage apart, and compares their vectors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from rearank_agent.errors import PolicyError
from rearank_agent.policies.embedded.encoder import Encoding, Vector, normalized
from rearank_agent.policies.embedded.similarity import PooledText, SentenceNearness
from rearank_agent.policies.evidence import EvidenceQuery
from rearank_agent.policies.pointwise import PointwiseScorer
from rearank_agent.policies.pretrained.config import EncoderConfig
from rearank_agent.policies.pretrained.load import load
from rearank_agent.policies.pretrained.tokens import Piece
from rearank_agent.policies.protocol import best_first, instruction_fault
from rearank_agent.policies.quotes import rationale_of_part
from rearank_agent.text import QueryTerms
from rearank_agent.types import Passage, Rationale, Reply, Task, Usage, Window

__all__ = ["PretrainedEncoder"]


@dataclass(frozen=True, slots=True)
class _Query:
    pooled: PooledText
    vector: Vector
    terms: QueryTerms
    evidence: EvidenceQuery
    complete: bool


@dataclass(frozen=True, slots=True)
class _Scored:
    raw: float
    rationale: Rationale
    complete: bool


class PretrainedEncoder:
    """Scores by the cosine of vectors, by an encoder of the Hugging Face hub or of a folder.

    Pooling, prompts and length are those that the repository states. A passage that is longer
    than the model reads is scored by its best window, from which the quote comes; the
    model's own token vectors pick it. Cosines below 0 are scores of 0.

    Args:
        model: the name, as `ModelName` has it.
        threads: how many passages are read at the same time.

    Raises:
        InputError: there is no such model, or it is no encoder.
        SetupError: files are missing or damaged, or a package is.
    """

    scores = True
    scale = 1.0
    blend = 0.0
    window = None

    def __init__(self, model: str, threads: int | None = None) -> None:
        self.name = f"encoder:{model}"
        self.model, self.config = load(model, EncoderConfig.read)
        self._scorer = PointwiseScorer(
            self._query, self._score, threads or os.cpu_count() or 1, self.model.runtime.batch
        )

    @property
    def fingerprint(self) -> str:
        """The model's revision, file and checksum."""
        return f"encoder:{self.model.fingerprint}"

    async def judge(self, task: Task, window: Window) -> Reply:
        """Score the window; passages not begun are dropped when the request is cancelled."""
        scored = await self._scorer.passages(task, window)
        query = await self._scorer.query(task, window)
        raw = tuple(one.raw for one in scored)
        complete = [one.complete for one in scored]
        cut = self.model.tokenizer.faults(query.complete, task.ids(window), complete)
        return Reply(
            order=best_first(raw),
            scores=tuple(max(0.0, cosine) for cosine in raw),
            raw=raw,
            rationales=tuple(one.rationale for one in scored),
            faults=(*instruction_fault(task, self.name), *cut),
            usage=Usage(calls=1),
        )

    def _query(self, text: str) -> _Query:
        pieces, complete = self.model.tokenizer.singles(self.config.query + text, max_windows=1)
        (hidden,) = self._hidden(pieces)
        return _Query(
            pooled=PooledText(hidden),
            vector=self._pooled(hidden),
            terms=QueryTerms.of(text),
            evidence=EvidenceQuery.of(text),
            complete=complete,
        )

    def _score(self, query: _Query, passages: Sequence[Passage]) -> list[_Scored]:
        texts = [
            self.model.tokenizer.singles(self.config.passage + passage.content)
            for passage in passages
        ]
        hidden = iter(self._hidden([piece for pieces, _ in texts for piece in pieces]))
        found = []
        for passage, (pieces, complete) in zip(passages, texts, strict=True):
            windows = [(piece, next(hidden)) for piece in pieces]
            cosines = [float(np.dot(query.vector, self._pooled(tokens))) for _, tokens in windows]
            best = max(range(len(windows)), key=cosines.__getitem__)
            rationale = self._rationale(query, passage, *windows[best])
            found.append(_Scored(cosines[best], rationale, complete))
        return found

    def _rationale(
        self, query: _Query, passage: Passage, piece: Piece, tokens: Vector
    ) -> Rationale:
        prompt, inner = len(self.config.passage), tokens[piece.first : piece.after]
        encoding = Encoding(
            states=inner,
            starts=np.array([0, *piece.starts, 0], dtype=np.int64),
            end=piece.end,
            complete=True,
            hidden=np.concatenate([tokens[:1], inner, tokens[-1:]]),
        )
        text = prompt + len(passage.content) - len(passage.text)
        nearness = SentenceNearness(query.pooled, encoding, max(text, piece.start))
        pick = partial(query.evidence.quotes, nearness=nearness)
        part = (piece.start - prompt, piece.end - prompt)
        return rationale_of_part(query.terms, passage, part, pick)

    def _hidden(self, pieces: Sequence[Piece]) -> list[Vector]:
        """For each piece its token vectors [tokens, width], special tokens included."""
        found = list(self.model.rows(pieces))
        if not all(np.isfinite(one).all() for one in found):
            raise PolicyError(f"{self.name} gave vectors that are no numbers")
        return found

    def _pooled(self, hidden: Vector) -> Vector:
        """[width], the vector of a text, at length 1."""
        return normalized(self.model.head(hidden))
