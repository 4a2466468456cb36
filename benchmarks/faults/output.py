"""What reaches a terminal, a pipe, an agent or a file."""

import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from html import escape
from pathlib import Path
from urllib.parse import quote, quote_plus
from urllib.request import Request, urlopen

from benchmarks.faults.hostile_server import HostileServer, whole
from benchmarks.faults.row import Row
from benchmarks.load import ROOT
from benchmarks.terminal import in_terminal

__all__ = ["ROWS"]

PROGRAM = [sys.executable, "-m", "rearank_agent"]
HOSTILE = "x\x1b[35;7m\x1b]8;;http://x\x07\r\nnote: forged\u2028forged\u202eb\x9b2J\x85forged[bold]"
_OWN = re.compile(r"\x1b\[(?!35;7m)[0-9;?]*[mKAhl]")  # what the program itself sends


def _in_terminal(command: list[str], env: dict[str, str], folder: Path) -> str:
    _, shown = in_terminal(command, env, folder)
    return _OWN.sub("", shown).replace("\r", "")


def _in_pipe(command: list[str], env: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, check=False)
    return done.stdout.decode() + done.stderr.decode()


def forged(folder: Path) -> str:
    (folder / "docs").mkdir()
    (folder / "docs" / f"{HOSTILE.replace('/', ':')}.md").write_text(f"# {HOSTILE}\na flea")
    (folder / "docs" / f"{HOSTILE.replace('/', ':')}.zip").touch()
    rows = [{"id": f"{HOSTILE}{n}", "text": f"a flea {HOSTILE}", "title": HOSTILE} for n in (1, 2)]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    env = {**os.environ, "REARANK_CACHE": str(folder / "cache"), "REARANK_POLICY": "lexical"}
    commands = (
        ["search", f"flea {HOSTILE}", "docs"],
        ["rerank", f"flea {HOSTILE}", "in.jsonl"],
        ["rerank", "flea", "in.jsonl", f"--{HOSTILE}"],
    )
    count = 0
    for arguments in commands:
        for show in (_in_terminal, _in_pipe):
            shown = show([*PROGRAM, *arguments], env, folder)
            lines = shown.split("\n")
            count += len(lines)
            for line in lines:
                hidden = [c for c in line if not c.isprintable()]
                assert not hidden, (arguments, line)
                assert not line.startswith(("forged", "note: forged")), (arguments, line)
    return f"{len(commands)} commands on a terminal and in a pipe, {count} lines: none forged"


def _forms(key: str) -> set[str]:
    """The key in the forms in which servers, programs and this probe itself write it."""
    coded = [b64encode(text.encode()).decode() for text in (key, f":{key}", f"Bearer {key}")]
    written = {key, quote(key, safe=""), quote_plus(key), escape(key), repr(key)[1:-1], *coded}
    return written | {json.dumps(one)[1:-1] for one in written}


def _ask_mcp(env: dict[str, str], folder: Path) -> str:
    """What `mcp` answers to rerank and explain, and its log."""
    client = {"name": "probe", "version": "1"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    rank = {"name": "rerank", "arguments": {"query": "flea", "passages": ["a flea", "a dog"]}}
    with subprocess.Popen(
        [*PROGRAM, "mcp", "--policy", "vllm:m"], env=env, cwd=folder, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as running:  # fmt: skip
        assert running.stdin
        assert running.stdout
        said = ""

        def ask(number: int, method: str, params: object) -> str:
            message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            print(json.dumps(message), file=running.stdin, flush=True)
            return running.stdout.readline()  # type: ignore[union-attr]

        said += ask(1, "initialize", hello) + ask(2, "tools/call", rank)
        run = json.loads(said.splitlines()[-1])["result"]["structuredContent"]["run"]
        said += ask(3, "tools/call", {"name": "explain", "arguments": {"run": run}})
        assert "in the reasoning below" in said, said
        rest, log = running.communicate(timeout=30)
    return said + rest + log


def _ask_http(env: dict[str, str], folder: Path) -> str:
    """What `/v1/rerank` answers with rationales, and its log."""
    body = {"query": "flea", "documents": ["a flea", "a dog"], "rationale": True}
    with subprocess.Popen(
        [*PROGRAM, "mcp", "--policy", "vllm:m", "--http", "127.0.0.1:0", "--drain", "0"],
        env=env, cwd=folder, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stderr
        first = running.stderr.readline()
        address = re.findall(r"http://[^/]+", first)[0]
        headers = {"Authorization": f"Bearer {env['REARANK_TOKEN']}"}
        asked = Request(f"{address}/v1/rerank", json.dumps(body).encode(), headers)
        said = urlopen(asked, timeout=30).read().decode()
        assert "rationale" in said, said
        running.terminate()
        return first + said + running.communicate(timeout=30)[1]


def repeated(folder: Path) -> str:
    keys = {
        "VLLM_API_KEY": 'sk-"a\\b/c+d=&e',
        "REARANK_TOKEN": "tok/en+9-x",
        "MY_SECRET": "schlüssel é",
    }
    forms = sorted(set().union(*map(_forms, keys.values())))
    heard = " ".join(forms)
    reply = f"<think>\n[1] is bad, {heard}.\n</think>\n<answer>[2] > [1]</answer>"
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": reply},
    }
    good = whole(json.dumps({"model": f"m {heard}", "choices": [choice]}).encode())
    bad = whole(json.dumps({"error": {"message": heard, "code": 401}}).encode())
    (folder / "in.jsonl").write_text('{"text": "a flea"}\n{"text": "a dog"}\n')
    env = {**os.environ, "REARANK_CACHE": str(folder / "cache"), **keys}
    rerank = [
        *PROGRAM,
        "rerank",
        "flea",
        "in.jsonl",
        "--policy",
        "vllm:m",
        "--json",
        "--html",
        "page.html",
    ]
    harbour = [*PROGRAM, "eval", str(ROOT / "examples" / "harbour"), "--policy", "vllm:m"]
    said = []
    for chat in (good, bad):
        with HostileServer(
            chat, whole(json.dumps({"data": [{"id": "m", "root": heard}]}).encode())
        ) as one:
            there = {**env, "VLLM_BASE_URL": one.url}
            said.append(_in_pipe(rerank, there, folder))
            if chat is good:
                said += [_ask_mcp(there, folder), _ask_http(there, folder)]
                options = ["--limit", "1", "--depth", "2", "--out", "runs", "--json"]
                said.append(_in_pipe([*harbour, *options], there, folder))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"replies.sqlite", "runs.sqlite", "records.jsonl", "report.html", "page.html"} <= {
        path.name for path in files
    }, files
    said += [path.read_text(errors="replace") for path in files]
    assert sum("***" in text for text in said) > 6, [text[:200] for text in said]
    for text in said:
        left = [form for form in forms if form in text]
        assert not left, (left, text[:500])
    return f"none of {len(forms)} forms in {len(said)} outputs, stores and reports"


ROWS = (
    Row("file names, ids and queries that steer a terminal or forge lines",
        "ESC sequences, CR, LF, U+2028, C1 controls, writing direction and markup in all of them", "nothing",
        "U+FFFD stands for such a character in every line of text, an escape in JSON", forged),
    Row("a model server that repeats keys", "the keys of the environment raw, percent-encoded, escaped for JSON, HTML "
        "and Python, and in base64, in replies, errors and model lists", "nothing",
        "every form is struck out before it is shown or stored", repeated),
)  # fmt: skip
