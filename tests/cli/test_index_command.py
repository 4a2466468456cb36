"""`rearank-agent index`, and what `--no-cache` leaves behind."""

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REARANK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "files").mkdir()
    for number in range(60):
        (tmp_path / "files" / f"{number}.txt").write_text(f"Entry {number}: a kitten sleeps.")
    return tmp_path / "files"


def test_vectors_are_made_once(run, folder):
    assert run("index", str(folder)) == (
        0,
        "60 passages of 60 files: 60 vectors made, 0 were there\n",
        "",
    )
    (folder / "0.txt").write_text("A puppy barks.")
    code, out, _ = run("index", str(folder))
    assert (code, out) == (0, "60 passages of 60 files: 1 vectors made, 59 were there\n")
    code, out, err = run("search", "a young cat takes a nap", str(folder), "--top", "1")
    assert code == 0
    assert "kitten" in out
    assert "vectors" not in err


def test_a_search_says_how_many_have_vectors_and_what_to_do(run, folder):
    _, _, err = run("search", "kitten", str(folder), "--top", "1")
    assert err == (
        "note: vectors: 0% of the passages can be found by meaning, the others by words; "
        "rearank-agent index PATH... makes the vectors of all\n"
    )
    _, _, err = run("search", "kitten", str(folder), "--top", "1", "--policy", "lexical")
    assert err == "", "those that were ranked have one now, and the rest was few"


def test_without_a_cache_nothing_is_kept_and_words_are_searched(run, folder, tmp_path):
    code, _, err = run("search", "kitten", str(folder), "--top", "1", "--no-cache")
    assert (code, err) == (0, "")
    run("rerank", "kitten", str(folder / "0.txt"), "--no-cache")
    assert not (tmp_path / "cache" / "vectors.sqlite").exists()
    run("rerank", "kitten", str(folder / "0.txt"))
    assert (tmp_path / "cache" / "vectors.sqlite").exists()


def test_a_cache_that_cannot_be_written_is_an_error(run, folder, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "vectors.sqlite").write_text("no database" * 500)
    code, out, err = run("index", str(folder))
    assert (code, out) == (1, "")
    assert "vectors.sqlite cannot be used: file is not a database" in err


def test_nothing_to_index_is_said(run, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, _ = run("index", str(tmp_path / "empty"))
    assert (code, out) == (0, "0 passages of 0 files: 0 vectors made, 0 were there\n")
