"""The command line `rearank-agent`: results on stdout, everything else on stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 partial, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from rearank_agent.cli.console import LineFormatter, print_line, print_note
from rearank_agent.cli.lazy import Command, lazy_group
from rearank_agent.errors import InputError, RearankError
from rearank_agent.text import whole_characters

__all__ = ["COMMANDS", "app", "main"]


COMMANDS = {
    "rerank": Command("rearank_agent.cli.rerank", "Rerank passages from a file or a pipe."),
    "search": Command(
        "rearank_agent.cli.search",
        "Search the files under folders, and rerank what is found.",
    ),
    "index": Command(
        "rearank_agent.cli.index",
        "Make the vectors of all passages, so that search finds by meaning.",
    ),
    "read": Command(
        "rearank_agent.cli.read", "Read what a search found, with the lines around it."
    ),
    "explain": Command(
        "rearank_agent.cli.explain",
        "Explain why an earlier ranking has the order it has.",
    ),
    "plan": Command(
        "rearank_agent.cli.plan", "Show what each schedule would cost, before anything runs."
    ),
    "models": Command(
        "rearank_agent.cli.models",
        "List models that judge better than the shipped one; download one for offline use.",
    ),
    "eval": Command(
        "rearank_evals.cli", "Measure policies on collections, with statistics and a report."
    ),
    "train": Command("rearank_training.cli", "Train policies on judged queries."),
    "doctor": Command(
        "rearank_agent.cli.doctor",
        "Show what is installed, which policy would run and why, and one timing.",
    ),
    "serve": Command(
        "rearank_agent.cli.serve", "Serve a model with vLLM, with the settings this policy needs."
    ),
    "mcp": Command(
        "rearank_mcp.cli", "Serve MCP: tools for agents in desktop apps, IDEs and programs."
    ),
}
"""Every command by name, in the order of `--help`."""


app = typer.Typer(
    name="rearank-agent",
    help="Put search results in order of relevance, with the reasons.",
    epilog="Start with: rearank-agent search 'your question' FOLDER",
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from rearank_agent import __version__

        print_line(f"rearank-agent {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


def _check_argument(argument: str) -> None:
    """Raise InputError for an argument that is not UTF-8: no output or report could name it."""
    if whole_characters(argument) != argument:
        raise InputError(f"the argument {argument!r:.60} is not UTF-8")


def main() -> None:
    """Run the command line; a `RearankError` is one line on stderr and an exit code."""
    # bm25s imports JAX if it finds it, and JAX preallocates three quarters of a GPU's memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if logging.lastResort:  # warnings of libraries, where nobody asked for other logs
        logging.lastResort.setFormatter(LineFormatter())
    try:
        for argument in sys.argv[1:]:
            _check_argument(argument)
        app()
    except RearankError as error:
        print_note(f"rearank-agent: {error}")
        sys.exit(2 if isinstance(error, InputError) else 1)
