"""`eval` measures rerankers of other makers and composed names like any other."""

import json
from pathlib import Path

from helpers.terminal import in_terminal, plain

HARBOUR = str(Path(__file__).parents[2] / "examples/harbour")


def test_four_policies_in_one_report(bert, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # so that the paths in the notes are short
    names = ["lexical", "embedded", f"cross-encoder:{bert}", "lexical+embedded"]
    out = Path("out")
    policies = [part for name in names for part in ("--policy", name)]
    code, shown = in_terminal(["eval", HARBOUR, "--limit", "3", *policies, "--out", str(out)])
    assert code == 0, shown
    report = json.loads((out / "report.json").read_text())
    assert list(report["harbour"]) == ["first-stage", *names]
    table = plain(shown)
    table = table[table.index("harbour: 3 queries") :]
    assert max(map(len, table.splitlines())) <= 80
    page = (out / "report.html").read_text()
    assert all(name in page for name in names)
    assert in_terminal(["eval", "verify", str(out)])[0] == 0
