"""`rearank-agent train rows`, and what it makes of a collection."""

import json
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.small import CORPUS, beir, lines
from rearank_agent import Passage
from rearank_agent.data.beir import read_folder
from rearank_agent.errors import InputError, SetupError
from rearank_training.rows.augment import Augmentation, augment, dropped_lines
from rearank_training.rows.rows import Query, Row, read_rows, write_rows

HARBOUR = str(Path(__file__).parents[2] / "examples/harbour")
MANY = {f"p{i}": f"Passage {i} is about tides." for i in range(40)}
FIRST = {"q1": list(MANY)[:30], "q2": list(MANY)[10:40], "q3": list(MANY)[:7]}
JUDGED = {"q1": {"p1": 2, "p4": 1, "p22": 1}, "q2": {"p12": 1, "p30": 3}, "q3": {"p6": 2, "p0": -1}}
HOW = Augmentation(sets=8, size=6, depth=25)


def tides(folder, **parts):
    return beir(folder, **{"corpus": MANY, "qrels": JUDGED, "lists": FIRST} | parts)


@pytest.fixture
def collection(tmp_path):
    return read_folder(tides(tmp_path / "tides", instruction="Only tides."))


def listed(grades, **parts):
    """A row of a query's whole list with these grades."""
    names = tuple(f"p{i}" for i in range(len(grades)))
    query = Query("tides", "q1", "which", "", names, tuple(grades))
    return Row(query, 0, tuple(range(1, len(grades) + 1)))


def one_query(tmp_path, grades, how=HOW, names=None):
    """The rows of one query whose whole list has these grades, and the counts of the sets."""
    names = names or list(MANY)[: len(grades)]
    folder = tides(
        tmp_path / "one",
        queries={"q1": "which tide"},
        qrels={"q1": dict(zip(names, grades, strict=True)) | {"p39": 3}},
        lists={"q1": names},
    )
    made = augment([read_folder(folder)], how)
    return made.rows, made.provenance["collections"]["one"]


def test_a_row_has_all_a_trainer_needs(collection):
    made = augment([collection], HOW)
    first = made.rows[0]
    assert first.query == Query(
        collection="tides",
        id="q1",
        text="how far does a flea jump",
        instruction="Only tides.",
        passages=tuple(FIRST["q1"][:25]),
        grades=tuple(JUDGED["q1"].get(name, 0) for name in FIRST["q1"][:25]),
    )
    assert first == Row(first.query, first.number, first.ranks)
    assert len(first.ranks) == 6
    assert list(first.ranks) == sorted(set(first.ranks))
    assert first.passages == tuple(FIRST["q1"][rank - 1] for rank in first.ranks)
    assert first.grades == tuple(JUDGED["q1"].get(name, 0) for name in first.passages)
    assert made.passages["tides", "p3"] == Passage("p3", MANY["p3"])


def test_initial_is_of_the_set_alone():
    assert listed([0, 1, 0, 0, 0]).initial == pytest.approx(0.6309297535714575)
    assert listed([3, 1, -1, 0, 0]).initial == 1
    assert listed([0] * 10 + [1]).initial == 0
    without_the_best = replace(listed([3, 0, 1, 0, 0]), ranks=(2, 3, 4, 5))
    assert without_the_best.initial == pytest.approx(0.6309297535714575)


def test_every_set_is_counted_as_kept_or_dropped(collection):
    made = augment([collection], HOW)
    about = made.provenance["collections"]["tides"]
    assert about["sets"] == 8 + 8 + 8 == len(made.rows) + sum(about["dropped"].values())
    assert about["rows"] == len(made.rows)
    assert about["dropped"]["irrelevant"] > 0
    assert about["best_already"] == sum(row.initial == 1 for row in made.rows)
    assert (about["queries"], about["chosen"], about["first_stage"]) == (3, 3, "candidates.jsonl")


def test_a_short_list_is_one_set(tmp_path):
    rows, about = one_query(tmp_path, [0, 1, 0, 2, 0])
    assert [(row.number, row.ranks, row.grades) for row in rows] == [
        (0, (1, 2, 3, 4, 5), (0, 1, 0, 2, 0))
    ]
    assert about["sets"] == 1


