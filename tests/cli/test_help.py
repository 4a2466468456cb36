"""The tables of commands: each line of help is the first line of the command's own help."""

from importlib import import_module

import pytest
import typer

import rearank_agent.cli
import rearank_evals.cli
import rearank_mcp.cli.serve
import rearank_training.cli

TABLES = {
    "rearank-agent": rearank_agent.cli.COMMANDS,
    "rearank-agent mcp": rearank_mcp.cli.serve.COMMANDS,
    "rearank-agent train": rearank_training.cli.COMMANDS,
}
COMMANDS = {
    f"{group} {name}": command for group, table in TABLES.items() for name, command in table.items()
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_help_in_the_table_is_the_first_line_of_the_commands_help(command):
    loaded = typer.main.get_command(import_module(command.module).app)
    assert command.help == loaded.help.strip().splitlines()[0]


def test_the_help_of_eval_names_its_other_commands(run):
    loaded = typer.main.get_command(rearank_evals.cli.app)
    shown = " ".join(run("eval", "--help")[1].split())
    assert [name for name in loaded.commands if name != "run" and f"eval {name}" not in shown] == []
    assert "Other commands:" in shown
