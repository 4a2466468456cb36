"""Search over whole corpora: BM25 alone, vectors alone, and both, for the policy and a perfect judge.

    python -m benchmarks.fusion COLLECTION... [--queries 60] [--depth 50]

Every passage of a corpus is a passage of a library; the first stages are those of `search`, on all
passages. Recall is that of judged passages among the first `--depth`, nDCG@10 that of the embedded
policy with the blend of `search`, and of a perfect judge of the same candidates. `before` is BM25's
list, blended by rank, as `search` had it until vectors were kept.
"""

from __future__ import annotations

import argparse
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from rearank_agent.data.collection import Collection
from rearank_agent.data.load import load_collections
from rearank_agent.metrics import ndcg
from rearank_agent.policies.blend import blended_order
from rearank_agent.policies.embedded.encoder import Vector
from rearank_agent.policies.embedded.passages import PassageEncoder
from rearank_agent.policies.embedded.policy import Embedded
from rearank_agent.policies.embedded.similarity import PooledText, similarity
from rearank_agent.policies.embedded.vector_store import VectorStore
from rearank_agent.policies.lexical import bm25_index, bm25_scores
from rearank_agent.search.fuse import fused, words_weight
from rearank_agent.search.tokens import names_identifier, query_tokens, text_tokens


class Corpus:
    """All passages of a collection, with BM25 and vectors."""

    def __init__(self, collection: Collection, passages: PassageEncoder) -> None:
        self.ids = list(collection.corpus)
        self.texts = [passage.content for passage in collection.corpus.values()]
        self.bm25 = bm25_index([text_tokens(text) for text in self.texts])
        self.passages = passages
        with ThreadPoolExecutor() as pool:
            self.means = np.stack([one.mean for one in pool.map(passages.vectors, self.texts)])
        passages.keep()

    def scores(self, query: str) -> Vector:
        """[passages], BM25's."""
        return bm25_scores(self.bm25, query_tokens(query))


@dataclass(frozen=True)
class Measured:
    """Of one query: recall, the perfect judge's nDCG@10, the policy's, each from 0 to 1."""

    recall: float
    perfect: float
    policy: float


def first_stages(
    bm25: Vector, cosines: Vector, wanted: np.ndarray, depth: int
) -> dict[str, list[int]]:
    """The candidates of each first stage, best first."""
    nothing, no_words = np.full_like(cosines, np.nan), np.zeros_like(bm25)
    by_words = fused(bm25, nothing, wanted, depth)
    return {
        "before": by_words,
        "BM25": by_words,
        "vectors": fused(no_words, np.where(wanted, cosines + 2, np.nan), wanted, depth),
        "both": fused(bm25, cosines, wanted, depth),
    }


def measure(
    corpus: Corpus, embedded: Embedded, collection: Collection, name: str, depth: int
) -> dict[str, Measured]:
    """One query by every first stage."""
    query, qrels = collection.queries[name], collection.qrels[name]
    excluded = (collection.excluded or {}).get(name, frozenset())
    wanted = np.array([one not in excluded for one in corpus.ids])
    pooled = PooledText(embedded.encoder.encode(query).hidden)
    bm25, cosines = corpus.scores(query), corpus.means @ pooled.mean
    relevant = [one for one, grade in qrels.items() if grade > 0]
    found = {}
    for stage, list_ in first_stages(bm25, cosines, wanted, depth).items():
        grades = [float(qrels.get(corpus.ids[at], 0)) for at in list_]
        own = [
            similarity(pooled, corpus.passages.vectors(corpus.texts[at]), embedded._span_weight)
            for at in list_
        ]
        share = float(stage in ("vectors", "both"))
        weight = embedded.blend * words_weight(share, names_identifier(query))
        given = None if stage == "before" else [float(bm25[at]) for at in list_]
        order, _ = blended_order(
            tuple(range(len(list_))), own, embedded.blend if stage == "before" else weight, given
        )
        ideal = list(qrels.values())
        found[stage] = Measured(
            sum(grade > 0 for grade in grades) / len(relevant),
            ndcg(sorted(grades, reverse=True), ideal, 10),
            ndcg([grades[place] for place in order], ideal, 10),
        )
    return found


def main() -> None:
    """Print a table for each measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--vectors", type=Path, default=None, help="where vectors are kept")
    args = parser.parse_args()
    embedded = Embedded()
    store = VectorStore(args.vectors, 2**33) if args.vectors else None
    passages = PassageEncoder(embedded.encoder, store)
    table: dict[str, dict[str, Measured]] = {}
    for one in load_collections(args.collections):
        judged = [q for q in one.queries if any(g > 0 for g in one.qrels.get(q, {}).values())]
        chosen = random.Random(0).sample(judged, min(args.queries, len(judged)))
        corpus = Corpus(one, passages)
        each = [measure(corpus, embedded, one, name, args.depth) for name in chosen]
        table[one.name] = _means(each)
        print(f"{one.name}: {len(chosen)} queries, {len(corpus.ids):,} passages", flush=True)
    for part in ("recall", "perfect", "policy"):
        print(f"\n| {part} | {' | '.join(table)} | mean |\n" + "|---" * (len(table) + 2) + "|")
        for stage in ("before", "BM25", "vectors", "both"):
            values = [100 * getattr(found[stage], part) for found in table.values()]
            shown = " | ".join(f"{value:.1f}" for value in [*values, fmean(values)])
            print(f"| {stage} | {shown} |")


def _means(each: list[dict[str, Measured]]) -> dict[str, Measured]:
    return {
        stage: Measured(
            fmean(one[stage].recall for one in each),
            fmean(one[stage].perfect for one in each),
            fmean(one[stage].policy for one in each),
        )
        for stage in each[0]
    }


if __name__ == "__main__":
    main()