def test_a_list_of_one_more_gives_no_set_twice(tmp_path):
    rows, about = one_query(tmp_path, [1, 0, 0, 0, 0, 2], Augmentation(sets=40, size=5))
    assert sorted(row.ranks for row in rows) == [
        (1, 2, 3, 4, 5), (1, 2, 3, 4, 6), (1, 2, 3, 5, 6), (1, 2, 4, 5, 6), (1, 3, 4, 5, 6),
        (2, 3, 4, 5, 6),
    ]  # fmt: skip
    assert about["dropped"] == {"repeated": 34, "irrelevant": 0, "equal": 0, "low": 0}


@pytest.mark.parametrize(
    ("grades", "why"),
    [
        ([0, 0, 0, 0, 0], "1 sets have no relevant passage"),
        ([0, -1, 0, 0, -2], "1 sets have no relevant passage"),
        ([2, 2, 2, 2, 2], "1 sets have one grade throughout"),
        ([0] * 10 + [1], "1 sets have nDCG@10 below 0.1"),
        ([0] * 9 + [1] + [3] * 10, "1 sets have nDCG@10 below 0.1"),
        ([0, 1, 2, 3], "1 queries have too few candidates"),
    ],
)
def test_why_a_set_is_dropped(tmp_path, grades, why):
    with pytest.raises(InputError, match=f"^no set has a training signal: {why}$"):
        one_query(tmp_path, grades, Augmentation())


def test_the_limit_is_by_the_ideal_of_the_query(tmp_path):
    ideal = 3 + 2 * 0.6309297535714575 + 1 / 2  # p39 has grade 3, and is in no list
    at_rank_10 = 0.2890648263178879
    rows, _ = one_query(tmp_path, [0] * 9 + [2] + [1], Augmentation())
    assert 2 * at_rank_10 / ideal > 0.1
    assert len(rows) == 1
    with pytest.raises(InputError, match=r"1 sets have nDCG@10 below 0.1$"):
        one_query(tmp_path, [0] * 9 + [1] + [2], Augmentation())
    assert at_rank_10 / ideal < 0.1 < at_rank_10 / (2 + 0.6309297535714575)


def test_shuffled_sets_are_the_same_in_another_order(collection):
    plain = augment([collection], replace(HOW, filtered=False)).rows
    mixed = augment([collection], replace(HOW, filtered=False, shuffled=True)).rows
    known = {(row.query.id, row.number): row.ranks for row in plain}
    long = [row for row in mixed if row.query.id != "q3"]
    assert len(long) == 16
    for row in long:
        assert tuple(sorted(row.ranks)) == known[row.query.id, row.number]
        assert row.grades == tuple(row.query.grades[rank - 1] for rank in row.ranks)
    assert sum(row.ranks != known[row.query.id, row.number] for row in long) > 12


def test_a_short_list_is_shuffled_too(tmp_path):
    how = Augmentation(sets=5, shuffled=True, filtered=False)
    rows, _ = one_query(tmp_path, [1, 0, 0, 0, 2], how)
    assert len({row.ranks for row in rows}) == len(rows) > 3
    assert {tuple(sorted(row.ranks)) for row in rows} == {(1, 2, 3, 4, 5)}


def test_sets_do_not_depend_on_what_else_is_drawn(tmp_path, collection):
    def drawn(how=HOW, *others, first=()):
        made = augment([*first, collection, *others], how)
        mine = [row for row in made.rows if row.query.collection == "tides"]
        return {(row.query.id, row.number): row.ranks for row in mine}

    other = read_folder(tides(tmp_path / "other"))
    alone = drawn()
    assert drawn(HOW, other) == drawn(first=[other]) == alone
    more = drawn(replace(HOW, sets=16))
    assert len(more) > len(alone)
    assert alone.items() <= more.items()
    assert drawn(replace(HOW, limit=2)).items() <= alone.items()
    assert drawn(replace(HOW, seed=1)) != alone
    assert {r.ranks for r in augment([other], HOW).rows} != set(alone.values())


def test_a_small_sample_is_part_of_a_larger_one(tmp_path):
    folders = [tides(tmp_path / name) for name in ("a", "b", "c")]
    found = [read_folder(folder) for folder in folders]

    def sampled(limit, collections=found, seed=0):
        made = augment(collections, Augmentation(sets=30, limit=limit, seed=seed))
        assert sum(one["chosen"] for one in made.provenance["collections"].values()) == min(
            limit, 9
        )
        return {(row.query.collection, row.query.id) for row in made.rows}

    samples = [sampled(limit) for limit in range(1, 11)]
    assert [len(sample) for sample in samples] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert all(small <= large for small, large in pairwise(samples))
    assert sampled(4, found[::-1]) == samples[3]
    assert len({frozenset(sampled(1, seed=seed)) for seed in range(9)}) > 3


