"""Models of other makers that judge better than the shipped encoder, with what their makers say."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOG", "DL19_NOTE", "DL19_SOURCE", "KnownModel"]

DL19_SOURCE = "the card of cross-encoder/ms-marco-MiniLM-L6-v2"
"""Who published the figures on TREC DL19; it does not say what the candidates were."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model, as its makers describe it; nothing of it was measured by us.

    Attributes:
        policy: what is typed for `--policy`.
        millions: its parameters.
        tokens: what it reads at once.
        languages: that it was trained on.
        licence: of its weights.
        dl19: nDCG@10 x100 on TREC DL19 as published; None where its makers state none.
        extra: what must be installed beside the base; "" for nothing.
    """

    policy: str
    millions: float
    tokens: int
    languages: str
    licence: str
    dl19: float | None = None
    extra: str = ""

    @property
    def name(self) -> str:
        """The repository."""
        return self.policy.partition(":")[2]

    @property
    def megabytes(self) -> float:
        """What is downloaded, about: four bytes a parameter."""
        return 4 * self.millions

    @property
    def facts(self) -> str:
        """Size, length, languages, licence and figure, in a line."""
        dl19 = f", DL19 {self.dl19:.1f}" if self.dl19 else ""
        return (
            f"{self.megabytes:.0f} MB, {self.tokens} tokens, {self.languages}, {self.licence}{dl19}"
        )


def _ms_marco(name: str, millions: float, dl19: float) -> KnownModel:
    return KnownModel(
        f"cross-encoder:cross-encoder/ms-marco-{name}", millions, 512, "English", "Apache-2.0", dl19
    )


def _ettin(name: str, millions: float) -> KnownModel:
    policy = f"cross-encoder:cross-encoder/ettin-reranker-{name}-v1"
    return KnownModel(policy, millions, 7999, "English", "Apache-2.0", extra="torch")


# DL19: `DL19_SOURCE`; the figures stand beside ours only roughly. The others: the cards of
# mixedbread-ai/mxbai-rerank-xsmall-v1, BAAI/bge-reranker-base and BAAI/bge-reranker-v2-m3; the
# last one's repository has no ONNX file. Ettin: the cards and the collection of cross-encoder on
# the hub; whether there are ONNX files they do not say.
CATALOG = (
    _ms_marco("TinyBERT-L2-v2", 4.4, 69.84),
    _ettin("17m", 16.8),
    _ms_marco("MiniLM-L4-v2", 19.2, 73.04),
    _ms_marco("MiniLM-L6-v2", 22.7, 74.30),
    _ms_marco("MiniLM-L12-v2", 33.4, 74.31),
    _ettin("68m", 68.1),
    KnownModel(
        "cross-encoder:mixedbread-ai/mxbai-rerank-xsmall-v1", 70, 512, "English", "Apache-2.0"
    ),
    KnownModel("cross-encoder:BAAI/bge-reranker-base", 278, 512, "Chinese, English", "MIT"),
    KnownModel(
        "cross-encoder:BAAI/bge-reranker-v2-m3", 568, 8192, "100 languages and more", "Apache-2.0",
        extra="torch",
    ),
)  # fmt: skip
"""From small to large."""
DL19_NOTE = (
    "DL19: nDCG@10 x100 on TREC DL19 as its makers published it, candidates not stated; "
    "the shipped policy has 65.5 (BM25's top 100, measured here)."
)
"""What the figures are, for whoever prints them."""
