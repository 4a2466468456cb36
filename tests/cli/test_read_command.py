"""`read`: what a search found, with the lines around it, on the command line."""

import pytest

from rearank_agent import Reranker
from rearank_agent.search.library import Library

LINES = [f"Dog number {number}." for number in range(1, 40)]
CODE = "func flea() {\n\treturn 20\n}"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "dogs.txt").write_text("\n".join(LINES) + "\n")
    (tmp_path / "docs" / "flea.go").write_text(CODE)
    (tmp_path / "secret.txt").write_text("A secret.")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lines_and_what_is_around_them(run):
    assert run("read", "docs/dogs.txt:3-4", "--around", "1") == (
        0,
        "2: Dog number 2.\n3: Dog number 3.\n4: Dog number 4.\n5: Dog number 5.\n",
        "docs/dogs.txt:2-5 of 39 lines\n",
    )
    _, out, _ = run("read", "docs/dogs.txt")
    assert out == "".join(f"{number}: {line}\n" for number, line in enumerate(LINES, 1))
    assert run("read", "flea.go", "docs")[1] == "1: func flea() {\n2: \treturn 20\n3: }\n"


def test_a_hit_of_a_run_says_what_has_changed(run, folder):
    found = Library([folder / "docs"]).search("flea")
    ranking = Reranker("lexical").rerank_sync("flea", found.passages)
    (folder / "run.json").write_text(ranking.to_json())
    named = str(folder / "docs")
    plain = (0, "1: func flea() {\n2: \treturn 20\n3: }\n", f"{named}/flea.go:1-3 of 3 lines\n")
    assert run("read", "1", named, "--run", "run.json") == plain
    (folder / "docs" / "flea.go").write_text("cats")
    assert run("read", "1", named, "--run", "run.json") == (
        0,
        "1: cats\n",
        f"{named}/flea.go:1 of 1 lines\nnote: the file has changed since the search: "
        "the passage of lines 1-3 is not in it any more; search again\n",
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["secret.txt", "docs"], "'secret.txt' is not below docs, or no file that is searched"),
        (["docs/../../x"], "is not below ., or no file that is searched"),
        (["docs/dogs.txt:90"], "docs/dogs.txt has no text at 90; it has lines 1 to 39"),
        (["1"], "1 is a hit's number: its run is needed too"),
        (["1", "--run", "nope"], "no run 'nope' is stored (any more)"),
        (["docs/dogs.txt", "nowhere"], "there is no file or folder nowhere"),
    ],
)
def test_what_cannot_be_read_is_one_line(run, args, message):
    code, out, err = run("read", *args)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
