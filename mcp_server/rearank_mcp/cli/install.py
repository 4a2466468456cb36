"""`mcp install`: add the server, or a proxy before another one, to a host's configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rearank_agent.errors import InputError
from rearank_agent.extras import require
from rearank_mcp.cli.serve import SERVER_MODULES, Root
from rearank_mcp.install.hosts import Host

if TYPE_CHECKING:
    from rearank_mcp.install.hosts import Change

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": False})
def install(
    context: typer.Context,
    client: Annotated[
        Host,
        typer.Option(
            metavar="HOST",
            help="claude-desktop, claude-code, cursor or vscode.",
            show_default=False,
        ),
    ],
    root: Root = None,
    only_print: Annotated[
        bool, typer.Option("--print", help="Show what to add by hand; change nothing.")
    ] = False,
    undo: Annotated[bool, typer.Option("--uninstall", help="Remove it again.")] = False,
    proxy: Annotated[
        str,
        typer.Option(
            metavar="SERVER",
            help="Wrap this server of the host instead, as `mcp proxy` does.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Add the server, or a proxy before another one, to a host's configuration.

    All else in the file stays; a backup is written beside it. Options after
    -- are for the server (`rearank-agent mcp --help`) or for the proxy:

        rearank-agent mcp install --client cursor --root ~/notes

        rearank-agent mcp install --client vscode -- --policy vllm:qwen

        rearank-agent mcp install --client cursor --proxy notes -- --rerank search

    claude-code and vscode are configured in the current folder.
    """
    from rearank_agent.search.folder import resolve_roots
    from rearank_mcp.install.entries import entry_notes, proxy_entry, server_entry, unproxied_entry
    from rearank_mcp.install.hosts import NAME, entry_json, uninstall
    from rearank_mcp.install.hosts import install as add

    if proxy and root:
        raise InputError("--root is for our own server; a wrapped one has its own options")
    if undo:
        _report(add(client, unproxied_entry(client, proxy), proxy) if proxy else uninstall(client))
        return
    if proxy:
        new = proxy_entry(client, proxy, context.args)
        _check_options("proxy", new["args"][2:])
    else:
        require("the server", "mcp", *SERVER_MODULES)  # else the host would start it in vain
        _check_options("", list(context.args))
        roots = root or [Path()]
        resolve_roots(roots)
        new = server_entry(client, roots, context.args)
    if only_print:
        print(entry_json(client, new, proxy or NAME))
    else:
        _report(add(client, new, proxy or NAME))
    for note in entry_notes():
        print(f"note: {note}", file=sys.stderr)


def _check_options(name: str, args: list[str]) -> None:
    """Fail now on options that would fail when the host starts the server."""
    from rearank_mcp.cli import proxy, serve

    command = typer.main.get_command(proxy.app if name else serve.app)
    command.make_context(f"rearank-agent mcp {name}".strip(), args)


def _report(change: Change) -> None:
    print(change.message)
    if change.backup:
        print(f"backup of the old file: {change.backup}")
    if change.changed:
        print("restart the host to apply the change")
