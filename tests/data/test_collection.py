import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.small import CORPUS, QRELS, QUERIES, beir, lines
from rearank_agent import Passage
from rearank_agent.data.beir import read_folder
from rearank_agent.data.trec import qrels_text, read_qrels, read_run, run_text
from rearank_agent.errors import InputError


def test_a_folder_in_the_format_of_beir(tmp_path):
    folder = beir(tmp_path / "fleas", lists={"q1": ["jump", "host"]}, instruction="Facts\nonly. ")
    collection = read_folder(folder)
    assert collection.name == "fleas"
    assert collection.source == str(folder)
    assert collection.queries == QUERIES
    assert collection.qrels == QRELS
    assert list(collection.corpus) == list(CORPUS)
    assert collection.corpus["jump"] == Passage("jump", CORPUS["jump"])
    assert "gone" not in collection.corpus
    assert (collection.lists, collection.listed) == ({"q1": ("jump", "host")}, "candidates.jsonl")
    assert collection.instruction == "Facts only."
    assert collection.notes == ()


def test_titles_stay_apart_from_texts(tmp_path):
    folder = beir(tmp_path)
    row = {"_id": "jump", "title": "Leaps", "text": "Far.", "metadata": {"url": "x"}}
    (folder / "corpus.jsonl").write_text(lines([row]))
    assert read_folder(folder).corpus["jump"] == Passage("jump", "Far.", "Leaps")


def test_the_full_judgements_win_then_qrels_then_the_folder(tmp_path):
    folder = beir(tmp_path)
    (folder / "qrels").mkdir()
    (folder / "qrels/test.tsv").write_text("q1\tjump\t1\n")
    (folder / "qrels/dev.tsv").write_text("q2\teggs\t1\n")
    (folder / "qrels_full.tsv").write_text("q3\thost\t1\n")
    assert list(read_folder(folder).qrels) == ["q3"]
    (folder / "qrels_full.tsv").unlink()
    assert list(read_folder(folder).qrels) == ["q1", "q2", "q3"]
    (folder / "qrels.tsv").unlink()
    assert list(read_folder(folder).qrels) == ["q1"]
    dev = read_folder(folder / "qrels/dev.tsv")
    assert (list(dev.qrels), dev.name) == (["q2"], f"{tmp_path.name}/dev")
    (folder / "qrels/test.tsv").rename(folder / "qrels/train.tsv")
    with pytest.raises(
        InputError, match=r"several files of judgements; name one of: .*dev.tsv, .*train.tsv"
    ):
        read_folder(folder)
    (folder / "qrels/train.tsv").unlink()
    assert list(read_folder(folder).qrels) == ["q2"]


def test_a_folder_without_judgements_has_all_its_queries(tmp_path):
    folder = beir(tmp_path / "own", lists={"q1": ["jump", "eggs"]})
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tjump\t1\n")
    one = read_folder(folder, judged=False)
    (folder / "qrels.tsv").unlink()
    with pytest.raises(InputError, match="has no judgements"):
        read_folder(folder)
    again = read_folder(folder, judged=False)
    assert (one.queries, one.qrels) == (QUERIES, {"q1": {}, "q2": {}, "q3": {}})
    assert (again.queries, again.qrels, again.hash) == (one.queries, one.qrels, one.hash)
    assert (again.name, again.lists) == ("own", {"q1": ("jump", "eggs")})


def test_what_is_left_out_is_counted(tmp_path):
    queries = QUERIES | {"q4": "never judged", "q5": " "}
    qrels = {"q1": {"jump": 0}, "q2": {"eggs": 1}, "q5": {"eggs": 1}, "q6": {"eggs": 1}}
    collection = read_folder(beir(tmp_path, queries=queries, qrels=qrels))
    assert list(collection.queries) == ["q1", "q2"]
    assert collection.notes == (
        "queries without judgements, left out: 2",
        "judged queries without text, left out: 2",
    )


