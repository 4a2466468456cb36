"""`models`: judges of other makers that are one name away; `models pull` downloads one."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rearank_agent.cli.console import print_json, print_line

if TYPE_CHECKING:
    from rearank_agent.policies.pretrained.catalog import KnownModel

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
    from rearank_agent.policies.pretrained.catalog import CATALOG

    if as_json:
        print_json([asdict(model) for model in CATALOG])
        return
    for model in CATALOG:
        print_line(model.policy)
        print_line(f"    {_facts(model)}")
    print_line()
    print_line("DL19 is nDCG@10 x100 on TREC DL19 as the makers published it; the shipped policy")
    print_line("has 65.5 (BM25's top 100, measured here). A model is downloaded when first used.")


def _facts(model: KnownModel) -> str:
    dl19 = f", DL19 {model.dl19:.1f}" if model.dl19 else ""
    needs = f", needs the extra {model.extra}" if model.extra else ""
    return (
        f"{model.megabytes:.0f} MB, {model.tokens} tokens, {model.languages}, "
        f"{model.licence}{dl19}{needs}"
    )


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
