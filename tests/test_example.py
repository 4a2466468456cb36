"""The collection in examples/ as data: whole, judged for every pair, and with room to differ."""

import json
from collections import Counter
from pathlib import Path

import pytest

from rearank_agent.data.beir import read_folder

FOLDER = Path(__file__).parent.parent / "examples" / "harbour"


@pytest.fixture(scope="module")
def harbour():
    return read_folder(FOLDER)


def rows(name):
    return [json.loads(line) for line in (FOLDER / name).read_text("utf-8").splitlines()]


def test_it_reads_without_a_note(harbour):
    assert (harbour.name, len(harbour.corpus), len(harbour.queries)) == ("harbour", 60, 12)
    assert harbour.notes == ()
    assert harbour.lists is None
    assert harbour.instruction.endswith("one of the facts that the answer needs.")


def test_lines_have_beirs_form():
    assert {tuple(row) for row in rows("corpus.jsonl")} == {("_id", "title", "text")}
    assert {tuple(row) for row in rows("queries.jsonl")} == {("_id", "text")}
    head = (FOLDER / "qrels.tsv").read_text("utf-8").partition("\n")[0]
    assert head == "query-id\tcorpus-id\tscore"


@pytest.mark.parametrize("field", ["_id", "title", "text"])
def test_nothing_stands_twice(field):
    values = [row[field] for row in rows("corpus.jsonl")]
    assert [value for value, n in Counter(values).items() if n > 1] == []


def test_passages_are_of_one_size():
    sizes = {row["_id"]: len(row["text"].split()) for row in rows("corpus.jsonl")}
    assert {name: size for name, size in sizes.items() if not 40 <= size <= 90} == {}


def test_every_pair_is_judged_once(harbour):
    lines = (FOLDER / "qrels.tsv").read_text("utf-8").splitlines()[1:]
    pairs = [tuple(line.split("\t")[:2]) for line in lines]
    assert sorted(pairs) == sorted((q, p) for q in harbour.queries for p in harbour.corpus)


def test_every_query_has_an_answer_and_grades_below_it(harbour):
    for query, grades in harbour.qrels.items():
        counts = Counter(grades.values())
        assert set(counts) <= {0, 1, 2, 3}, query
        assert counts[3] >= 1, query
        assert 2 <= sum(counts[grade] for grade in (1, 2, 3)) <= 8, query
        assert len(set(counts) - {0}) >= 2, query


def test_a_sum_that_a_question_rests_on(harbour):
    """Eight boats at five tonnes want forty; the plant has twenty and twelve, a lorry ten."""
    grades = harbour.qrels["enough-ice"]
    needed = {name: harbour.corpus[name].text for name in grades if grades[name]}
    assert needed.keys() == {"ice-plant", "ice-orders", "ice-lorry"}
    assert "twenty tonnes" in needed["ice-plant"]
    assert "another twelve" in needed["ice-plant"]
    assert "five for a week" in needed["ice-orders"]
    assert "up to ten tonnes" in needed["ice-lorry"]
