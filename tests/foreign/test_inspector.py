"""The MCP inspector, a client in another language by other people, speaks with the server."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from helpers.terminal import PROGRAM

INSPECTOR = Path(os.environ["REARANK_TEST_NODE"]) / "node_modules" / ".bin" / "mcp-inspector"
CALL = ["--method", "tools/call", "--tool-name"]


def inspect(target, *options):
    """What the inspector's command line prints, as JSON."""
    done = subprocess.run(
        [INSPECTOR, "--cli", *target, *options], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=["stdio", "http"])
def target(request, tmp_path):
    (tmp_path / "a.md").write_text("Cats sleep all day.\n")
    (tmp_path / "b.md").write_text("A flea jumps up to 20 cm.\n")
    if request.param == "stdio":
        yield [PROGRAM, "mcp", "--root", str(tmp_path)]
        return
    command = [PROGRAM, "mcp", "--root", str(tmp_path), "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        yield [re.search(r"http://\S+/mcp", process.stderr.readline())[0], "--transport", "http"]
        process.terminate()


def test_it_lists_the_tools(target):
    tools = inspect(target, "--method", "tools/list")["tools"]
    assert [tool["name"] for tool in tools] == ["rerank", "search", "read", "explain"]
    assert all(tool["annotations"]["readOnlyHint"] for tool in tools)


def test_it_searches(target):
    said = inspect(target, *CALL, "search", "--tool-arg", "query=how far do fleas jump")
    assert not said["isError"]
    assert said["structuredContent"]["ranking"][0]["snippet"] == "A flea jumps up to 20 cm."


def test_it_reranks_and_asks_why(target):
    passages = json.dumps(["Dogs bark.", "A flea jumps up to 20 cm."])
    arguments = ["--tool-arg", "query=fleas", "--tool-arg", f"passages={passages}"]
    said = inspect(target, *CALL, "rerank", *arguments)["structuredContent"]
    assert [line["number"] for line in said["ranking"]] == [2, 1]
    why = inspect(target, *CALL, "explain", "--tool-arg", f"run={said['run']}")
    assert "best first, 2 of 2:\n1. passage 2, was 2" in why["content"][0]["text"]


def test_an_error_is_an_answer(target):
    said = inspect(target, *CALL, "explain", "--tool-arg", "run=nope")
    assert said["isError"]
    assert said["content"][0]["text"] == "no run 'nope' is kept (any more); rank again"
