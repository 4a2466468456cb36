"""Every command in the documents is one that the command line takes."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from rearank_agent.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")]
BLOCK = re.compile(r"^```(?:sh)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(rearank-agent [a-z][^`]*)`")
COMMAND = re.compile(r"(?:.*\| |[A-Z_]+=\S+ |\.venv/bin/)*rearank-agent (.*)")


def commands():
    """The arguments of every command, in blocks and in running text."""
    for path in DOCUMENTS:
        text = path.read_text()
        lines = "".join(BLOCK.findall(text)).splitlines()
        for line in [*lines, *(" ".join(one.split()) for one in INLINE.findall(text))]:
            if found := COMMAND.fullmatch(line):
                yield pytest.param(found[1], id=f"{path.name}: {found[1][:60]}")


@pytest.mark.parametrize("line", list(commands()))
def test_every_subcommand_and_option_exists(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = shlex.split(re.sub(r" [|>].*", "", line), comments=True)
    command = typer.main.get_command(app)
    context = command.make_context("rearank-agent", arguments, resilient_parsing=True)
    while hasattr(command, "resolve_command") and (rest := context._protected_args + context.args):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context, resilient_parsing=True)
    assert not context.args or " -- " in line, "left over"


def blocks(name, word):
    """The blocks of a document that hold a word, in order."""
    return [text for text in BLOCK.findall((ROOT / name).read_text()) if word in text]


@pytest.mark.parametrize(
    "block",
    [
        *blocks("docs/agents.md", "mcp install"),
        *blocks("docs/proxy.md", "mcp install"),
        *(re.sub(r".*\bRUN\b.*\n", "", text) for text in blocks("docs/page.md", "--html")),
    ],
)
def test_what_needs_no_model_and_no_network_runs_as_printed(block, tmp_path):
    home, checkout = tmp_path / "home", tmp_path / "checkout"
    for folder in ("notes", "papers", ".cursor"):
        (home / folder).mkdir(parents=True)
    memory = {"memory": {"command": "npx", "args": ["-y", "a-server"]}}
    (home / ".cursor/mcp.json").write_text(json.dumps({"mcpServers": memory}))
    for name in ("examples", "docs"):
        shutil.copytree(ROOT / name, checkout / name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "HOME": str(home), "REARANK_CACHE": str(tmp_path / "cache")}
    env.pop("XDG_CONFIG_HOME", None)
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
