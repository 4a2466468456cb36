"""What comes from outside neither steers a terminal nor forges a line, in any command."""

import json
import logging
import re
from pathlib import Path

import pytest

from helpers.terminal import in_terminal
from rearank_agent import Passage, Reranker
from rearank_agent.cli.console import LineFormatter
from rearank_agent.text import one_line, visible

# ESC sequences, line ends of all kinds, bidi, C1 controls, invisible text, and markup of rich
NAME = "a\x1b[35;7mred\x1b]8;;http://x\x07\r\nnote: forged\u2028forged\u202eb\x9b2J\x85forged\ufeff"
FILE = f"{NAME}[bold]b[/bold] [link=x]:bomb:.txt"
COLLECTION = "coll\x1b[35;7m\u202e[bold]"
QUERY = f"flea {NAME} [red]"
OWN = re.compile(r"\x1b\[(?!35;7m)[0-9;?]*[mKAhl]")  # what rich itself sends


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A folder with hostile file names, a collection, a ranking and a page, all in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / FILE.replace("/", ":")).write_text(f"A flea jumps. {NAME}")
    (tmp_path / "docs" / f"{NAME.replace('/', ':')}.zip").write_text("")
    rows = [{"id": f"{NAME}{n}[bold]", "text": f"a flea {NAME}", "title": FILE} for n in (1, 2)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "broken\x1b[31m.jsonl").write_text('{"text": ')
    ranking = Reranker("lexical").rerank_sync(
        QUERY, [Passage(row["id"], row["text"], row["title"]) for row in rows]
    )
    (tmp_path / "run.json").write_text(ranking.to_json())
    collection = tmp_path / COLLECTION
    (collection / "qrels").mkdir(parents=True)
    (collection / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": str(n), "text": f"a flea {NAME}"}) + "\n" for n in range(3))
    )
    (collection / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": QUERY}))
    (collection / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t1\t1\n")


COMMANDS = {
    "rerank": ["rerank", QUERY, "in.jsonl", "--policy", "lexical"],
    "rerank --json": ["rerank", QUERY, "in.jsonl", "--policy", "lexical", "--json"],
    "search": ["search", QUERY, "docs", "--policy", "lexical", "--html", f"{NAME}.html"],
    "read": ["read", "in.jsonl"],
    "read a file of that name": ["read", f"docs/{FILE.replace('/', ':')}"],
    "no such place": ["read", NAME],
    "explain": ["explain", "run.json"],
    "explain a passage": ["explain", "run.json", "1"],
    "no such passage": ["explain", "run.json", NAME],
    "no such run": ["explain", NAME],
    "no such file": ["rerank", "q", NAME],
    "not JSON": ["rerank", "q", "broken\x1b[31m.jsonl"],
    "no such folder": ["search", "q", NAME],
    "no such policy": ["rerank", "q", "in.jsonl", "--policy", NAME],
    "no such template": ["rerank", "q", "in.jsonl", "--policy", "lexical", "--template", NAME],
    "no such schedule": ["rerank", "q", "in.jsonl", "--policy", "lexical", "--schedule", NAME],
    "a wrong option": ["rerank", "q", "in.jsonl", f"--{NAME}"],
    "a wrong number": ["rerank", "q", "in.jsonl", "--top", NAME],
    "a word too many": ["rerank", "q", "in.jsonl", NAME],
    "no such command": [NAME],
    "doctor": ["doctor", "--policy", NAME],
    "plan": ["plan", NAME],
    "serve": ["serve", NAME, "--print"],
    "mcp install": ["mcp", "install", "--client", "cursor", "--root", "docs", "--print", "--", "--policy", NAME],
    "a root that is not there": ["mcp", "install", "--client", "cursor", "--root", NAME],
    "no such host": ["mcp", "install", "--client", NAME],
    "mcp": ["mcp", "--http", NAME],
    "eval verify": ["eval", "verify", NAME],
    "eval compare": ["eval", "compare", NAME, NAME],
    "no such collection": ["eval", NAME],
    "train rows": ["train", "rows", NAME, "--out", NAME],
}  # fmt: skip


def check(shown):
    """Nothing that a terminal obeys, and no forged line."""
    for line in shown.replace("\r\n", "\n").split("\n"):
        assert one_line(line) == line, repr(line)
        assert not line.startswith(("forged", "note: forged")), line


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("args", COMMANDS.values(), ids=COMMANDS)
def test_a_pipe_gets_nothing_that_steers_or_forges(args, run):
    _, out, err = run(*args)
    check(out)
    check(err)


@pytest.mark.usefixtures("there")
def test_an_evaluation_in_a_pipe(run):
    """What JSON cannot show raw is escaped in it, and stays the same value."""
    code, out, err = run("eval", COLLECTION, "--policy", "lexical", "--out", "runs", "--json")
    check(out)
    check(err)
    assert (code, list(json.loads(out))) == (0, [COLLECTION])
    report = Path("runs/report.md").read_text()
    check(report)
    assert "\\[bold\\]" in report
    page = Path("runs/report.html").read_text()
    assert page == visible(page)
    code, out, err = run("eval", "verify", "runs")
    check(out + err)
    assert code == 0


@pytest.mark.usefixtures("there")
def test_json_keeps_every_character(run):
    _, out, _ = run("rerank", QUERY, "in.jsonl", "--policy", "lexical", "--json")
    assert json.loads(out)["query"] == QUERY
    _, out, _ = run("rerank", QUERY, "in.jsonl", "--policy", "lexical")
    assert {json.loads(line)["id"] for line in out.splitlines()} == {
        f"{NAME}1[bold]", f"{NAME}2[bold]",
    }  # fmt: skip


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(
    "args",
    [
        COMMANDS["rerank"], COMMANDS["search"], COMMANDS["explain"], COMMANDS["doctor"],
        COMMANDS["a wrong option"], ["eval", COLLECTION, "--policy", "lexical", "--out", "runs"],
        ["mcp", "proxy", "--rerank", NAME, "--", NAME],
    ],
    ids=["rerank", "search", "explain", "doctor", "a wrong option", "eval", "mcp proxy"],
)  # fmt: skip
def test_a_terminal_gets_no_sequence_but_our_own(args):
    _, shown = in_terminal(args)
    check(OWN.sub("", shown).replace("\r", ""))
    assert "\x1b]" not in shown


@pytest.mark.usefixtures("there")
def test_markup_in_a_name_is_text():
    _, shown = in_terminal([*COMMANDS["rerank"], "--top", "1"])
    assert "[bold]" in shown


def test_a_log_record_is_one_line():
    try:
        raise ValueError(NAME)
    except ValueError as error:
        text = LineFormatter().format(
            logging.LogRecord("n", logging.WARNING, "f", 1, NAME, (), (ValueError, error, None))
        )
    check(text)
    assert [line[:2] for line in text.splitlines()] == ["WA", *["  "] * (text.count("\n"))]
