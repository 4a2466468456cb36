"""BM25 over the candidates, and the BM25 index that search and first stages share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import bm25s
import numpy as np
from numpy.typing import NDArray

from rearank_agent.policies.evidence import EvidenceQuery
from rearank_agent.policies.protocol import best_first, instruction_fault
from rearank_agent.text import QueryTerms, Tokenizer, content_tokens, words
from rearank_agent.types import Passage, Reply, Task, Usage, Window

__all__ = ["Lexical", "bm25_index", "bm25_scores", "bm25_search", "highest"]


def bm25_index(texts: list[list[str]]) -> bm25s.BM25:
    """A BM25 index over tokenized texts: Lucene's form, k1 0.9, b 0.4 as in TREC runs."""
    index = bm25s.BM25(method="lucene", k1=0.9, b=0.4)
    index.index(texts, show_progress=False)
    return index


def bm25_scores(index: bm25s.BM25, tokens: Sequence[str]) -> NDArray[np.float32]:
    """[texts], the BM25 score of each for a query's tokens; 0 without one of them."""
    known = [token for token in tokens if token in index.vocab_dict]
    if not known:
        return np.zeros(index.scores["num_docs"], np.float32)
    found: NDArray[np.float32] = index.get_scores(known)
    return found


def bm25_search(index: bm25s.BM25, tokens: Sequence[str], depth: int) -> list[int]:
    """The positions with the highest BM25 scores, equal ones in order; only scores above 0."""
    scores = bm25_scores(index, tokens)
    return highest(scores, scores > 0, depth)


def highest(scores: NDArray[np.float32], allowed: NDArray[np.bool_], depth: int) -> list[int]:
    """The allowed positions with the highest scores, best first, equal ones in order.

    Args:
        scores: [texts].
        allowed: [texts], whether each may be returned.
        depth: how many, at most.
    """
    hits = np.flatnonzero(allowed)
    if len(hits) > depth:  # sorting all of a large corpus takes longer than scoring it
        lowest = np.partition(scores[hits], len(hits) - depth)[len(hits) - depth]
        hits = hits[scores[hits] >= lowest]
    best: list[int] = hits[np.argsort(-scores[hits], kind="stable")[:depth]].tolist()
    return best


@dataclass(frozen=True)
class _Scored:
    """Computed once per request: the query's terms, every candidate's BM25 score and tokens."""

    terms: QueryTerms
    evidence: EvidenceQuery
    tokens: tuple[tuple[str, ...], ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Lexical:
    """BM25 with the idf of all candidates of a task.

    Attributes:
        tokenizer: splits text into tokens; `text.bigrams` suits scripts that `text.words` does not.
    """

    tokenizer: Tokenizer = words
    _tasks: WeakKeyDictionary[Task, _Scored] = field(default_factory=WeakKeyDictionary, repr=False)

    name = "lexical"
    scores = True
    scale = None
    blend = 0.0
    window = None

    @property
    def fingerprint(self) -> str:
        """`lexical`, the tokenizer and BM25's constants."""
        return f"lexical:{self.tokenizer.__name__}:lucene:k1=0.9:b=0.4"

    async def judge(self, task: Task, window: Window) -> Reply:
        """Score the window by BM25; `EvidenceQuery` says which sentence is the evidence."""
        return await asyncio.to_thread(self._judge, task, window)

    def _judge(self, task: Task, window: Window) -> Reply:
        if (known := self._tasks.get(task)) is None:
            known = self._tasks[task] = self._score(task)
        scores = tuple(known.scores[position] for position in window)
        return Reply(
            order=best_first(scores),
            scores=scores,
            rationales=tuple(
                known.terms.rationale(
                    known.tokens[p], known.evidence.quotes(task.candidates[p].text)
                )
                for p in window
            ),
            faults=instruction_fault(task, self.name),
            usage=Usage(calls=1),
        )

    def score_alone(self, query: str, passage: Passage) -> float:
        """Score a passage as if it were the only candidate: all terms are equally rare then."""
        return self._score(Task("", query, candidates=(passage,))).scores[0]

    def _score(self, task: Task) -> _Scored:
        terms = QueryTerms.of(task.query, self.tokenizer)
        tokens = tuple(tuple(content_tokens(p.content, self.tokenizer)) for p in task.candidates)
        known = set().union(*tokens)
        found = [token for token in terms.tokens if token in known]
        scores = (
            bm25_index([*map(list, tokens)]).get_scores(found) if found else np.zeros(len(tokens))
        )
        evidence = EvidenceQuery.of(task.query, self.tokenizer)
        return _Scored(terms, evidence, tokens, tuple(float(score) for score in scores))
