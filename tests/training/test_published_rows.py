"""Rows as they are published: a query, hits, and judgements beside them."""

import json
from math import log2

import pyarrow as pa
import pytest
from pyarrow import parquet

from helpers.small import beir
from rearank_agent import Passage
from rearank_agent.data.beir import read_folder
from rearank_agent.errors import InputError
from rearank_training.rows.augment import augment
from rearank_training.rows.published import read_published
from rearank_training.rows.rows import read_rows

QRELS = "7 0 a 3\n7 0 c 1\n7 0 z 2\n8 0 x 1\n8 0 y 0\n"
IDEAL = 3 + 2 / log2(3) + 1 / 2  # of query 7: a, z and c


def hit(name, score, text=None, query=7):
    return {"qid": query, "docid": name, "rank": 1, "score": score, "content": text or f"of {name}"}


FIRST = {
    "query": "what is a",
    "hits": [hit("b", 9.0), hit("a", 8.0, "Title: The a Content: It is\nfirst."), hit("c", 7.0)],
    "metrics": {"NDCG@10": round((3 / log2(3) + 1 / 2) / IDEAL, 5)},
    "best_metrics": {"NDCG@10": 1.0},
    "prompt": [{"role": "user", "content": "..."}],
}
SECOND = {
    "query": "what is a",
    "hits": [hit("d", 1.0), hit("c", 7.0), hit("b", 9.0)],
    "metrics": {"NDCG@10": round(1 / log2(3) / IDEAL, 5)},
}
OTHER = {"query": "which x", "hits": [hit("y", 2, query=8), hit("x", 3, query=8)], "metrics": {}}


@pytest.fixture
def files(tmp_path):
    (tmp_path / "qrels.txt").write_text(QRELS)

    def write(rows, name="rows.jsonl"):
        path = tmp_path / name
        if name.endswith(".parquet"):
            parquet.write_table(pa.Table.from_pylist(rows), path)
        elif name.endswith(".json"):
            path.write_text(json.dumps(rows))
        else:
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return path, tmp_path / "qrels.txt"

    return write


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.parquet"])
def test_sets_keep_their_order_and_get_grades(files, name):
    found = read_published(*files([FIRST, SECOND, OTHER], name))
    made = augment([found.collection], found.settings, draw=found.draw)
    assert [(row.query.id, row.number, row.passages, row.grades) for row in made.rows] == [
        ("7", 0, ("b", "a", "c"), (0, 3, 1)),
        ("7", 1, ("d", "c", "b"), (0, 1, 0)),
        ("8", 0, ("y", "x"), (0, 1)),
    ]
    assert made.rows[0].query.text == "what is a"
    assert made.rows[0].query.passages == ("b", "a", "c", "d")  # by falling score
    assert made.passages["rows", "a"] == Passage("a", "It is\nfirst.", "The a")
    assert made.passages["rows", "b"] == Passage("b", "of b")
    assert found.differing == 0
    assert made.provenance["collections"]["rows"]["first_stage"] == f"the rows of {name}"


def test_without_scores_passages_are_listed_as_they_are_met(files):
    rows = [json.loads(json.dumps(FIRST))]
    del rows[0]["hits"][1]["score"]
    found = read_published(*files(rows))
    assert found.collection.lists == {"7": ["b", "a", "c"]}


def test_figures_that_differ_are_counted_or_refused(files):
    wrong = SECOND | {"metrics": {"NDCG@10": 0.5}}
    assert read_published(*files([FIRST, wrong])).differing == 1
    with pytest.raises(InputError, match=r"no row of .* has the NDCG@10 that .*qrels.txt gives"):
        read_published(*files([wrong]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no rows"),
        ([["query", "hits"]], "row 1: a row has a query, and a list of two hits or more"),
        ([FIRST, {"query": "q", "hits": [hit("a", 1)]}], "row 2: a row has a query, and a list of"),
        ([FIRST | {"hits": [hit("a", 1), "b"]}], "row 1, hit 2: a hit has qid, docid and content"),
        ([FIRST | {"hits": [hit("a", 1), hit("a", 1)]}], "several queries, or one occurs twice"),
        ([FIRST | {"hits": [hit("a", 1), hit("b", 1, query=8)]}], "of several queries, or one"),
        ([OTHER | {"hits": [hit("a", 1, query=9), hit("b", 1, query=9)]}], "'9' has no judgements"),
        ([FIRST, SECOND | {"query": "another"}], "row 2: the query '7' has another text earlier"),
        ([FIRST, SECOND | {"hits": [hit("b", 1, "other"), hit("c", 1)]}], "'b' has another text"),
    ],
)
def test_what_is_no_row_is_named(files, rows, message):
    with pytest.raises(InputError, match=message):
        read_published(*files(rows))


def test_a_file_that_is_no_json(files):
    path, qrels = files([FIRST])
    path.write_text('{"query": "x", "hits": [')
    with pytest.raises(InputError, match=r"rows.jsonl is not JSON: "):
        read_published(path, qrels)


def test_the_command(run, files, tmp_path):
    path, qrels = files([FIRST, SECOND, OTHER], "rows.parquet")
    dev = beir(tmp_path / "dev")
    options = ("--qrels", str(qrels), "--dev", str(dev), "--out", str(tmp_path / "out"))
    code, _, err = run("train", "rows", str(path), *options)
    assert code == 0, err
    rows, passages = read_rows(tmp_path / "out")
    assert [row.passages for row in rows] == [("b", "a", "c"), ("d", "c", "b"), ("y", "x")]
    assert len(passages) == 6
    assert read_folder(dev).name in (tmp_path / "out/manifest.json").read_text()
    code, _, err = run("train", "rows", str(path), *options, "--sets", "3", "--shuffled")
    assert (code, err) == (
        2,
        "rearank-agent: published rows are sets already: leave out --sets, --shuffled\n",
    )
