"""What a passage's vectors cost and lose when they are kept: bytes, scores moved, and nDCG@10.

    python -m benchmarks.kept_vectors COLLECTION... [--queries 100] [--depth 50]

The embedded policy needs of a passage, without the query, its mean and the means of its spans. They
are kept in float32, in fewer bits, or as `PassageVectors` has them: the mean in int8, and of each
piece its share of the mean and the rest in two bits a number. A score moves by what is lost; nDCG@10
is that of the order blended with the first stage, as `eval` has it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import numpy as np

from benchmarks.in_process import candidates
from rearank_agent.data.load import load_collections
from rearank_agent.metrics import ndcg
from rearank_agent.policies.blend import blended_order
from rearank_agent.policies.embedded.encoder import Encoding, Vector
from rearank_agent.policies.embedded.passage_vectors import PassageVectors
from rearank_agent.policies.embedded.policy import Embedded
from rearank_agent.policies.embedded.similarity import PooledText, similarity

_EXACT = "float32"


@dataclass(frozen=True)
class Kept:
    """What `similarity` reads of a passage, and the bytes that it is kept in."""

    mean: Vector
    spans: Vector
    size: int


def as_numbers(bits: int, encoded: Encoding) -> Kept:
    """The mean and all spans, each number in so many bits."""
    text = PooledText(encoded.hidden)
    vectors = np.concatenate([text.mean[None], text.spans])
    if bits == 32:
        return Kept(vectors[0], vectors[1:], vectors.nbytes)
    most = 2 ** (bits - 1) - 1
    scale = np.abs(vectors).max(axis=1, keepdims=True) / most
    kept: Vector = (np.rint(vectors / np.maximum(scale, 1e-12)) * scale).astype(np.float32)
    return Kept(kept[0], kept[1:], vectors.size * bits // 8 + 2 * len(vectors))


def as_kept(encoded: Encoding) -> Kept:
    """What the policy keeps, and compares."""
    one = PassageVectors.of(encoded)
    return Kept(one.mean, one.spans, len(one.whole) + len(one.to_bytes()))


FORMS: dict[str, Callable[[Encoding], Kept]] = {
    _EXACT: partial(as_numbers, 32),
    "int8": partial(as_numbers, 8),
    "int4": partial(as_numbers, 4),
    "as kept: int8, and two bits": as_kept,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--depth", type=int, default=50)
    args = parser.parse_args()
    policy = Embedded()
    weight = float(policy.encoder.manifest["spans"])
    values: dict[str, dict[str, list[float]]] = {name: {} for name in FORMS}
    moved: dict[str, list[float]] = {name: [] for name in FORMS}
    sizes: list[list[float]] = []
    for one in load_collections(args.collections):
        for example in candidates([one], args.depth, args.queries):
            if not example.passages:
                continue
            query = PooledText(policy.encoder.encode(example.query).hidden)
            encoded = [policy.encoder.encode(passage.content) for passage in example.passages]
            kept = {name: [form(one) for one in encoded] for name, form in FORMS.items()}
            sizes.append([fmean(one.size for one in each) for each in kept.values()])
            ideal = [*one.qrels[example.name.rpartition("/")[2]].values()]
            found = {
                name: [similarity(query, passage, weight) for passage in each]
                for name, each in kept.items()
            }
            for name, scores in found.items():
                order, _ = blended_order(tuple(range(len(scores))), scores, policy.blend)
                gains = [example.grades[position] for position in order]
                values[name].setdefault(one.name, []).append(ndcg(gains, ideal, 10))
                moved[name] += [abs(a - b) for a, b in zip(scores, found[_EXACT], strict=True)]
        print(f"{one.name}: done", flush=True)
    _print(values, moved, [fmean(column) for column in zip(*sizes, strict=True)])


def _print(
    values: dict[str, dict[str, list[float]]], moved: dict[str, list[float]], sizes: list[float]
) -> None:
    names = [*next(iter(values.values()))]
    print(f"| | bytes a passage | score moved, mean | most | {' | '.join(names)} | mean |")
    print("|---" * (5 + len(names)) + "|")
    for (name, found), size in zip(values.items(), sizes, strict=True):
        means = [100 * fmean(each) for each in found.values()]
        shown = " | ".join(f"{mean:.2f}" for mean in [*means, fmean(means)])
        print(
            f"| {name} | {size:,.0f} | {fmean(moved[name]):.4f} | {max(moved[name]):.4f} | {shown} |"
        )


if __name__ == "__main__":
    main()
