"""Figures that others published: not measured here, and always shown as such.

Those of 7B models are from REARANK (arXiv 2505.20046), `-` marks values it does not give; those
of small models are from their makers, cross-encoders as our list of models has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rearank_agent.policies.pretrained.catalog import CATALOG, DL19_SOURCE

__all__ = ["NOTE", "Published", "published"]

NOTE = (
    "Published figures are of the official test set and were not measured here; beside each is who "
    "published it, and which candidates were reranked. Systems compare only where these are the "
    "same. A folder is recognised by its name only: if it has other queries, judgements or "
    "candidates, the figures are not comparable."
)
"""The caveat that is shown beside these figures."""

_MEASURE = "nDCG@10"
_BM25 = "BM25's first 100"

# nDCG@10 x 100, as printed; RankQwen2.5-7B is REARANK before its training. The averages are of the
# seven sets of BEIR here, and of the twelve of BRIGHT.
_PAPER = (
    """
    system         dl19  dl20  covid nfc   dbp   scif  sig   news  rob04 beir  bright
    BM25           50.58 47.96 59.47 30.75 31.80 67.89 33.05 39.52 40.70 43.31 13.7
    RankQwen2.5-7B 68.25 62.73 77.74 37.40 39.83 70.83 31.73 43.24 49.95 50.10 15.0
    RankGPT-3.5    65.80 62.91 76.67 35.62 44.47 70.43 32.10 48.85 50.62 51.25 -
    RankGPT-4      75.59 70.56 85.51 38.47 47.12 74.95 34.40 52.89 57.55 55.84 16.8
    RankZephyr-7B  73.90 70.60 83.54 38.38 44.34 75.18 31.44 52.35 54.19 54.20 13.0
    RankQwen3-32B  73.13 70.00 83.86 36.28 45.44 71.78 32.06 51.73 57.27 54.06 18.2
    RankQwen3-235B 71.94 69.37 83.68 35.64 41.33 63.30 32.53 50.79 58.16 52.20 18.8
    Rank-R1-7B     72.70 68.50 83.12 35.97 43.43 74.47 32.16 48.43 55.17 53.25 16.4
    REARANK-7B     74.16 70.00 81.28 35.20 45.23 75.02 36.00 51.88 57.49 54.59 17.7
    """,
    """
    system         bio  earth econ psy  rob  stack sus  pony leet aops theot theoq
    BM25           18.2 27.9  16.4 13.4 10.9 16.3  16.1 4.3  24.7 6.5  2.1   7.3
    REARANK-7B     23.4 27.4  18.5 24.2 17.4 16.3  25.1 8.0  27.0 7.4  9.5   7.9
    """,
)

# From the table that Alibaba-NLP/E2Rank prints.
_E2RANK = """
    system      dl19  dl20
    E2Rank-0.6B 70.84 70.15
"""

# A column, the prefix of its set in ir_datasets, the official part there, and the set's names.
# Other parts (dev, train), sets of the same name elsewhere (msmarco-document) and other forms
# (nano-beir, biology-long) have other queries or passages, and no published figures.
_NAMES = """
    dl19    msmarco-passage judged trec-dl-2019 trec-dl-19 trec-dl19 dl19
    dl20    msmarco-passage judged trec-dl-2020 trec-dl-20 trec-dl20 dl20
    covid   beir            test   trec-covid
    nfc     beir            test   nfcorpus
    dbp     beir            test   dbpedia-entity dbpedia
    scif    beir            test   scifact
    sig     beir            test   signal1m signal-1m
    news    beir            test   trec-news
    rob04   beir            test   robust04 trec-robust04
    beir    -               -      beir-average
    bright  -               -      bright-average
    bio     bright          -      biology
    earth   bright          -      earth-science
    econ    bright          -      economics
    psy     bright          -      psychology
    rob     bright          -      robotics
    stack   bright          -      stackoverflow
    sus     bright          -      sustainable-living
    pony    bright          -      pony
    leet    bright          -      leetcode
    aops    bright          -      aops
    theot   bright          -      theoremqa-theorems
    theoq   bright          -      theoremqa-questions
"""


@dataclass(frozen=True, slots=True)
class Published:
    """A published figure.

    Attributes:
        system: its name as published; none of ours.
        measure: as ir_measures writes it.
        value: 0 to 1.
        source: who published it, and where.
        candidates: what was reranked, as far as they say.
    """

    system: str
    measure: str
    value: float
    source: str
    candidates: str


def published(name: str) -> tuple[Published, ...]:
    """The published figures of a collection: 7B models first, then small ones; () for none.

    Args:
        name: a folder's name (`trec_dl19`, `nfcorpus`), an id of ir_datasets
            (`beir/nfcorpus/test`), a set of BRIGHT (`bright/biology`), or `beir-average` or
            `bright-average`. Case is ignored, and `_` is `-`. Its content is not checked: see
            `NOTE`.
    """
    return _FIGURES.get(_COLUMNS.get(name.lower().replace("_", "-"), ""), ())


def _columns() -> Iterator[tuple[str, str]]:
    """Every recognised name, and the column of its figures."""
    for line in _NAMES.strip().splitlines():
        column, prefix, part, *names = line.split()
        for name in names:
            yield name, column
            if prefix != "-":
                yield f"{prefix}/{name}", column
            if part != "-":
                yield f"{prefix}/{name}/{part}", column


def _figures() -> Iterator[tuple[str, Published]]:
    """Every figure, and the column it belongs to."""
    for table in _PAPER:
        yield from _of_table(table, "arXiv 2505.20046")
    yield from _of_table(_E2RANK, "Alibaba-NLP/E2Rank")
    for model in CATALOG:
        if model.dl19:
            yield "dl19", _figure(model.name, model.dl19, DL19_SOURCE, "not stated")


def _of_table(table: str, source: str) -> Iterator[tuple[str, Published]]:
    (_, *columns), *rows = (line.split() for line in table.strip().splitlines())
    for system, *values in rows:
        for column, value in zip(columns, values, strict=True):
            if value != "-":
                yield column, _figure(system, float(value), source, _BM25)


def _figure(system: str, printed: float, source: str, candidates: str) -> Published:
    value = round(printed / 100, 4)  # so that 74.16 is .7416 to the last bit
    return Published(system, _MEASURE, value, source, candidates)


def _by_column() -> dict[str, tuple[Published, ...]]:
    figures: dict[str, tuple[Published, ...]] = {}
    for column, one in _figures():
        figures[column] = (*figures.get(column, ()), one)
    return figures


_COLUMNS = dict(_columns())
_FIGURES = _by_column()
