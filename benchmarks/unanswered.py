"""How well the best score tells that nothing answers a query: of its own corpus, and of another.

    python -m benchmarks.unanswered COLLECTION... [--queries 60] [--depth 20] [--policy embedded]

Every query is asked of its own collection, where something is judged relevant among the first
stage's candidates; of the same candidates without those; and of another collection's corpus (the
next one named), where nothing can answer. The table has, for thresholds of the best score, the
share of each kind that is called unanswered: wrong for the first, right for the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import fmean

from benchmarks.in_process import candidates
from rearank_agent import Reranker
from rearank_agent.data.collection import Collection
from rearank_agent.data.load import load_collections
from rearank_agent.policies.lexical import bm25_index, bm25_search
from rearank_agent.text import QueryTerms, content_tokens
from rearank_agent.types import Passage

_THRESHOLDS = [number / 100 for number in range(5, 75, 5)]
_KINDS = ("answered", "without the relevant ones", "another corpus")


def best_score(reranker: Reranker, query: str, passages: Sequence[Passage]) -> float:
    """The highest score of the passages, 0 to 1; 0 without any."""
    if not passages:
        return 0.0
    ranking = reranker.rerank_sync(query, passages)
    return max(one.relevance or 0.0 for one in ranking.passages)


class _Corpus:
    """BM25 over a collection's corpus."""

    def __init__(self, one: Collection) -> None:
        self.passages = [*one.corpus.values()]
        self._index = bm25_index([content_tokens(p.content) for p in self.passages])

    def best(self, query: str, depth: int) -> list[Passage]:
        """The first passages for a query."""
        found = bm25_search(self._index, QueryTerms.of(query).tokens, depth)
        return [self.passages[position] for position in found]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--policy", default="embedded")
    args = parser.parse_args()
    reranker = Reranker(args.policy)
    found = load_collections(args.collections)
    best: dict[str, dict[str, list[float]]] = {kind: {} for kind in _KINDS}
    for one, other in zip(found, [*found[1:], found[0]], strict=True):
        foreign = _Corpus(other)
        for example in candidates([one], args.depth, args.queries):
            pairs = [*zip(example.passages, example.grades, strict=True)]
            if not any(grade > 0 for _, grade in pairs):
                continue
            asked = {
                "answered": example.passages,
                "without the relevant ones": [p for p, grade in pairs if grade <= 0],
                "another corpus": foreign.best(example.query, args.depth),
            }
            for kind, passages in asked.items():
                value = best_score(reranker, example.query, passages)
                best[kind].setdefault(one.name, []).append(value)
        shown = {kind: round(fmean(values[one.name]), 3) for kind, values in best.items()}
        print(
            f"{one.name} ({len(best['answered'][one.name])} queries): mean of the best {shown}",
            flush=True,
        )
    print(f"| below | {' | '.join(_KINDS)} |\n|---|---|---|---|")
    for threshold in _THRESHOLDS:
        shares = []
        for kind in _KINDS:
            each = [fmean(v < threshold for v in values) for values in best[kind].values()]
            shares.append(f"{100 * fmean(each):.1f}%")
        print(f"| {threshold:.2f} | {' | '.join(shares)} |")


if __name__ == "__main__":
    main()
