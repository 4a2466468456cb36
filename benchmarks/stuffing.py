"""Keyword stuffing: how far a passage climbs with the query in front of it.

    python -m benchmarks.stuffing                           # made data
    python -m benchmarks.stuffing FOLDER... [--queries 50]  # collections, in BEIR's form

Of each query's first candidates (--depth), two that are not relevant are chosen by lot, and each gets a
copy with the query in front. All are scored at once, and a copy's place is that among the other
candidates, so that copies do not stand in each other's way. Places are those of the policy alone,
without a blend; the change of nDCG@10 is that of the list with a copy in its original's place.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from statistics import fmean

from benchmarks.made import harbour
from rearank_agent import Passage, Reranker
from rearank_agent.data.collection import Collection
from rearank_agent.data.first_stage import first_stage
from rearank_agent.data.load import load_collections, select_queries
from rearank_agent.metrics import ndcg

POLICIES = ("embedded", "lexical")
COPIES = 2


def stuffed(reranker: Reranker, query: str, grades: Mapping[str, int], candidates: Sequence[Passage],
            copies: Mapping[str, Passage]) -> Iterator[tuple[int, float, float]]:  # fmt: skip
    """For every copy: the places it climbs, and nDCG@10 before and with it."""
    ranking = reranker.rerank_sync(query, [*candidates, *copies.values()])
    order = [ranked.id for ranked in ranking.passages]
    added = {copy.id: original for original, copy in copies.items()}
    before = [one for one in order if one not in added]
    for copy, original in added.items():
        others = [one for one in order if one == copy or one not in {*added, original}]
        after = [original if one == copy else one for one in others]
        climbed = before.index(original) - after.index(original)
        yield (
            climbed,
            *(
                100 * ndcg([grades.get(one, 0) for one in listed], list(grades.values()), 10)
                for listed in (before, after)
            ),
        )


def measure(
    collection: Collection, reranker: Reranker, depth: int
) -> list[tuple[int, float, float]]:
    """What `stuffed` gives, for all queries of a collection."""
    lists = first_stage(collection, depth).lists
    found = []
    for one, query in collection.queries.items():
        grades = collection.qrels[one]
        candidates = [collection.corpus[passage] for passage in lists.get(one, ())][:depth]
        irrelevant = [c for c in candidates if grades.get(c.id, 0) <= 0 and c.text]
        chosen = Random(one).sample(irrelevant, min(COPIES, len(irrelevant)))
        copies = {
            c.id: replace(c, id=f"stuffed {c.id}", title="", text=f"{query}\n{c.content}")
            for c in chosen
        }
        found += stuffed(reranker, query, grades, candidates, copies)
    return found


def main() -> None:
    """Print a line per collection and policy, and their means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="*", help="collections; none for made data")
    parser.add_argument("--queries", type=int, help="the first of each; all by default")
    parser.add_argument("--depth", type=int, default=50, help="candidates of a query")
    args = parser.parse_args()
    collections = load_collections(args.folders) or [harbour("made", slice(8))]
    print(f"{'policy':10}{'places up':>10}{'nDCG@10':>9}{'stuffed':>9}{'copies':>8}")
    for name in POLICIES:
        reranker, lines = Reranker(name), []
        for collection in collections:
            found = measure(select_queries(collection, args.queries, None), reranker, args.depth)
            if not found:  # no candidate that is not relevant
                continue
            lines.append([fmean(column) for column in zip(*found, strict=True)])
            line(name, lines[-1], len(found), collection.name)
        if len(lines) > 1:
            line(name, [fmean(column) for column in zip(*lines, strict=True)], 0, "mean of all")


def line(policy: str, values: Sequence[float], copies: int, name: str) -> None:
    """Print one line of the table."""
    climbed, before, after = values
    print(
        f"{policy:10}{climbed:10.2f}{before:9.2f}{after:9.2f}{copies or '':>8}  {name}", flush=True
    )


if __name__ == "__main__":
    main()
