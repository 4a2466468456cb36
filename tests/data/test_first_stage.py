from dataclasses import replace
from pathlib import Path

import pytest

from helpers.small import CORPUS, QUERIES, beir
from rearank_agent.data.beir import read_folder
from rearank_agent.data.first_stage import bm25, first_stage
from rearank_agent.data.load import load_collections, remarks, select_queries
from rearank_agent.errors import InputError

GONE = "judgements of passages that are not in the corpus, counted in the ideal: 1"
EXAMPLE = Path(__file__).parents[2] / "examples/harbour"


def test_bm25_over_the_whole_corpus(tmp_path):
    first = first_stage(read_folder(beir(tmp_path)), 100)
    assert first.name == "BM25, english"
    assert {query: ids[0] for query, ids in first.lists.items()} == {
        "q1": "jump", "q2": "eggs", "q3": "rats",
    }  # fmt: skip
    found = {passage for ids in first.lists.values() for passage in ids}
    assert "bees" not in found, "it shares no word with a query: its score is 0"


def test_a_smaller_depth_gives_a_prefix(tmp_path):
    collection = read_folder(EXAMPLE)
    whole = bm25(collection, 60)
    for depth in (1, 3, 10):
        assert bm25(collection, depth) == {q: ids[:depth] for q, ids in whole.items()}


def test_equal_scores_are_in_corpus_order(tmp_path):
    corpus = dict.fromkeys("edcba", "one flea")
    collection = read_folder(beir(tmp_path, corpus=corpus))
    assert bm25(collection, 3)["q1"] == ["e", "d", "c"]


def test_words_are_stemmed_by_their_language(tmp_path):
    corpus = {"haus": "Die Häuser der Stadt", "hund": "Der Hund schläft"}
    queries, qrels = {"q1": "ein Haus"}, {"q1": {"haus": 1}}
    collection = read_folder(beir(tmp_path, corpus=corpus, queries=queries, qrels=qrels))
    assert bm25(collection, 9, "german") == {"q1": ["haus"]}
    assert bm25(collection, 9, "none") == {"q1": []}
    with pytest.raises(InputError, match="no language 'klingon'; it has: arabic, "):
        bm25(collection, 9, "klingon")


def test_scripts_without_spaces_are_split_into_pairs(tmp_path):
    corpus = {"flea": "跳蚤可以跳三十厘米", "bee": "蜜蜂采蜜"}
    queries, qrels = {"q1": "跳蚤能跳多远"}, {"q1": {"flea": 1}}
    collection = read_folder(beir(tmp_path, corpus=corpus, queries=queries, qrels=qrels))
    assert bm25(collection, 9, "none") == {"q1": ["flea"]}


def test_given_lists_keep_their_order(tmp_path):
    lists = {"q1": ["bees", "jump"], "q2": ["eggs"], "q3": ["host"]}
    collection = read_folder(beir(tmp_path, lists=lists))
    first = first_stage(collection, 100)
    assert (first.name, first.notes) == ("candidates.jsonl", ())
    assert first.lists == {query: tuple(ids) for query, ids in lists.items()}
    assert first_stage(collection, 1).lists["q1"] == ("bees",)
    anew = first_stage(collection, 100, language="english")
    assert (anew.name, anew.lists["q1"][0]) == ("BM25, english", "jump")
    assert anew.hash != first.hash


def test_a_trec_run_is_reranked(tmp_path):
    path = tmp_path / "mine.run"
    path.write_text(
        "q1 Q0 cats 1 9 x\nq1 Q0 jump 2 8 x\nq2 Q0 unknown 1 9 x\nq2 Q0 bees 2 8 x\nzz Q0 cats 1 1 x\n"
    )
    first = first_stage(read_folder(beir(tmp_path / "c")), 100, run=path)
    assert first.name == "mine.run"
    assert first.lists == {"q1": ("cats", "jump"), "q2": ("bees",)}
    assert first.notes == (
        "candidates that are not in the corpus, left out: 1",
        "queries without candidates, counted as 0: 1",
    )
    path.write_text("zz Q0 cats 1 9 x\n")
    with pytest.raises(InputError, match=r"mine\.run: none of its queries is one of c"):
        first_stage(read_folder(tmp_path / "c"), 100, run=path)
    path.write_text("q1 Q0 unknown 1 9 x\n")
    with pytest.raises(InputError, match=r"mine\.run: no query has a candidate in the corpus of c"):
        first_stage(read_folder(tmp_path / "c"), 100, run=path)


