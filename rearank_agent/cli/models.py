"""`models`: judges of other makers that are one name away; `models pull` downloads one."""

from __future__ import annotations

from dataclasses import asdict
from textwrap import wrap
from typing import Annotated

import typer

from rearank_agent.cli.console import print_json, print_line

app = typer.Typer(add_completion=False, rich_markup_mode="rich", invoke_without_command=True)


@app.callback()
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List models that judge better than the shipped one; download one for offline use.

    Any other cross-encoder or encoder of the Hugging Face hub works too, as cross-encoder:NAME
    or encoder:NAME, and so does a folder. Figures are those that the makers published.
    """
    if context.invoked_subcommand:
        return
    from rearank_agent.policies.pretrained.catalog import CATALOG, DL19_NOTE
    from rearank_agent.policies.pretrained.suggest import is_cached

    if as_json:
        print_json([asdict(model) | {"cached": is_cached(model)} for model in CATALOG])
        return
    for model in CATALOG:
        needs = f", needs the extra {model.extra}" if model.extra else ""
        here = ", downloaded" if is_cached(model) else ""
        print_line(model.policy)
        print_line(f"    {model.facts}{needs}{here}")
    print_line()
    for line in wrap(DL19_NOTE, 80):
        print_line(line)
    print_line("A model is downloaded when it is first used.")


@app.command()
def pull(
    name: Annotated[
        str,
        typer.Argument(
            help="OWNER/NAME of the hub, with @REVISION or #int8 where wanted; "
            "also with cross-encoder: or encoder: in front."
        ),
    ],
) -> None:
    """Download a model, or its newest revision, so that it can be used without a connection."""
    from rearank_agent.policies.pretrained.load import pull as download

    found = download(name)
    print_line(f"{found.name} {found.revision}: {found.folder}")
