"""`mcp`: the reranker as a server for agents."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from signal import SIGINT, signal
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from rearank_agent.cli.console import print_note
from rearank_agent.cli.lazy import Command, lazy_group
from rearank_agent.cli.options import with_options
from rearank_agent.cli.policy_options import RerankerOptions
from rearank_agent.errors import InputError
from rearank_agent.extras import require
from rearank_agent.present.truncate import MIN_TOKENS

if TYPE_CHECKING:
    from rearank_mcp.service import Service

SERVER_MODULES = ("mcp", "starlette", "uvicorn")

COMMANDS = {
    "install": Command(
        "rearank_mcp.cli.install",
        "Add the server, or a proxy before another one, to a host's configuration.",
    ),
    "proxy": Command(
        "rearank_mcp.cli.proxy",
        "Run another MCP server, and rerank the results of its tools.",
    ),
}

app = typer.Typer(
    cls=lazy_group(COMMANDS),
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode="rich",
)

_HTTP = "Over HTTP"


def _expand_home(paths: list[Path] | None) -> list[Path] | None:
    """The paths with ~ as the home folder: hosts start programs without a shell."""
    try:
        return paths and [path.expanduser() for path in paths]
    except RuntimeError as error:
        raise InputError(f"--root: {error}") from None


Root = Annotated[
    list[Path] | None,
    typer.Option(
        callback=_expand_home,
        help="A folder or file that may be searched; repeatable.  \\[the current folder]",
        show_default=False,
    ),
]


@app.callback()
@with_options
def mcp(
    context: typer.Context,
    *,
    root: Root = None,
    max_tokens: Annotated[
        int, typer.Option(min=MIN_TOKENS, help="Maximum tokens of an answer.")
    ] = 4_000,
    http: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Serve HTTP there (MCP at /mcp, REST at /v1/rerank) instead of stdin and stdout. "
            "Hosts other than 127.0.0.1 require REARANK_TOKEN.",
            show_default=False,
            rich_help_panel=_HTTP,
        ),
    ] = "",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A host name that clients may use; repeatable.  \\[this machine's]",
            show_default=False,
            rich_help_panel=_HTTP,
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="A web origin that may call it, as https://example.org; repeatable.",
            show_default=False,
            rich_help_panel=_HTTP,
        ),
    ] = None,
    drain: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Seconds that requests in progress have when the server is to end.  "
            "\\[the deadline]",
            show_default=False,
            rich_help_panel=_HTTP,
        ),
    ] = None,
    options: RerankerOptions,
) -> None:
    """Serve MCP: tools for agents in desktop apps, IDEs and programs.

    Agents get `search`, `read`, `rerank` and `explain`. A host starts the server
    itself, once it is in the host's configuration:

        rearank-agent mcp install --client claude-desktop --root ~/notes

        rearank-agent mcp --http 127.0.0.1:8808
    """
    if context.invoked_subcommand:
        return
    require("the server", "mcp", *SERVER_MODULES)
    if http:
        _over_http(options, root, max_tokens, http, allow_host or (), allow_origin or (), drain)
    else:
        _over_stdio(options, root, max_tokens)


def _over_stdio(options: RerankerOptions, root: list[Path] | None, max_tokens: int) -> None:
    from rearank_mcp.pipes import exit_now

    pipes = stdio_to_host()
    from rearank_mcp.logs import to_stderr
    from rearank_mcp.server import make_server
    from rearank_mcp.stdio import serve_stdio

    to_stderr()
    serve_stdio(make_server(make_service(options, root or current_folder(), max_tokens)), pipes)
    exit_now()


def stdio_to_host() -> tuple[BinaryIO, BinaryIO]:
    """stdin and stdout for the protocol alone; in a terminal, a note on stderr says so."""
    from rearank_mcp.pipes import exit_now, take_stdio

    in_terminal = sys.stdin.isatty()
    pipes = take_stdio()
    if in_terminal:
        signal(SIGINT, lambda *_: exit_now())  # until the event loop has its own handler
        print_note("speaking MCP on stdin and stdout, as a host would start it;")
        print_note("Ctrl-C ends it. For a host: rearank-agent mcp install --help")
    return pipes


def _over_http(
    options: RerankerOptions,
    root: list[Path] | None,
    max_tokens: int,
    http: str,
    hosts: list[str] | tuple[()],
    origins: list[str] | tuple[()],
    drain: float | None,
) -> None:
    from ipaddress import ip_address
    from socket import gethostname

    from rearank_agent.settings import settings
    from rearank_mcp.http import Address, HTTPApp, listen, serve
    from rearank_mcp.logs import to_stderr
    from rearank_mcp.pipes import exit_now

    to_stderr()
    secret = settings().token
    token = secret.get_secret_value() if secret else None
    requested = Address.of(http)
    listening = listen(requested, token)
    address = Address(requested.host, listening.getsockname()[1])
    service = make_service(options, root or current_folder(), max_tokens)
    access = ", token required" if token else ""
    if not ip_address(listening.getsockname()[0]).is_loopback:
        access += f", host name {gethostname()} or one of --allow-host"
    print_note(
        f"serving MCP on http://{address.url_host}:{address.port}/mcp "
        f"and REST on /v1/rerank{access}; Ctrl-C stops it"
    )
    app = HTTPApp(service, address, token, hosts, origins)
    serve(app, listening, service.deadline if drain is None else drain)
    exit_now()


def make_service(options: RerankerOptions, roots: Sequence[Path], max_tokens: int) -> Service:
    """The service behind the tools, from these options; raises as `RerankerOptions.reranker`."""
    from rearank_agent.search.folder import resolve_roots
    from rearank_agent.store import run_store
    from rearank_mcp.service import Service

    if roots:
        resolve_roots(roots)  # a missing one is an error now, not at the first search
    return Service(options.reranker(), roots, run_store(), max_tokens, by_meaning=options.cache)


def current_folder() -> Sequence[Path]:
    """The current folder; none where it is home or holds it, as / does: it would open too much."""
    here = Path.cwd()
    return [] if Path.home().resolve().is_relative_to(here.resolve()) else [here]
