import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from helpers.terminal import PROGRAM, in_terminal
from rearank_agent import Ranking

ROOT = Path(__file__).parents[2]
FLEAS = str(ROOT / "examples/fleas.jsonl")
QUERY = "how long can a flea live without a host"


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def test_a_pipe_gets_json_lines_best_first(run):
    code, out, err = run("rerank", QUERY, FLEAS, "--policy", "lexical", "--top", "2")
    assert (code, err) == (0, "")
    first, _ = lines(out)
    given = json.loads(Path(FLEAS).read_text().splitlines()[8])
    assert first == {
        "rank": 1,
        "id": "ticks",
        "score": pytest.approx(2.5315833 / 3.5315833),
        "was": 9,
        "evidence": "Some species can survive for more than a year without a host, sitting in leaf litter until an animal brushes past.",
        "has": ["long", "flea", "without", "host"],
        "lacks": ["live"],
        "text": given["text"],
        "title": "Ticks are not fleas",
    }


def test_jax_does_not_preallocate_the_gpu(tmp_path):
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax/__init__.py").touch()
    report = "print(os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'], file=sys.stderr)"
    lax = f"import os, sys\n{report}\ndef top_k(scores, k): return scores[:k], range(k)\n"
    (tmp_path / "jax/lax.py").write_text(lax)
    done = subprocess.run(
        [PROGRAM, "rerank", QUERY, FLEAS, "--policy", "lexical", "--top", "1"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    # a busy machine may take so long that the progress is shown too
    said = [line for line in done.stderr.splitlines() if not line.startswith("ranking ")]
    assert (done.returncode, said) == (0, ["false"])


def test_plain_lines_from_stdin(run):
    code, out, _ = run(
        "rerank", "fleas", "--policy", "lexical", stdin=b"Dogs bark.\r\n\n Fleas jump.\n"
    )
    assert code == 0
    assert [(line["id"], line["text"]) for line in lines(out)] == [
        ("2", "Fleas jump."),
        ("1", "Dogs bark."),
    ]


def test_json_is_the_complete_ranking(run):
    code, out, _ = run("rerank", QUERY, FLEAS, "--json", "--instruction", "Prefer numbers.")
    ranking = Ranking.from_json(out)
    assert code == 0
    assert ranking.instruction == "Prefer numbers."
    assert ranking.policy.startswith("embedded:")
    assert [fault.kind for fault in ranking.faults] == ["instruction"]
    assert len(ranking.passages) == 12


def test_ids_and_everything_else_pass_through(run):
    item = {"_id": "x", "text": "Fleas jump.", "title": "T", "score": 2, "place": "a.md:1",
            "url": "u", "meta": {"year": 1999}}  # fmt: skip
    _, out, _ = run("rerank", "fleas", "--policy", "lexical", stdin=json.dumps(item).encode())
    (line,) = lines(out)
    assert (line["id"], line["place"], line["title"]) == ("x", "a.md:1", "T")
    assert line["meta"] == {"year": 1999, "url": "u"}


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_read_as_json_lines_are(run, indent):
    rows = [json.loads(line) for line in Path(FLEAS).read_text().splitlines()]
    array = b"\xef\xbb\xbf\n" + json.dumps(rows, indent=indent).encode()
    args = ("rerank", QUERY, "--policy", "lexical")
    assert run(*args, stdin=array) == run(*args, FLEAS)


def test_an_array_of_strings_and_plain_lines_in_brackets(run):
    args = ("rerank", "fleas", "--policy", "lexical")
    _, out, _ = run(*args, stdin=b'["Dogs bark.",\n\n"Fleas jump."]')
    assert [(line["id"], line["text"]) for line in lines(out)] == [
        ("2", "Fleas jump."),
        ("1", "Dogs bark."),
    ]
    _, out, _ = run(*args, stdin=b"[1] Dogs bark.\n[] Fleas jump.\n")
    assert [line["text"] for line in lines(out)] == ["[] Fleas jump.", "[1] Dogs bark."]


def test_integer_ids_are_strings_and_a_note_says_so_once(run):
    rows = [{"id": i, "text": f"flea {i}"} for i in range(5)] + [{"id": None, "text": "bee"}]
    stdin = "".join(json.dumps(row) + "\n" for row in rows).encode()
    code, out, err = run("rerank", "bees", "--policy", "first-stage", stdin=stdin)
    assert (code, [line["id"] for line in lines(out)]) == (0, [*"01234", "6"])
    assert err == "note: ids that are integers are read as strings: 0, 1, 2 and 2 more\n"


def test_flags_win_over_the_environment(run, monkeypatch):
    monkeypatch.setenv("REARANK_POLICY", "first-stage")
    assert lines(run("rerank", "x", FLEAS)[1])[0]["id"] == "jump"
    assert lines(run("rerank", "ticks", FLEAS, "--policy", "lexical")[1])[0]["id"] == "ticks"
    monkeypatch.setenv("REARANK_DEADLINE", "soon")
    code, _, err = run("rerank", "x", FLEAS)
    assert code == 1
    assert err.startswith("rearank-agent: the environment variable REARANK_DEADLINE: ")


def test_a_deadline_too_short_is_partial(run):
    many = b"\n".join(b"a passage about fleas number %d" % i for i in range(3000))
    code, out, err = run("rerank", "fleas", "--deadline", "0.001", stdin=many)
    assert code == 3
    assert [line["id"] for line in lines(out)] == [str(i) for i in range(1, 3001)]
    assert "note: deadline: 0 turns were done after 0.001 seconds" in err


BAD_LINES = [
    (b'{"id": "a", "text": "x"}\nnot json', "stdin, line 2: not JSON: "),
    (b'{"id": "a", "text": "x"}\n[1]', "stdin, line 2: not a JSON object"),
    (b'{"id": "a"}', 'stdin, line 1: it has no "text"'),
    (b'{"id": 3.0, "text": "x"}', "stdin, line 1: a passage's id must be a string or an integer, not float"),
    (b'{"id": true, "text": "x"}', "stdin, line 1: a passage's id must be a string or an integer, not bool"),
    (b'{"id": "a", "text": 3}', "stdin, line 1: the text of passage 'a' must be a string, not int"),
    (b'{"id": "a", "text": null}', 'stdin, line 1: it has no "text" (nor content or page_content)'),
    (b'{"id": "a", "text": "x", "score": NaN}', "stdin, line 1: not JSON: NaN is no JSON"),
    (b'{"id": "a", "text": "x", "score": "9"}', "stdin, line 1: the score of passage 'a' must be a finite"),
    (b'{"id": "a", "text": "x", "meta": 3}', "stdin, line 1: meta must be an object"),
    (b'{"id": "a", "text": "\\ud800"}', "stdin, line 1: not JSON: it holds half a character"),
    (b'{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}', "two passages have the id 'a': 1 and 2, with different"),
    (b'{"id": "1", "text": "x"}\n{"text": "y"}\n{"_id": "1", "text": "x"}', "two passages have the id '1': 1 and 3, with the same"),
    (b'[{"text": "x"}, {"text": ', "stdin, a JSON array: not JSON: Expecting value: line 1"),
    (b'[\n\n  {"text": "x"},\n  {"text": x}\n]', "stdin, a JSON array: not JSON: Expecting value: line 4"),
    (b'[{"text": "x"}]\n[{"text": "y"}]', "stdin, a JSON array: not JSON: Extra data: line 2"),
    (b'[{"text": "x"}, {"title": "y"}]', 'stdin, passage 2: it has no "text"'),
    (b'["x", 3]', "stdin, passage 2: not a JSON object or string"),
    (b"[\n]", "stdin holds no passages"),
    (b"[" , "stdin, a JSON array: not JSON: "),
    (b'[{"text": ' + b"[" * 100_000, "stdin, a JSON array: not JSON: "),
    (b'{"text": ' + b"[" * 100_000, "stdin, line 1: not JSON: "),
    (b"one\ntw\xff\n", "stdin, line 2: not UTF-8: "),
    (b"", "stdin holds no passages"),
    (b" \n\t\n", "stdin holds no passages"),
]  # fmt: skip


@pytest.mark.parametrize(("stdin", "message"), BAD_LINES, ids=[m for _, m in BAD_LINES])
def test_bad_lines_are_one_line_and_exit_code_2(run, stdin, message):
    code, out, err = run("rerank", "q", stdin=stdin)
    assert (code, out) == (2, "")
    assert err.startswith(f"rearank-agent: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["rerank", "", FLEAS], "the query is empty"),
        (["rerank", " \n", FLEAS], "the query is empty"),
        (["rerank", "\udcff", FLEAS], "the argument '\\udcff' is not UTF-8"),
        (["rerank", "q", "no-such-file"], "no-such-file cannot be read: No such file"),
        (["rerank", "q", "/"], "/ cannot be read: Is a directory"),
        (["rerank", "q", FLEAS, "--policy", "best"], "no policy is called 'best'; there are: "),
        (["rerank", "q", FLEAS, "--schedule", "all"], "no schedule is called 'all'; there are: "),
        (["rerank", "q", FLEAS, "--deadline", "0"], "the deadline must be a number of seconds"),
        (["search", " "], "the query is empty"),
        (["search", "q", "no-such-folder"], "no-such-folder"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(run, args, message):
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert err.startswith("rearank-agent: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "args",
    [
        ["rerank"],
        ["rerank", "q", FLEAS, "--top", "0"],
        ["rerank", "q", FLEAS, "--blend", "nan"],
        ["plan", "--n", "x"],
        ["rank"],
    ],
)
def test_wrong_usage_is_exit_code_2(run, args):
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert "Usage: rearank-agent" in err


@pytest.mark.parametrize(
    "passages",
    [
        [b"only one"],
        [b"   x   ", b"."],
        ["🦟🦟🦟".encode(), "flea 🐶".encode()],
        [
            "跳蚤能活一百天。".encode(),
            b"Fleas live a hundred days.",
            "البراغيث".encode(),
            b"\xef\xbb\xbf",
        ],
        [b"flea " * 1_000_000, b"short"],
        [b'{"id": "a", "text": ""}', b'{"id": "b", "text": " \\n "}', b'{"id": "c", "text": "x"}'],
    ],
    ids=["one", "punctuation", "emoji", "mixed languages", "5 MB line", "empty texts"],
)
def test_unusual_passages_are_all_ranked(run, passages):
    code, out, err = run("rerank", "flea", stdin=b"\n".join(passages))
    assert code == 0
    assert "Traceback" not in err
    ranked = lines(out)
    assert sorted(line["was"] for line in ranked) == list(range(1, len(passages) + 1))


def test_ten_thousand_passages(run):
    many = b"\n".join(b"passage %d is about fleas" % i for i in range(9_999)) + b"\ndogs bark"
    code, out, _ = run("rerank", "fleas", "--policy", "lexical", stdin=many)
    assert code == 0
    ranked = lines(out)
    assert len(ranked) == 10_000
    assert ranked[-1]["text"] == "dogs bark"


def test_search_finds_the_place(run, tmp_path):
    (tmp_path / "fleas.md").write_text(
        "# Fleas\n\nA flea jumps far.\n\nIt lives for a hundred days.\n"
    )
    (tmp_path / "dogs.txt").write_text("Dogs bark.\n")
    code, out, err = run("search", "how long does a flea live", str(tmp_path))
    assert (code, err) == (0, "")
    first = lines(out)[0]
    assert re.search(r"fleas\.md:\d", first["place"])
    assert "hundred days" in first["text"]


def test_what_search_left_out_is_in_the_json_and_on_stderr(run, tmp_path):
    (tmp_path / "fleas.md").write_text("A flea jumps far.")
    (tmp_path / "odd.txt").write_bytes(b"flea \x81")
    code, out, err = run("search", "flea", str(tmp_path), "--json")
    assert code == 0
    (fault,) = Ranking.from_json(out).faults
    assert (fault.kind, fault.ids) == ("encoding", (f"{tmp_path}/odd.txt:1",))
    assert err.startswith(f"note: encoding: {tmp_path}/odd.txt:1 is not UTF-8")


def test_long_work_is_reported_on_stderr(run, monkeypatch):
    monkeypatch.setattr("rearank_agent.cli.console._PROGRESS_DELAY", 0)
    code, out, err = run("rerank", "flea", FLEAS)
    assert code == 0
    assert len(out.splitlines()) == 12
    assert err == "ranking 12 passages ...\n"


def test_search_without_a_hit_says_so(run, tmp_path):
    (tmp_path / "dogs.txt").write_text("Dogs bark.\n")
    code, out, err = run("search", "quarterly VAT return", str(tmp_path))
    assert (code, out) == (2, "")
    assert err == (
        "rearank-agent: no file holds a word of the query 'quarterly VAT return' or is near it\n"
    )


def test_plan(run):
    code, out, _ = run("plan", "--n", "100", "--json")
    assert code == 0
    rows = {row["schedule"]: (row["calls"], row["turns"]) for row in json.loads(out)}
    assert rows["sliding:20:10"] == (9, 9)
    assert rows["tournament:20"] == (11, 4)
    assert "tournament:20" in run("plan")[1]


def test_doctor(run):
    code, out, _ = run("doctor", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["policy"] == "embedded (the default)"
    assert report["fingerprint"].startswith("embedded:")
    assert re.fullmatch(r"\d+\.\d\d s", report["100 passages"])


def test_doctor_names_a_problem(run, monkeypatch):
    monkeypatch.setenv("REARANK_POLICY", "oracle")
    code, out, _ = run("doctor")
    assert code == 1
    assert "no policy is called 'oracle'" in " ".join(out.split())


def test_version_and_help(run):
    assert run("--version")[1] == "rearank-agent 0.1.0\n"
    for args in (
        ["--help"],
        ["rerank", "--help"],
        ["search", "-h"],
        ["plan", "-h"],
        ["doctor", "-h"],
    ):
        code, out, _ = run(*args)
        assert code == 0
        assert "Usage: rearank-agent" in out


@pytest.mark.parametrize(
    ("command", "default"),
    [
        ("search", "[the current folder]"),
        ("search", "[as the policy recommends]"),
        ("rerank", "[default: cache]"),
        ("plan", "[else --n of 60 words]"),
        ("serve", "[the last part of MODEL]"),
    ],
)
def test_help_shows_defaults(run, command, default):
    assert default in " ".join(run(command, "--help")[1].replace("│", " ").split())


def test_a_person_sees_a_table_of_80_columns():
    code, shown = in_terminal(["rerank", QUERY, FLEAS, "--top", "3"])
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert code == 0
    # On a busy machine there is a progress line too, drawn over itself after each \r.
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= 80
    assert "rank" in plain
    assert "▲ 4" in plain
    assert "“" in plain
    assert "12 passages by embedded" in " ".join(plain.split())
    assert "9 more with --top 12" in " ".join(plain.split())


def test_a_long_path_keeps_its_file_and_lines(tmp_path):
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 4)
    deep.mkdir(parents=True)
    (deep / "fleas.md").write_text("# Fleas\n\nA flea jumps far.\n")
    _, shown = in_terminal(["search", "how far does a flea jump", str(tmp_path)])
    assert "/fleas.md:1-3" in shown


def test_control_characters_do_not_reach_the_terminal(tmp_path):
    path = tmp_path / "evil.txt"
    path.write_text("flea \x1b[2J\x1b]0;owned\x07 jump\n")
    _, shown = in_terminal(["rerank", "flea", str(path), "--policy", "lexical"])
    assert "\x1b[2J" not in shown
    assert "\x1b]0;" not in shown


def test_without_a_file_in_a_terminal_it_does_not_wait():
    code, shown = in_terminal(["rerank", "flea"])
    assert code == 2
    assert "name a FILE, or pipe them in" in shown


def test_ctrl_c_leaves_no_traceback(tmp_path):
    path = tmp_path / "many.txt"
    path.write_text(
        "".join(f"a passage about fleas number {i} {'word ' * 60}\n" for i in range(9000))
    )
    code, shown = in_terminal(["rerank", "fleas", str(path)], "ranking 9000 passages")
    assert code == 130
    assert "Traceback" not in shown


def test_a_closed_pipe_leaves_no_traceback():
    command = f"'{PROGRAM}' rerank flea '{FLEAS}' --policy lexical | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize(
    ("typed", "offered"), [("--policy le", "lexical"), ("--template rea", "rearank-7b")]
)
def test_completion_offers_names(typed, offered):
    env = {**os.environ, "_REARANK_AGENT_COMPLETE": "complete_bash",
           "COMP_WORDS": f"rearank-agent rerank {typed}", "COMP_CWORD": "3"}  # fmt: skip
    done = subprocess.run([PROGRAM], env=env, capture_output=True, text=True)
    assert done.stdout.split() == [offered]


@pytest.mark.parametrize(
    "args", [["rerank", "q\udcff", FLEAS], ["rerank", "q", "x\udcff"], ["eval", "x\udcff"]]
)
def test_an_argument_that_is_not_utf_8_is_an_error(run, args):
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert err.startswith("rearank-agent: the argument ")
    assert err.endswith("\\udcff' is not UTF-8\n")
