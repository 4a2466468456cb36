"""`mcp`: the reranker as a server for agents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcp_server.install import Client
from rearank_agent.brief import LEAST_TOKENS
from rearank_agent.cli import app
from rearank_agent.cli.judging import Judging
from rearank_agent.cli.options import with_options

if TYPE_CHECKING:
    from mcp_server.desk import Desk
    from mcp_server.install import Change

group = typer.Typer(invoke_without_command=True)
app.add_typer(group, name="mcp")

_HTTP = "Over HTTP"

Root = Annotated[
    list[Path] | None,
    typer.Option(
        help="A folder or file that may be searched; repeatable.  \\[the current folder]",
        show_default=False,
    ),
]


@group.callback()
@with_options
def mcp(
    context: typer.Context,
    *,
    root: Root = None,
    max_tokens: Annotated[
        int, typer.Option(min=LEAST_TOKENS, help="The most tokens an answer may have.")
    ] = 4_000,
    http: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Serve HTTP there, at /mcp, instead of stdin and stdout. Other hosts than "
            "127.0.0.1 want REARANK_TOKEN.",
            show_default=False,
            rich_help_panel=_HTTP,
        ),
    ] = "",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A name by which clients may call it; repeatable.  \\[this machine's]",
            show_default=False,
            rich_help_panel=_HTTP,
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="A web page that may call it, as https://example.org; repeatable.",
            show_default=False,
            rich_help_panel=_HTTP,
        ),
    ] = None,
    judging: Judging,
) -> None:
    """Serve MCP: tools for agents in desktop apps, IDEs and programs.

    Agents get `search`, `rerank` and `explain`. A host starts it by itself,
    once its configuration names it:

        rearank-agent mcp install --client claude-desktop --root ~/notes

        rearank-agent mcp --http 127.0.0.1:8808
    """
    if context.invoked_subcommand:
        return
    if http:
        _over_http(judging, root, max_tokens, http, allow_host or (), allow_origin or ())
    else:
        _over_stdio(judging, root, max_tokens)


@group.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": False})
def install(
    context: typer.Context,
    client: Annotated[
        Client,
        typer.Option(
            metavar="HOST",
            help="claude-desktop, claude-code, cursor or vscode.",
            show_default=False,
        ),
    ],
    root: Root = None,
    only_print: Annotated[
        bool, typer.Option("--print", help="Show what to add by hand, and change nothing.")
    ] = False,
    undo: Annotated[bool, typer.Option("--uninstall", help="Take it out again.")] = False,
) -> None:
    """Add the server to a host's configuration.

    All else in the file stays; a copy of it is kept beside it. What follows
    -- is for the server, as in `rearank-agent mcp --help`:

        rearank-agent mcp install --client cursor --root ~/notes

        rearank-agent mcp install --client vscode -- --policy vllm:qwen

    claude-code and vscode are told in the current folder, for this project.
    """
    from mcp_server.install import entry, notes, shown, uninstall
    from mcp_server.install import install as add
    from rearank_agent.folder import as_roots

    if undo:
        _told(uninstall(client))
        return
    typer.main.get_command(group).make_context("rearank-agent mcp", list(context.args))
    roots = root or [Path()]
    as_roots(roots)
    new = entry(client, roots, context.args)
    if only_print:
        print(shown(client, new))
    else:
        _told(add(client, new))
    for note in notes():
        print(f"note: {note}", file=sys.stderr)


def _told(change: Change) -> None:
    print(change.said)
    if change.backup:
        print(f"what stood there before: {change.backup}")
    if change.changed:
        print("start the host anew to let it see the change")


def _over_stdio(judging: Judging, root: list[Path] | None, max_tokens: int) -> None:
    from mcp_server.stdio import end, speak, take_wires

    typed = sys.stdin.isatty()
    wires = take_wires()
    if typed:
        print("speaking MCP on stdin and stdout, as a host would start it;", file=sys.stderr)
        print("Ctrl-C ends it. For a host: rearank-agent mcp install --help", file=sys.stderr)
    from mcp_server.logs import to_stderr
    from mcp_server.server import server

    to_stderr()
    speak(server(_desk(judging, root, max_tokens)), wires)
    end()


def _over_http(
    judging: Judging,
    root: list[Path] | None,
    max_tokens: int,
    http: str,
    hosts: list[str] | tuple[()],
    origins: list[str] | tuple[()],
) -> None:
    from mcp_server.http import Address, listen, serve
    from mcp_server.http import app as app_of
    from mcp_server.logs import to_stderr
    from mcp_server.server import server
    from mcp_server.stdio import end
    from rearank_agent.settings import settings

    to_stderr()
    secret = settings().token
    token = secret.get_secret_value() if secret else None
    wanted = Address.of(http)
    listening = listen(wanted, token)
    address = Address(wanted.host, listening.getsockname()[1])
    mcp = server(_desk(judging, root, max_tokens))
    known = ", token wanted" if token else ""
    print(
        f"serving MCP on http://{address.named}:{address.port}/mcp{known}; Ctrl-C stops it",
        file=sys.stderr,
        flush=True,
    )
    serve(app_of(mcp, address, token, hosts, origins), listening)
    end()


def _desk(judging: Judging, root: list[Path] | None, max_tokens: int) -> Desk:
    from mcp_server.desk import Desk, runs
    from rearank_agent.folder import as_roots

    roots = root or _here()
    if roots:
        as_roots(roots)  # one that is not there is an error now, not at the first search
    return Desk(judging.reranker(), roots, runs(), max_tokens)


def _here() -> list[Path]:
    """The current folder; but some hosts start programs in / or at home, which nobody meant."""
    here = Path.cwd()
    return [] if here in (Path(here.anchor), Path.home()) else [here]
