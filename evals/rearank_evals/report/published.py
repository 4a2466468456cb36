"""The paper's published figures: not measured here, and always shown as such.

All are from REARANK (arXiv 2505.20046), whose systems rerank BM25's first 100 passages. `-` marks
values the paper does not give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["NOTE", "Published", "published"]

NOTE = (
    "Published figures are of the official test set and BM25's first 100 passages, and were not "
    "measured here. A folder is recognised by its name only: if it has other queries, judgements "
    "or candidates, the figures are not comparable."
)
"""The caveat that is shown beside these figures."""

_SOURCE = "arXiv 2505.20046"
_MEASURE = "nDCG@10"

# nDCG@10 x 100, as printed; RankQwen2.5-7B is REARANK before its training. The averages are of the
# seven sets of BEIR here, and of the twelve of BRIGHT.
_TABLES = (
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
        system: its name in the paper; none of ours.
        measure: as ir_measures writes it.
        value: 0 to 1.
        source: the paper.
    """

    system: str
    measure: str
    value: float
    source: str


def published(name: str) -> tuple[Published, ...]:
    """The published figures of a collection, in the paper's order; () if the paper has none.

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


def _figures() -> dict[str, tuple[Published, ...]]:
    figures: dict[str, tuple[Published, ...]] = {}
    for table in _TABLES:
        (_, *columns), *rows = (line.split() for line in table.strip().splitlines())
        for system, *values in rows:
            for column, value in zip(columns, values, strict=True):
                if value != "-":  # rounded, so that 74.16 is .7416 to the last bit
                    one = Published(system, _MEASURE, round(float(value) / 100, 4), _SOURCE)
                    figures[column] = (*figures.get(column, ()), one)
    return figures


_COLUMNS = dict(_columns())
_FIGURES = _figures()
