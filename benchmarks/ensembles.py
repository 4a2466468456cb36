"""Rules for an ensemble: nDCG@10 of policies alone, and of each two mixed by ranks or by scores.

    python -m benchmarks.ensembles OUT FOLDER... --policy embedded --policy lexical [--queries 30]

Each policy ranks the first 100 candidates of every query once. Its order and scores are kept in OUT, a
line a query, so that the same command goes on where it was ended. Then, x100, by rule:

    rank 10, 60   the sum of 1 / (k + rank): reciprocal rank fusion
    borda         the sum of ranks
    z             the sum of z-scores, where both policies have scores; else that of rank 60
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from random import Random
from statistics import fmean

from rearank_agent import Reranker
from rearank_agent.data.collection import Collection
from rearank_agent.data.first_stage import first_stage
from rearank_agent.data.load import load_collections, select_queries
from rearank_agent.metrics import ndcg
from rearank_agent.policies.blend import policy_scores, z_scores
from rearank_agent.policies.protocol import best_first

DEPTH = 100


@dataclass(frozen=True)
class Judged:
    """What a policy says of a query's candidates, in their order.

    Attributes:
        ranks: from 1.
        scores: None if they do not compare.
    """

    ranks: list[int]
    scores: list[float] | None


def by_ranks(k: int):
    """Reciprocal rank fusion with this constant."""
    return lambda *judged: _sum([[1 / (k + rank) for rank in one.ranks] for one in judged])


def by_borda(*judged: Judged) -> list[float]:
    """The sum of ranks."""
    return _sum([[-float(rank) for rank in one.ranks] for one in judged])


def by_scores(*judged: Judged) -> list[float]:
    """The sum of z-scores, or of reciprocal ranks where one has no scores."""
    scores = [one.scores for one in judged if one.scores is not None]
    if len(scores) < len(judged):
        return by_ranks(60)(*judged)
    return _sum([z_scores(one) for one in scores])


RULES = {"rank 10": by_ranks(10), "rank 60": by_ranks(60), "borda": by_borda, "z": by_scores}


def _sum(columns: Sequence[Sequence[float]]) -> list[float]:
    return [sum(values) for values in zip(*columns, strict=True)]


def judge(collection: Collection, lists: Mapping[str, Sequence[str]], policies: Sequence[str],
          path: Path) -> dict[tuple[str, str], Judged]:  # fmt: skip
    """What each policy says of each query; what is kept in the file is not asked again."""
    known = {}
    if path.is_file():
        lines = path.read_text("utf-8").split("\n")[:-1]  # one that was cut off has no end
        known = {(one["policy"], one["query"]): one for one in map(json.loads, lines)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for name in policies:
            reranker = Reranker(name)
            asked = [query for query in lists if lists[query] and (name, query) not in known]
            for number, query in enumerate(asked, 1):
                passages = [collection.corpus[one] for one in lists[query]]
                ranking = reranker.rerank_sync(collection.queries[query], passages)
                scores = policy_scores(ranking.steps, len(passages))
                ranks = {one.was: one.rank for one in ranking.passages}
                known[name, query] = {
                    "policy": name,
                    "query": query,
                    "ranks": [ranks[was] for was in sorted(ranks)],
                    "scores": scores if reranker.policy.scores else None,
                }
                file.write(json.dumps(known[name, query]) + "\n")
                print(f"{collection.name} {name}: {number} of {len(asked)}", file=sys.stderr)
    return {key: Judged(one["ranks"], one["scores"]) for key, one in known.items()}


def measured(collection: Collection, lists: Mapping[str, Sequence[str]], policies: Sequence[str],
             judged: Mapping[tuple[str, str], Judged]) -> dict[str, float]:  # fmt: skip
    """nDCG@10 x100 of each policy, and of each two by each rule; a query without candidates has 0."""
    values: dict[str, list[float]] = {}
    for query, grades in collection.qrels.items():
        names = lists.get(query, ())

        def value(scores: Sequence[float], names=names, grades=grades) -> float:
            gains = [grades.get(names[place], 0) for place in best_first(scores)]
            return 100 * ndcg(gains, list(grades.values()), 10)

        for name in policies:
            found = [-float(rank) for rank in judged[name, query].ranks] if names else []
            values.setdefault(name, []).append(value(found))
        for pair in combinations(policies, 2):
            for rule, fuse in RULES.items():
                found = fuse(*(judged[name, query] for name in pair)) if names else []
                values.setdefault(f"{'+'.join(pair)}, {rule}", []).append(value(found))
    return {name: fmean(each) for name, each in values.items()}


def main() -> None:
    """Ask the policies what was not asked yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, help="where what they say is kept")
    parser.add_argument("folders", nargs="+", help="collections")
    parser.add_argument("--policy", action="append", required=True, help="two or more")
    parser.add_argument("--queries", type=int, help="a sample of so many; all by default")
    args = parser.parse_args()
    found = {}
    for collection in load_collections(args.folders):
        known = list(collection.queries)
        chosen = Random(0).sample(known, min(args.queries or len(known), len(known)))
        sample = select_queries(collection, None, chosen)
        lists = first_stage(sample, DEPTH).lists
        judged = judge(sample, lists, args.policy, args.out / f"{collection.name}.jsonl")
        found[collection.name] = measured(sample, lists, args.policy, judged)
    print(" " * 44 + "".join(f"{name[:10]:>11}" for name in found) + f"{'mean':>9}")
    for name in next(iter(found.values())):
        values = [one[name] for one in found.values()]
        print(f"{name[-43:]:44}" + "".join(f"{v:11.2f}" for v in values) + f"{fmean(values):9.2f}")


if __name__ == "__main__":
    main()
