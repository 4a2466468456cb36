"""Queries in their own corpus: left out where the collection's name says so, else counted."""

import pytest

from helpers.small import CORPUS, QUERIES, beir, lines
from rearank_agent.data.beir import read_folder
from rearank_agent.data.first_stage import first_stage
from rearank_agent.data.load import remarks

LEFT_OUT = "queries whose own passage (same id) is left out of their candidates"
KEPT = "queries that are passages too (same id and words), not left out of their candidates"
GONE = "judgements of passages that are not in the corpus, counted in the ideal: 1"
BOTH = CORPUS | {"q1": QUERIES["q1"], "q2": "Where do flea eggs fall?!", "q3": "Another text."}


@pytest.mark.parametrize("name", ["arguana", "BeIR-Quora", "NanoArguAna"])
@pytest.mark.parametrize("listed", [True, False])
def test_a_query_s_own_passage_is_no_candidate_by_the_collection_s_name(tmp_path, name, listed):
    lists = {q: [q, "jump", "host"] for q in QUERIES} if listed else None
    collection = read_folder(beir(tmp_path / name, corpus=BOTH, lists=lists))
    assert remarks(collection) == [GONE, f"{LEFT_OUT}: 3"]
    first = first_stage(collection, 100)
    assert {q for q, ids in first.lists.items() if q in ids} == set()
    assert all(first.lists[q] for q in QUERIES)


def test_elsewhere_it_stays_and_is_counted_by_id_and_words(tmp_path):
    collection = read_folder(beir(tmp_path / "fleas", corpus=BOTH))
    assert collection.excluded is None
    assert remarks(collection) == [GONE, f"{KEPT}: 2"]
    assert first_stage(collection, 100).lists["q1"][0] == "q1"


def test_a_title_may_be_part_of_the_query(tmp_path):
    folder = beir(tmp_path / "fleas", corpus=CORPUS)
    rows = [{"_id": "q1", "title": "How far", "text": "does a flea jump"}]
    rows += [{"_id": name, "text": text} for name, text in CORPUS.items()]
    (folder / "corpus.jsonl").write_text(lines(rows))
    assert remarks(read_folder(folder)) == [GONE, f"{KEPT}: 1"]


def test_the_cached_lists_of_another_name_are_not_taken(tmp_path):
    """The same files: what is left out is part of what the lists depend on."""
    plain = first_stage(read_folder(beir(tmp_path / "fleas", corpus=BOTH)), 1)
    named = first_stage(read_folder(beir(tmp_path / "quora", corpus=BOTH)), 1)
    assert (plain.lists["q1"], named.lists["q1"]) == (("q1",), ("jump",))


def test_a_collection_without_such_queries_has_no_note(tmp_path):
    assert remarks(read_folder(beir(tmp_path / "quora"))) == [GONE]
