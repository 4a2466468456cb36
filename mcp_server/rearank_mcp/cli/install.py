"""`mcp install`: add the server, or a proxy before another one, to a host's configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rearank_agent.cli.console import print_line, print_note
from rearank_agent.errors import InputError
from rearank_agent.extras import require
from rearank_mcp.cli.serve import SERVER_MODULES, Root, current_folder
from rearank_mcp.install.hosts import NAME, Host

if TYPE_CHECKING:
    from rearank_mcp.install.changes import Change
    from rearank_mcp.install.hosts import Entry

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": False})
def install(
    context: typer.Context,
    client: Annotated[
        Host,
        typer.Option(metavar="HOST", help=f"{', '.join(Host)}.", show_default=False),
    ],
    root: Root = None,
    name: Annotated[
        str,
        typer.Option(
            help="Name of the entry, for a second one: letters, digits and hyphens, 40 at most."
        ),
    ] = NAME,
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

    claude-code and vscode are configured in the current folder. Without
    --root it is the current folder that may be searched.
    """
    from rearank_mcp.install.checks import check_name
    from rearank_mcp.install.entries import entry_notes

    if proxy and (root or name != NAME):
        raise InputError("--root and --name are for our own server; a wrapped one has its own")
    if undo:
        _uninstall(client, name, proxy)
        return
    if proxy:
        new = _proxy_entry(client, proxy, context.args)
    else:
        check_name(client, name)
        new = _server_entry(client, root, context.args)
    if only_print:
        _print_by_hand(client, new, proxy or name)
    else:
        _add(client, new, proxy or name)
    for note in entry_notes():
        print_note(f"note: {note}")


def _server_entry(client: Host, root: Sequence[Path] | None, options: list[str]) -> Entry:
    """The entry of our own server; says what may be searched."""
    from rearank_agent.search.folder import resolve_roots
    from rearank_mcp.install.entries import server_entry

    require("the server", "mcp", *SERVER_MODULES)  # else the host would start it in vain
    roots = root or current_folder()
    if not roots:
        raise InputError(
            f"{Path.cwd()} is or holds your home folder; name what may be searched: "
            f"rearank-agent mcp install --client {client} --root ~/notes"
        )
    opened = resolve_roots(roots)
    _check_options("", options)
    shown = ", ".join(str(one.real) for one in opened)
    print_note(f"opened for search: {shown}")
    return server_entry(client, roots, options)


def _proxy_entry(client: Host, server: str, options: list[str]) -> Entry:
    from rearank_mcp.install.entries import proxy_entry

    new = proxy_entry(client, server, options)
    _check_options("proxy", new["args"][2:])
    return new


def _check_options(name: str, args: list[str]) -> None:
    """Fail now on options that would fail when the host starts the server."""
    from rearank_agent.settings import settings
    from rearank_mcp.cli import proxy, serve
    from rearank_mcp.install.checks import policy_warning

    command = typer.main.get_command(proxy.app if name else serve.app)
    words = [*args]  # parsing empties the list
    given: dict[str, Any] = command.make_context(f"rearank-agent mcp {name}".strip(), words).params
    policy = given.get("policy") or settings().policy
    if warning := policy_warning(policy):
        print_note(f"warning: {policy} cannot rank now: {warning}")


def _add(client: Host, entry: Entry, name: str) -> None:
    from rearank_mcp.install.changes import ForeignFormError
    from rearank_mcp.install.changes import install as add

    try:
        _report(add(client, entry, name))
    except ForeignFormError:
        _print_by_hand(client, entry, name)
        raise


def _print_by_hand(client: Host, entry: Entry, name: str) -> None:
    from rearank_mcp.install.changes import entry_text
    from rearank_mcp.install.hosts import location

    print_note(f"this goes into {location(client)}, beside what is there:")
    for line in entry_text(client, entry, name).split("\n"):
        print_line(line)


def _uninstall(client: Host, name: str, proxy: str) -> None:
    from rearank_mcp.install.changes import install as add
    from rearank_mcp.install.changes import uninstall
    from rearank_mcp.install.checks import check_name
    from rearank_mcp.install.entries import unproxied_entry

    if proxy:
        _report(add(client, unproxied_entry(client, proxy), proxy))
    else:
        check_name(client, name)
        _report(uninstall(client, name))


def _report(change: Change) -> None:
    print_line(change.message)
    if change.backup:
        print_line(f"backup of the old file: {change.backup}")
    if change.changed:
        print_line("restart the host to apply the change")