def test_queries_of_dev_are_left_out(tmp_path):
    asked = {f"q{i}": f"how high is tide {i}" for i in range(20)}
    judged = {name: {"p1": 1} for name in asked}
    lists = {name: list(MANY)[:20] for name in asked}
    train = tides(tmp_path / "a/tides", queries=asked, qrels=judged, lists=lists)
    other = "How HIGH\nis tide  7?!"
    dev = beir(tmp_path / "b/fleas", queries={"q1": other, "q2": "bees"}, qrels={"q1": {"jump": 1}})
    made = augment([read_folder(train)], Augmentation(), [read_folder(dev)])
    assert {row.query.id for row in made.rows} == asked.keys() - {"q7"}
    about = made.provenance["collections"]["tides"]
    assert (about["queries"], about["held_out"], about["chosen"]) == (20, 1, 19)
    assert made.provenance["dev"] == {"fleas": read_folder(dev).hash}
    assert dropped_lines(made.provenance["collections"]) == [
        "1 queries are in a dev collection too"
    ]


def test_too_much_of_dev_is_refused(tmp_path, collection):
    dev = tides(
        tmp_path / "held", queries={"x": "How far does a flea jump?"}, qrels={"x": {"p1": 1}}
    )
    with pytest.raises(
        InputError,
        match=r"^more than 5% of the queries are in dev collections too: "
        r"tides, 1 of 3 \(1 in held\); use different collections for training and dev$",
    ):
        augment([collection], HOW, [read_folder(dev)])
    with pytest.raises(InputError, match=r"tides, 3 of 3 \(3 in tides\)"):
        augment([collection], HOW, [collection])


def test_queries_without_words_are_equal_only_as_they_stand(tmp_path):
    train = tides(tmp_path / "train", queries={"q1": "???", "q2": "!!"})
    dev = tides(tmp_path / "dev", queries={"q1": "..."})
    made = augment([read_folder(train)], HOW, [read_folder(dev)])
    assert made.provenance["collections"]["train"]["held_out"] == 0


def test_candidates_that_are_not_in_the_corpus_are_counted(tmp_path):
    lists = FIRST | {"q3": ["gone", *FIRST["q3"], "lost"]}
    made = augment([read_folder(tides(tmp_path / "tides", lists=lists))], HOW)
    assert made.rows[-1].query.passages == tuple(FIRST["q3"])
    assert "2 candidates are not in the corpus" in dropped_lines(made.provenance["collections"])


def test_what_cannot_be_augmented(tmp_path, collection):
    with pytest.raises(InputError, match="tides has no first-stage lists: put candidates"):
        augment([replace(collection, lists=None)], HOW)
    with pytest.raises(InputError, match="two of the collections have the same name"):
        augment([collection, collection], HOW)
    half = replace(collection, queries=dict(collection.queries) | {"q1": "half \ud800"})
    with pytest.raises(InputError, match="query 'q1' of tides holds half a character"):
        augment([half], HOW)
    for wrong in ({"size": 1}, {"size": 20, "depth": 19}, {"sets": 0}, {"limit": 0}):
        with pytest.raises(InputError):
            Augmentation(**wrong)


@given(st.lists(st.integers(-1, 3), min_size=5, max_size=40), st.integers(5, 20), st.integers(0, 9))
def test_every_kept_set_has_a_signal(tmp_path_factory, grades, size, seed):
    how = Augmentation(sets=10, size=size, depth=30, seed=seed)
    try:
        rows, _ = one_query(tmp_path_factory.mktemp("any"), grades, how)
    except InputError:
        return
    assert len({row.ranks for row in rows}) == len(rows)
    for row in rows:
        assert len(row.ranks) == min(size, len(grades))
        assert set(row.ranks) <= set(range(1, 31))
        assert row.grades == tuple(grades[rank - 1] for rank in row.ranks)
        assert 0.1 <= row.initial <= 1
        assert len({max(grade, 0) for grade in row.grades}) > 1