def test_the_hash_is_of_all_that_counts(tmp_path):
    def hashed(name, **parts):
        return read_folder(beir(tmp_path / name, **parts)).hash

    others = [
        hashed("corpus", corpus=CORPUS | {"new": "text"}),
        hashed("queries", queries=QUERIES | {"q1": "other words"}),
        hashed("qrels", qrels=QRELS | {"q1": {"jump": 1}}),
        hashed("lists", lists={"q1": ["jump"]}),
        hashed("instruction", instruction="Facts."),
    ]
    assert hashed("one") == hashed("two")
    assert len({hashed("one"), *others}) == 6


def test_integer_ids_are_read_as_strings_and_counted(tmp_path):
    folder = beir(
        tmp_path, {"1": "a", "2": "b"}, {"7": "q", "x": "r"}, {"7": {"1": 1}, "x": {"2": 1}}
    )
    as_strings = read_folder(folder)
    corpus = dict(as_strings.corpus)
    rows = [{"_id": 1, "title": None, "text": "a"}, {"_id": 2, "text": "b"}]
    (folder / "corpus.jsonl").write_text(lines(rows))
    (folder / "queries.jsonl").write_text(
        lines([{"_id": 7, "text": "q"}, {"_id": "x", "text": "r"}])
    )
    (folder / "candidates.jsonl").write_text(lines([{"query-id": 7, "corpus-ids": [2, "1"]}]))
    found = read_folder(folder)
    assert (found.queries, found.qrels) == (as_strings.queries, as_strings.qrels)
    assert dict(found.corpus) == corpus == {"1": Passage("1", "a"), "2": Passage("2", "b")}
    assert found.lists == {"7": ("2", "1")}
    assert found.notes == ("ids that are integers, read as strings: 3",)


BROKEN = {
    "corpus.jsonl": [
        ("", "corpus.jsonl is empty"),
        ("[1]\n", "corpus.jsonl, line 1: not a JSON object"),
        ('{"_id": "a", "text": "x"}\n{"_id": \n', "corpus.jsonl, line 2: not JSON"),
        (
            '{"_id": 7.0, "text": "x"}\n',
            'line 1: "_id" must be a string or an integer, not float: 7',
        ),
        ('{"_id": true, "text": "x"}\n', 'line 1: "_id" must be a string or an integer, not bool'),
        ('{"text": "x"}\n', 'corpus.jsonl, line 1: "_id" must be a string or an integer, not None'),
        ('{"_id": 7, "text": "x"}\n{"_id": "7", "text": "y"}\n', "line 2: the id '7' occurs twice"),
        ('{"_id": "a", "text": "x", "title": 5}\n', "line 1: the title of passage 'a' must be a"),
        ('{"_id": "a"}\n', 'corpus.jsonl, line 1: "text" must be a string, not None'),
        ('{"_id": "a", "text": "\\ud800"}\n', "line 1: not JSON: it holds half a"),
        ('{"_id": "a\\tb", "text": "x"}\n', "line 1: _id must be one line without tabs, not 'a"),
        ('{"_id": "", "text": "x"}\n', "line 1: _id must be one line without tabs, not ''"),
        (
            '{"_id": "a", "text": "x"}\n\n{"_id": "a", "text": "y"}\n',
            "line 3: the id 'a' occurs twice",
        ),
    ],
    "queries.jsonl": [
        ('{"_id": "q1"}\n', 'queries.jsonl, line 1: "text" must be a string, not None'),
        ('{"_id": "q1", "text": "a"}\n' * 2, "queries.jsonl, line 2: the id 'q1' occurs twice"),
        ('{"_id": "zz", "text": "a"}\n', "no query has both a text and judgements"),
    ],
    "qrels.tsv": [
        ("", "qrels.tsv holds no judgements"),
        ("query-id\tcorpus-id\tscore\n", "holds no judgements"),
        ("q1\tjump\n", "line 1: judgements are query, passage, grade, or TREC's 4 columns"),
        ("q1\tjump\t1\nq1\thost\tmuch\n", "line 2: not a number: 'much'"),
        ("q1\tjump\thigh\nq1\thost\t1\n", "line 1: not a number: 'high'"),
        ("q1\tjump\t1\nq1\thost\t.5\n", "line 2: grades are whole numbers up to 1000000, not .5"),
        ("q1\tjump\t1\nq1\thost\t1e20\n", "line 2: grades are whole numbers up to 1000000, not"),
        ("q1\tjump\t1\nq1\tjump\t2\n", "line 2: 'jump' has another grade earlier for query 'q1'"),
    ],
    "candidates.jsonl": [
        ("", "candidates.jsonl holds no candidates; without the file they come from BM25"),
        ('{"query-id": "q1"}\n', 'line 1: "corpus-ids" must be a list of ids, not None'),
        (
            '{"query-id": "q1", "corpus-ids": [1.5]}\n',
            'line 1: an id of "corpus-ids" must be a string or an integer, not float: 1.5',
        ),
        ('{"query-id": "q1", "corpus-ids": ["a", "a"]}\n', "line 1: the query 'q1' or one of its"),
    ],
}


