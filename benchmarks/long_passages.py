"""Longer passages for the embedded policy: what reading windows over tokens gains, and what it takes.

    python -m benchmarks.long_passages OUT FOLDER... [--policy embedded] [--queries 43] [--depth 100]

A passage among the first candidates is read once for all queries of its collection, in up to eight
windows that overlap by a quarter. What is found is kept in OUT, a line a passage, so that the same
command goes on where it was ended, and others use it. Then nDCG@10 x100 of every rule, on the policy's own scores and
blended as it recommends, and the processor seconds of a query. A rule makes a score of the first
windows, at most 2, 4 or 8:

    best    the highest of the windows' scores
    parts   the highest cosine of a window's mean, and every span of the query beside the nearest of all
    merged  the same with the mean of all tokens
    spans   the same with the mean of the first window
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from time import thread_time
from typing import Any

import numpy as np

from rearank_agent.data.collection import Collection
from rearank_agent.data.first_stage import first_stage
from rearank_agent.data.load import load_collections, select_queries
from rearank_agent.data.trec import Run
from rearank_agent.metrics import ndcg
from rearank_agent.policies.blend import blended_order
from rearank_agent.policies.embedded.encoder import Encoder, Vector, normalized
from rearank_agent.policies.embedded.policy import WEIGHTS, Embedded, EncodedQuery
from rearank_agent.policies.embedded.similarity import PooledText
from rearank_agent.policies.pretrained.tokens import TextTokenizer
from rearank_agent.policies.protocol import best_first
from rearank_agent.policies.registry import policy as policy_of

SIZES = (2, 4, 8)


@dataclass(frozen=True)
class Pair:
    """A passage beside a query, as far as scores need it.

    Attributes:
        means: for each window the cosine of the means.
        merged: the same with the mean of this window and all before it.
        spans: [windows, spans of the query], the highest cosine with a span of the window.
    """

    means: list[float]
    merged: list[float]
    spans: list[list[float]]


def _best(pair: Pair, n: int, weight: float) -> float:
    spans = [fmean(row) for row in pair.spans[:n]]
    both = zip(pair.means, spans, strict=False)
    return max((1 - weight) * mean + weight * span for mean, span in both)


def _nearest(pair: Pair, n: int) -> float:
    return float(np.max(pair.spans[:n], axis=0).mean())


def _parts(pair: Pair, n: int, weight: float) -> float:
    return (1 - weight) * max(pair.means[:n]) + weight * _nearest(pair, n)


def _merged(pair: Pair, n: int, weight: float) -> float:
    return (1 - weight) * pair.merged[min(n, len(pair.merged)) - 1] + weight * _nearest(pair, n)


def _spans(pair: Pair, n: int, weight: float) -> float:
    return (1 - weight) * pair.means[0] + weight * _nearest(pair, n)


Rule = Callable[[Pair, int, float], float]
RULES: dict[str, tuple[Rule, int]] = {"as it is": (_best, 1)} | {
    f"{rule.__name__.strip('_')} {size}": (rule, size)
    for rule in (_best, _parts, _merged, _spans)
    for size in SIZES
}


class Reader:
    """Reads passages in windows.

    Args:
        encoder: of an embedded policy.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        path = WEIGHTS / "tokenizer.json"
        self._tokenizer = TextTokenizer(path, "embedded", encoder.max_tokens)

    def __call__(self, text: str) -> tuple[list[PooledText], list[float]]:
        """The windows of a text, and the seconds of each."""
        begun = thread_time()
        pieces, _ = self._tokenizer.singles(text)
        found, seconds = [], []
        for piece in pieces:
            pooled = PooledText(self._hidden(piece.ids))
            _ = pooled.mean, pooled.spans
            found.append(pooled)
            seconds.append(thread_time() - begun)
            begun = thread_time()
        return found, seconds

    def _hidden(self, ids: Sequence[int]) -> Vector:
        (states,) = self._encoder._trunk.run(None, {"ids": np.array([ids], dtype=np.int64)})
        (hidden,) = self._encoder._top.run(None, {"states": states})
        found: Vector = hidden[0]
        return found


def pair_of(query: EncodedQuery, windows: Sequence[PooledText]) -> Pair:
    """The query beside the windows of a passage."""
    tokens = np.cumsum([window.hidden.mean(axis=0) for window in windows], axis=0)
    return Pair(
        means=[float(np.dot(query.pooled.mean, window.mean)) for window in windows],
        merged=[float(np.dot(query.pooled.mean, one)) for one in normalized(tokens)],
        spans=[(query.pooled.spans @ w.spans.T).max(axis=1).tolist() for w in windows],
    )


