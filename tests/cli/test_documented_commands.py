"""Every command in the documents is one that the command line takes."""

import re
import shlex
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