@pytest.mark.parametrize(
    ("name", "text", "message"), [(n, t, s) for n, cases in BROKEN.items() for t, s in cases]
)
def test_broken_files_are_named_with_their_line(tmp_path, name, text, message):
    folder = beir(tmp_path)
    (folder / name).write_text(text)
    with pytest.raises(InputError) as error:
        read_folder(folder)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels.tsv"])
def test_missing_files_are_named(tmp_path, name):
    folder = beir(tmp_path)
    (folder / name).unlink()
    with pytest.raises(InputError, match=name.split(".")[0]):
        read_folder(folder)


def test_what_is_not_utf8_is_an_error(tmp_path):
    folder = beir(tmp_path)
    (folder / "qrels.tsv").write_bytes(b"q1\tju\xffmp\t1\n")
    with pytest.raises(InputError, match=r"qrels\.tsv is not UTF-8"):
        read_folder(folder)


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
RUNS = st.dictionaries(NAMES, st.lists(NAMES, min_size=1, unique=True), min_size=1)


@given(RUNS)
def test_a_run_comes_back_as_it_was_written(tmp_path_factory, run):
    path = tmp_path_factory.getbasetemp() / "run.txt"
    path.write_text(run_text(run, "ours"), encoding="utf-8")
    assert read_run(path) == {query: tuple(ids) for query, ids in run.items()}


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(-2, 4), min_size=1), min_size=1))
def test_judgements_come_back_as_they_were_written(tmp_path_factory, qrels):
    path = tmp_path_factory.getbasetemp() / "qrels.txt"
    path.write_text(qrels_text(qrels), encoding="utf-8")
    assert read_qrels(path) == qrels


def test_a_run_is_written_with_falling_scores():
    text = run_text({"q": ["b", "a with space"]}, "ours")
    assert text == "q\tQ0\tb\t1\t2\tours\nq\tQ0\ta with space\t2\t1\tours\n"


def test_a_foreign_run_is_ordered_by_score_and_then_as_it_stands(tmp_path):
    path = tmp_path / "run"
    path.write_text("q Q0 c 1 -1 x\nq Q0 a 2 7.5 x\r\n\nq Q0 b 3 7.5 x\np  Q0\td 1 1e3 x\n")
    assert read_run(path) == {"q": ("a", "b", "c"), "p": ("d",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no run"),
        ("q Q0 a 1 2\n", "line 1: a run has 6 columns"),
        ("q Q0 a 1 high x\n", "line 1: not a number: 'high'"),
        ("q Q0 a 1 nan x\n", "line 1: not a finite number: 'nan'"),
        ("q Q0 a 1 2 x\nq Q0 a 2 1 x\n", "line 2: the passage 'a' occurs twice for query 'q'"),
    ],
)
def test_broken_runs(tmp_path, text, message):
    path = tmp_path / "run"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_run(path)
    assert message in str(error.value)


def test_a_large_corpus_is_not_held_in_memory(tmp_path):
    corpus = {str(i): f"{i} " + "word " * 2000 for i in range(1000)}
    folder = beir(tmp_path, corpus=corpus, qrels={"q1": {"7": 1}})
    size = (folder / "corpus.jsonl").stat().st_size
    read_folder(folder)
    tracemalloc.start()
    collection = read_folder(folder)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < size / 10
    assert collection.corpus["999"].text == corpus["999"]