def read(collection: Collection, lists: Run, policy: Embedded, path: Path) -> dict[str, Any]:
    """What scores need of all candidates, by passage; what is kept in the file is not read again."""
    known: dict[str, Any] = {}
    if path.is_file():
        for line in path.read_text("utf-8").split("\n")[:-1]:  # one that was cut off has no end
            _add(known, json.loads(line))
    asked: dict[str, list[str]] = {}
    for query in collection.queries:
        for passage in lists.get(query, ()):
            if passage not in known or query not in known[passage]["beside"]:
                asked.setdefault(passage, []).append(query)
    queries = {one: policy.encode_query(collection.queries[one]) for one in collection.queries}
    reader = Reader(policy.encoder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for number, (name, by) in enumerate(asked.items(), 1):
            windows, seconds = reader(collection.corpus[name].content)
            beside = {query: vars(pair_of(queries[query], windows)) for query in by}
            found = {"passage": name, "seconds": seconds, "beside": beside}
            _add(known, found)
            file.write(json.dumps(found) + "\n")
            if number % 200 == 0:
                print(f"{collection.name}: {number} of {len(asked)} passages", file=sys.stderr)
    return known


def _add(known: dict[str, Any], found: dict[str, Any]) -> None:
    before = known.setdefault(found["passage"], found)
    before["beside"] |= found["beside"]


@dataclass(frozen=True)
class Measured:
    """A rule on a collection: nDCG@10 x100 alone and blended, seconds a query, windows a passage."""

    alone: float
    blended: float
    seconds: float
    windows: float


def measured(
    collection: Collection, lists: Run, policy: Embedded, read: Mapping[str, Any]
) -> dict[str, Measured]:
    """Every rule on a collection that was read."""
    weight = float(policy.encoder.manifest["spans"])
    listed = {query: lists.get(query, ()) for query in collection.queries}
    pairs = {q: [Pair(**read[name]["beside"][q]) for name in names] for q, names in listed.items()}
    rules = {}
    for name, (rule, size) in RULES.items():
        values = []
        for query, names in listed.items():
            scores = [rule(pair, size, weight) for pair in pairs[query]]
            values.append([_value(collection.qrels[query], names, scores, blend)
                           for blend in (0.0, policy.blend)])  # fmt: skip
        spent = [read[one]["seconds"][:size] for names in listed.values() for one in names]
        alone, blended = (fmean(column) for column in zip(*values, strict=True))
        rules[name] = Measured(
            alone=100 * alone,
            blended=100 * blended,
            seconds=sum(map(sum, spent)) / len(listed),
            windows=fmean(map(len, spent)),
        )
    return rules


def _value(
    grades: Mapping[str, int], listed: Sequence[str], scores: list[float], blend: float
) -> float:
    order = best_first(scores)
    if blend and listed:
        order, _ = blended_order(order, scores, blend)
    return ndcg([grades.get(listed[place], 0) for place in order], list(grades.values()), 10)


def table(found: Mapping[str, Mapping[str, Measured]], blend: float) -> None:
    """Print every rule on every collection, and what it gains over all of them."""
    titles = {
        "alone": "alone", f"b={blend}": "blended", "s/query": "seconds", "windows": "windows"
    }  # fmt: skip
    for title, attribute in titles.items():
        print(f"\n{title:12}" + "".join(f"{name[:10]:>11}" for name in found) + f"{'mean':>9}")
        for rule in RULES:
            values = [getattr(rules[rule], attribute) for rules in found.values()]
            cells = "".join(f"{value:11.2f}" for value in values)
            print(f"{rule:12}{cells}{fmean(values):9.2f}")


def main() -> None:
    """Read what was not read yet, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, help="where what is found is kept")
    parser.add_argument("folders", nargs="+", help="collections")
    parser.add_argument("--queries", type=int, help="a sample of so many; all by default")
    parser.add_argument("--depth", type=int, default=100, help="candidates of a query")
    parser.add_argument("--policy", default="embedded", help="embedded, or embedded:NAME")
    args = parser.parse_args()
    policy = policy_of(args.policy)
    assert isinstance(policy, Embedded)
    found = {}
    for collection in load_collections(args.folders):
        known = list(collection.queries)
        chosen = Random(0).sample(known, min(args.queries or len(known), len(known)))
        sample = select_queries(collection, None, chosen)
        lists = first_stage(sample, args.depth).lists
        read_ = read(sample, lists, policy, args.out / f"{collection.name}.jsonl")
        found[collection.name] = measured(sample, lists, policy, read_)
    table(found, policy.blend)


if __name__ == "__main__":
    main()
