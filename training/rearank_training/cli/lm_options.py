"""The options that the commands for language models share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rearank_training.lm.recipes import recipe_by_name

__all__ = ["Dev", "Device", "DryRun", "Model", "Out", "Processes", "Recipe", "Resume", "Rows"]


def _recipe(context: typer.Context, name: str) -> str:
    """Use a recipe's settings as defaults of the options."""
    if name:
        context.default_map = recipe_by_name(name, str(context.info_name))
    return name


Recipe = Annotated[
    str,
    typer.Option(
        callback=_recipe,
        is_eager=True,
        metavar="NAME",
        help="Settings by name: nano, rearank-7b, or a FILE.toml; options override it.",
        show_default=False,
    ),
]
Model = Annotated[
    str, typer.Argument(help="The model's folder, or its repository's name.", show_default=False)
]
Rows = Annotated[Path, typer.Argument(help="The folder that train rows wrote.", show_default=False)]
Dev = Annotated[
    list[str],
    typer.Option("--dev", metavar="COLLECTION", help="Collection to evaluate on; repeatable."),
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run.")]
Resume = Annotated[bool, typer.Option("--resume", help="Resume from the last checkpoint in --out.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Processes = Annotated[
    int,
    typer.Option(
        min=1,
        help="Above 1: write launch.sh (and accelerate.yaml), which starts them, and end.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Do one step of everything, print what it took and a whole run takes, keep nothing.",
    ),
]