def written(folder, collection, how=HOW):
    made = augment([collection], how)
    return made, write_rows(folder, made)


def test_rows_come_back_as_they_were_written(tmp_path):
    corpus = MANY | {"p1": "Two lines\u2028and \u6d77\n, at sea"}
    folder = tides(tmp_path / "tides", corpus=corpus, instruction="Ebb, flood\u2028and neap.")
    made, _ = written(tmp_path / "rows", read_folder(folder))
    rows, passages = read_rows(tmp_path / "rows")
    assert rows == made.rows
    assert passages == made.passages
    assert passages["tides", "p1"].text == corpus["p1"]


def test_the_files(tmp_path, collection):
    made, manifest = written(tmp_path / "rows", collection)
    files = {path.name: path.read_bytes() for path in (tmp_path / "rows").iterdir()}
    assert json.loads(files.pop("manifest.json")) == manifest
    assert manifest["files"] == {name: sha256(data).hexdigest() for name, data in files.items()}
    assert (manifest["kind"], manifest["version"]) == ("rows", 1)
    assert manifest["augmentation"] == {
        "sets": 8, "size": 6, "depth": 25, "seed": 0, "limit": None, "shuffled": False,
        "filtered": True,
    }  # fmt: skip
    assert manifest["collections"]["tides"]["hash"] == collection.hash
    assert json.loads(files["rows.jsonl"].split(b"\n")[0]) == {
        "collection": "tides",
        "query": "q1",
        "number": made.rows[0].number,
        "ranks": list(made.rows[0].ranks),
    }
    ids = [json.loads(line)["id"] for line in files["passages.jsonl"].splitlines()]
    assert len(ids) == len(set(ids)) == len(made.passages)


def test_the_same_rows_are_the_same_bytes(tmp_path, collection):
    for name in ("a", "b"):
        written(tmp_path / name, collection)
    written(tmp_path / "b", collection)
    a, b = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("a", "b"))
    assert a == b


@pytest.mark.parametrize("name", ["queries.jsonl", "passages.jsonl", "rows.jsonl"])
def test_a_damaged_file_is_named(tmp_path, collection, name):
    written(tmp_path / "rows", collection)
    path = tmp_path / "rows" / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=f"{name} is damaged, or of another build; make the rows"):
        read_rows(tmp_path / "rows")
    path.unlink()
    with pytest.raises(InputError, match=f"{name} cannot be read: No such file"):
        read_rows(tmp_path / "rows")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("", "manifest.json is damaged"),
        ("[]", "manifest.json is damaged"),
        ('{"kind": "rows"}', "manifest.json is damaged: KeyError"),
        ('{"kind": "rows", "version": 1, "files": 3}', "manifest.json is damaged"),
        (
            '{"kind": "rows", "version": 2, "files": {}}',
            "not a manifest of rows this version reads",
        ),
        (
            '{"kind": "eval", "version": 1, "files": {}}',
            "not a manifest of rows this version reads",
        ),
        ('{"kind": "rows", "version": 1, "files": {}}', "queries.jsonl is damaged"),
    ],
)
def test_a_damaged_manifest(tmp_path, collection, manifest, message):
    written(tmp_path, collection)
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(InputError, match=message):
        read_rows(tmp_path)