def test_excluded_passages_are_not_found(tmp_path):
    collection = read_folder(beir(tmp_path))
    barred = replace(collection, excluded={"q1": frozenset({"jump"})})
    assert bm25(collection, 2)["q1"][0] == "jump"
    assert "jump" not in bm25(barred, 2)["q1"]
    assert len(bm25(barred, 2)["q1"]) == 2


def test_excluded_passages_are_left_out_of_given_lists(tmp_path):
    lists = {"q1": ["jump", "host"], "q2": ["eggs"]}
    barred = replace(read_folder(beir(tmp_path, lists=lists)), excluded={"q1": {"jump"}})
    first = first_stage(barred, 100)
    assert first.lists["q1"] == ("host",)
    assert first.notes[0] == "candidates that the collection excludes, left out: 1"


def test_a_corpus_of_stop_words_finds_nothing(tmp_path):
    collection = read_folder(beir(tmp_path, corpus={"jump": "the of and", "host": "is it"}))
    assert bm25(collection, 5) == {query: [] for query in QUERIES}
    with pytest.raises(InputError, match="BM25, english: no query has a candidate"):
        first_stage(collection, 5)


def test_lists_are_cached_and_a_damaged_one_is_rebuilt(tmp_path, monkeypatch):
    monkeypatch.setenv("REARANK_CACHE", str(tmp_path / "cache"))
    collection = read_folder(beir(tmp_path / "c"))
    first = first_stage(collection, 100)
    (kept,) = (tmp_path / "cache").rglob("*.json")
    monkeypatch.setattr("rearank_agent.data.first_stage.bm25", lambda *_: pytest.fail("made again"))
    assert first_stage(collection, 100) == first
    monkeypatch.undo()
    monkeypatch.setenv("REARANK_CACHE", str(tmp_path / "cache"))
    kept.write_text("{")
    assert first_stage(collection, 100) == first


def test_collections_of_one_name_get_unique_names(tmp_path):
    one, two = (
        beir(tmp_path / "dev/fleas"),
        beir(tmp_path / "train/fleas", corpus=CORPUS | {"x": "y"}),
    )
    assert [c.name for c in load_collections([str(one), str(two)])] == ["dev/fleas", "train/fleas"]
    for same in (one, one.parent / ".." / "dev" / "fleas"):
        with pytest.raises(InputError, match="named twice"):
            load_collections([str(one), str(same)])
    far = beir(tmp_path / "x/dev/fleas"), beir(tmp_path / "y/dev/fleas")
    assert [c.name for c in load_collections(map(str, far))] == ["x/dev/fleas", "y/dev/fleas"]


def test_a_query_without_a_relevant_passage_is_noted(tmp_path):
    qrels = {"q1": {"jump": 0}, "q2": {"eggs": 1}}
    collection = read_folder(beir(tmp_path, qrels=qrels))
    assert remarks(collection) == [
        "queries without judgements, left out: 1",
        "queries without a relevant passage, 0 for every system: 1",
    ]


def test_a_selection_of_queries(tmp_path):
    collection = read_folder(beir(tmp_path))
    few = select_queries(collection, 2, None)
    assert (list(few.queries), list(few.qrels)) == (["q1", "q2"], ["q1", "q2"])
    assert list(select_queries(collection, None, ["q3", "q1"]).queries) == ["q1", "q3"]
    assert list(select_queries(collection, 1, ["q3"]).queries) == ["q3"]
    assert select_queries(collection, None, None).queries == QUERIES
    assert few.part
    assert few.notes[-1] == "queries chosen: 2 of 3"
    assert remarks(collection) == [GONE]
    assert remarks(few) == ["queries chosen: 2 of 3"], "what is counted is of these queries"
    with pytest.raises(InputError, match=r"no query of .* was chosen"):
        select_queries(collection, None, [])
    with pytest.raises(InputError, match=r"no judged queries zz \(1 unknown in all\)"):
        select_queries(collection, None, ["q1", "zz"])
