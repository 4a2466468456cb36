from statistics import fmean

import pytest

from rearank_agent.data.bright import SETS
from rearank_agent.data.ir_datasets import GROUPS
from rearank_evals.report.published import Published, published

BM25 = "BM25's first 100"
CARD = "the card of cross-encoder/ms-marco-MiniLM-L6-v2"
BEIR = (
    "trec-covid", "nfcorpus", "dbpedia-entity", "scifact", "signal1m", "trec-news", "robust04"
)  # fmt: skip


def values(name):
    return {one.system: one.value for one in published(name)}


def test_a_whole_column():
    systems = {
        "BM25": 0.5058, "RankQwen2.5-7B": 0.6825, "RankGPT-3.5": 0.6580, "RankGPT-4": 0.7559,
        "RankZephyr-7B": 0.7390, "RankQwen3-32B": 0.7313, "RankQwen3-235B": 0.7194,
        "Rank-R1-7B": 0.7270, "REARANK-7B": 0.7416,
    }  # fmt: skip
    small = {
        "E2Rank-0.6B": ("Alibaba-NLP/E2Rank", BM25, 0.7084),
        **{f"cross-encoder/ms-marco-{name}": (CARD, "not stated", value) for name, value in (
            ("TinyBERT-L2-v2", 0.6984), ("MiniLM-L4-v2", 0.7304), ("MiniLM-L6-v2", 0.743),
            ("MiniLM-L12-v2", 0.7431),
        )},
    }  # fmt: skip
    assert published("trec_dl19") == (
        *(
            Published(one, "nDCG@10", value, "arXiv 2505.20046", BM25)
            for one, value in systems.items()
        ),
        *(Published(one, "nDCG@10", value, by, of) for one, (by, of, value) in small.items()),
    )
    assert [one.system for one in published("trec_dl20")] == [*systems, "E2Rank-0.6B"]


def test_a_set_of_bright():
    assert published("bright/pony") == (
        Published("BM25", "nDCG@10", 0.043, "arXiv 2505.20046", BM25),
        Published("REARANK-7B", "nDCG@10", 0.08, "arXiv 2505.20046", BM25),
    )


@pytest.mark.parametrize(
    ("bm25", "ours", "names"),
    [
        (0.5058, 0.7416, "trec_dl19 TREC-DL19 dl19 trec-dl-2019 msmarco-passage/trec-dl-2019 msmarco-passage/trec-dl-2019/judged"),
        (0.4796, 0.7000, "trec_dl20 msmarco-passage/trec-dl-2020/judged"),
        (0.5947, 0.8128, "trec-covid trec_covid beir/trec-covid"),
        (0.3075, 0.3520, "nfcorpus NFCorpus beir/nfcorpus beir/nfcorpus/test"),
        (0.3180, 0.4523, "dbpedia dbpedia-entity beir/dbpedia-entity/test"),
        (0.6789, 0.7502, "scifact beir/scifact/test"),
        (0.3305, 0.3600, "signal1m signal-1m"),
        (0.3952, 0.5188, "trec-news trec_news"),
        (0.4070, 0.5749, "robust04 trec-robust04"),
        (0.182, 0.234, "biology bright/biology"),
        (0.279, 0.274, "earth_science bright/earth_science bright/earth-science"),
        (0.073, 0.079, "theoremqa_questions bright/theoremqa_questions"),
    ],
)  # fmt: skip
def test_names(bm25, ours, names):
    found = [values(name) for name in names.split()]
    assert [(one["BM25"], one["REARANK-7B"]) for one in found] == [(bm25, ours)] * len(found)


@pytest.mark.parametrize(
    "name",
    [
        "", "-", "system", "harbour", "trec_dl21", "beir", "bright", "bio", "beir/biology",
        "beir/nfcorpus/dev", "nfcorpus/dev", "nfcorpus/train", "beir/scifact/train",
        "beir/dbpedia-entity/dev", "nano-beir/nfcorpus", "bright/biology-long",
        "msmarco-passage/dev/small", "msmarco-passage/trec-dl-hard", "cord19/trec-covid",
        "msmarco-document/trec-dl-2019/judged", "disks45/nocr/trec-robust-2004",
        "nfcorpus/test",  # of ir_datasets: NFCorpus before BEIR chose its queries
    ],
)  # fmt: skip
def test_other_sets_and_other_parts_have_none(name):
    assert published(name) == ()


def test_the_names_of_groups_are_understood():
    assert all(published(name) for group in GROUPS.values() for name in group)
    assert all(published(f"bright/{name}") for name in SETS)


@pytest.mark.parametrize(
    ("average", "sets", "rounding"),
    [("beir-average", BEIR, 0.00011), ("bright-average", SETS, 0.00051)],
)
def test_averages_are_of_their_sets(average, sets, rounding):
    """A wrong digit anywhere in these rows shows here."""
    printed, parts = values(average), [values(name) for name in sets]
    assert len(printed) == (9 if sets is BEIR else 8)
    for system in parts[0]:
        mean = fmean(one[system] for one in parts)
        assert printed[system] == pytest.approx(mean, abs=rounding), system
