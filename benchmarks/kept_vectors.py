"""What a passage's vectors cost and lose when they are kept: bytes, scores moved, and nDCG@10.

    python -m benchmarks.kept_vectors COLLECTION... [--queries 100] [--depth 50]

The embedded policy needs of a passage, without the query, its mean and the means of its spans. They
are kept in float32 with spans that overlap, as they are served, or in fewer bits, or with spans
side by side. A score moves by what is lost; nDCG@10 is that of the order blended with the first
stage, as `eval` has it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from benchmarks.in_process import candidates
from rearank_agent.data.load import load_collections
from rearank_agent.metrics import ndcg
from rearank_agent.policies.blend import blended_order
from rearank_agent.policies.embedded.encoder import Vector, normalized
from rearank_agent.policies.embedded.policy import Embedded
from rearank_agent.policies.embedded.similarity import SPAN, PooledText, similarity

_SERVED = "float32, spans overlap"


@dataclass(frozen=True)
class Kept:
    """What `similarity` reads of a passage, and the bytes that it is kept in."""

    mean: Vector
    spans: Vector
    size: int


@dataclass(frozen=True)
class Form:
    """How vectors are kept: the bits of a number, and whether spans overlap."""

    bits: int
    overlap: bool

    @property
    def name(self) -> str:
        """As the table shows it."""
        kind = "float32" if self.bits == 32 else f"int{self.bits}"
        return f"{kind}, spans {'overlap' if self.overlap else 'side by side'}"

    def keep(self, text: PooledText) -> Kept:
        """A text's vectors as they are read again."""
        spans = text.spans if self.overlap else _side_by_side(text)
        vectors = np.concatenate([text.mean[None], spans])
        if self.bits == 32:
            return Kept(vectors[0], vectors[1:], vectors.nbytes)
        most = 2 ** (self.bits - 1) - 1
        scale = np.abs(vectors).max(axis=1, keepdims=True) / most
        kept: Vector = (np.rint(vectors / np.maximum(scale, 1e-12)) * scale).astype(np.float32)
        return Kept(kept[0], kept[1:], vectors.size * self.bits // 8 + 2 * len(vectors))


FORMS = [Form(bits, overlap) for overlap in (True, False) for bits in (32, 8, 4)]


def _side_by_side(text: PooledText) -> Vector:
    tokens = text.hidden[1:-1] if len(text.hidden) > 2 else text.hidden
    parts = [tokens[at : at + SPAN].mean(axis=0) for at in range(0, len(tokens), SPAN)]
    return normalized(np.stack(parts))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--depth", type=int, default=50)
    args = parser.parse_args()
    policy = Embedded()
    weight = float(policy.encoder.manifest["spans"])
    values: dict[str, dict[str, list[float]]] = {form.name: {} for form in FORMS}
    moved: dict[str, list[float]] = {form.name: [] for form in FORMS}
    sizes: list[list[float]] = []
    for one in load_collections(args.collections):
        for example in candidates([one], args.depth, args.queries):
            if not example.passages:
                continue
            texts = (example.query, *(passage.content for passage in example.passages))
            query, *passages = (PooledText(policy.encoder.encode(t).hidden) for t in texts)
            kept = {form.name: [form.keep(passage) for passage in passages] for form in FORMS}
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
                moved[name] += [abs(a - b) for a, b in zip(scores, found[_SERVED], strict=True)]
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
