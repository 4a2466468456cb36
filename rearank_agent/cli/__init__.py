"""The command line `rearank-agent`: results on stdout, everything else on stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 partial, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from rearank_agent.errors import InputError, RearankError

__all__ = ["app", "main"]

app = typer.Typer(
    name="rearank-agent",
    help="Put search results in order of relevance, with the reasons.",
    epilog="Start with: rearank-agent search 'your question' FOLDER",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from rearank_agent import __version__

        print(f"rearank-agent {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line; an error on purpose is one line and an exit code."""
    # bm25s looks for JAX, and JAX takes three quarters of a GPU's memory as soon as it looks round.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        app()
    except RearankError as error:
        print(f"rearank-agent: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)


# They add their commands to `app`, in the order --help shows them.
from rearank_agent.cli import rerank  # noqa: E402, F401, I001
from rearank_agent.cli import explain  # noqa: E402, F401
from rearank_agent.cli import plan  # noqa: E402, F401
from rearank_evals.cli import evaluate  # noqa: E402, F401
from rearank_training.cli import rows  # noqa: E402, F401
from rearank_training.cli import embedded  # noqa: E402, F401
from rearank_training.cli import lm  # noqa: E402, F401
from rearank_agent.cli import doctor  # noqa: E402, F401
from rearank_agent.cli import serve  # noqa: E402, F401
from rearank_mcp.cli import serve as mcp  # noqa: E402, F401
from rearank_mcp.cli import install  # noqa: E402, F401
from rearank_mcp.cli import proxy  # noqa: E402, F401