def test_an_incomplete_build_is_refused(tmp_path, collection, monkeypatch):
    folder = tmp_path / "rows"
    made, _ = written(folder, collection)
    before = (folder / "rows.jsonl").read_bytes()

    def full(path, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(SetupError, match=r"queries.jsonl cannot be written: No space left"):
            write_rows(folder, made)
    assert sorted(path.name for path in folder.iterdir()) == [
        "passages.jsonl", "queries.jsonl", "rows.jsonl",
    ]  # fmt: skip
    assert (folder / "rows.jsonl").read_bytes() == before
    with pytest.raises(InputError, match="has no rows, or an incomplete build: make them with"):
        read_rows(folder)
    with pytest.raises(SetupError, match="cannot be written: "):
        write_rows(folder / "rows.jsonl", made)


def test_the_command(run, tmp_path):
    out = tmp_path / "rows"
    code, said, err = run("train", "rows", HARBOUR, "--out", str(out), "--size", "8", "--sets", "9")
    assert code == 0, err
    shown = [line.split() for line in said.splitlines()]
    assert shown[0] == ["collection", "queries", "sets", "rows", "already", "best"]
    assert shown[1][:3] == ["harbour", "12", "108"]
    rows, passages = read_rows(out)
    assert len(rows) == int(shown[1][3])
    assert all(row.query.passages for row in rows)
    assert set(passages) == {("harbour", name) for row in rows for name in row.query.passages}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["collections"]["harbour"]["first_stage"] == "BM25, english"
    assert "note: no --dev was given, so nothing is held out" in err
    assert err.endswith(f"rows written to {out}\n")


def test_the_command_draws_from_a_run_and_of_some_queries(run, tmp_path):
    folder = tides(tmp_path / "tides")
    best = [*list(MANY)[30:], *list(MANY)[:4]]
    lines = [f"q1 Q0 {p} {rank} {50 - rank} x\n" for rank, p in enumerate(best, 1)]
    (tmp_path / "mine.run").write_text("".join(lines))
    (tmp_path / "ids").write_text("q1\n")
    more = ("--first-stage", str(tmp_path / "mine.run"), "--queries", str(tmp_path / "ids"))
    how = ("--size", "3", "--out", str(tmp_path / "rows"), "--json")
    code, out, err = run("train", "rows", str(folder), *more, *how)
    assert code == 0, err
    about = json.loads(out)["collections"]["tides"]
    assert (about["first_stage"], about["queries"]) == ("mine.run", 1)
    rows, _ = read_rows(tmp_path / "rows")
    assert rows[0].query.passages == tuple(best)
    assert {len(row.ranks) for row in rows} == {3}
    code, _, err = run("train", "rows", str(folder), *more, *more[:2], *how)
    assert code == 2
    assert "every collection needs a first-stage run of its own" in err


def test_the_command_for_programs(run, tmp_path):
    out, tide = str(tmp_path / "rows"), str(tides(tmp_path / "tides"))
    dev = beir(tmp_path / "fleas", queries={"q1": "what are bees"})
    args = ("--dev", str(dev), "--limit", "2", "--seed", "5", "--size", "6", "--json")
    code, said, err = run("train", "rows", tide, HARBOUR, "--out", out, *args)
    assert (code, err) == (0, f"rows written to {out}\n")
    manifest = json.loads(said)
    assert manifest == json.loads((tmp_path / "rows/manifest.json").read_text())
    assert manifest["augmentation"]["limit"] == 2
    assert sum(one["chosen"] for one in manifest["collections"].values()) == 2
    assert list(manifest["dev"]) == ["fleas"]


def test_two_collections_have_a_sum(run, tmp_path):
    tide = str(tides(tmp_path / "tides"))
    code, said, _ = run("train", "rows", tide, HARBOUR, "--out", str(tmp_path / "rows"))
    assert code == 0
    table = [line.split() for line in said.splitlines()]
    assert table[3][0] == "all"
    assert int(table[3][1]) == int(table[1][1]) + int(table[2][1]) == 15


def test_bad_usage(run, tmp_path):
    out = str(tmp_path / "rows")
    code, _, err = run("train", "rows", HARBOUR, "--out", out, "--dev", HARBOUR)
    assert code == 2
    assert err.splitlines()[-1].startswith("rearank-agent: more than 5% of the queries are in dev")
    assert run("train", "rows", HARBOUR, "--out", out, "--size", "1")[0] == 2
    assert run("train", "rows", str(tmp_path), "--out", out)[0] == 2
    (tmp_path / "file").write_text("")
    assert run("train", "rows", HARBOUR, "--out", str(tmp_path / "file/rows"))[0] == 1
    assert not Path(out).exists()


def test_a_corpus_of_titles(tmp_path):
    folder = tides(tmp_path / "tides")
    rows = [{"_id": name, "title": f"No. {name}", "text": text} for name, text in MANY.items()]
    (folder / "corpus.jsonl").write_text(lines(rows))
    written(tmp_path / "rows", read_folder(folder))
    assert read_rows(tmp_path / "rows")[1]["tides", "p2"] == Passage("p2", MANY["p2"], "No. p2")


def test_the_small_collection_has_too_short_lists(tmp_path):
    lists = {"q1": list(CORPUS)[:4]}
    folder = beir(tmp_path, lists=lists, queries={"q1": "how far does a flea jump"})
    with pytest.raises(InputError, match="1 queries have too few candidates"):
        augment([read_folder(folder)], HOW)
