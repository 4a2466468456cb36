"""Options that commands share, or that are too many for a signature: as fields of a dataclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

__all__ = ["Html", "Instruction", "Json", "Query", "Top", "with_options"]

Query = Annotated[str, typer.Argument(help="What you want to know.", show_default=False)]
Instruction = Annotated[
    str, typer.Option(help="One sentence on what relevant means here.", show_default=False)
]
Top = Annotated[
    int | None,
    typer.Option(
        min=1, help="Show only so many.  [10 in a terminal, else all]", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Give the whole Ranking as one JSON object.")]

Html = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write a page that shows why, for any browser.",
        show_default=False,
    ),
]


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the fields of its dataclasses as options, and their values in their place.

    A dataclass's own fields stand before those it inherits.
    """
    own = inspect.signature(command, eval_str=True).parameters
    kinds: dict[str, Any] = {
        name: p.annotation for name, p in own.items() if is_dataclass(p.annotation)
    }

    @wraps(command)
    def run(**told: Any) -> None:
        for name, kind in kinds.items():
            told[name] = kind(**{field.name: told.pop(field.name) for field in fields(kind)})
        command(**told)

    parameters = [
        option
        for name, p in own.items()
        for option in (_options(p.annotation) if name in kinds else [p])
    ]
    keyword = inspect.Parameter.KEYWORD_ONLY
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=keyword) for parameter in parameters]
    )
    run.__annotations__ = {}
    return run


def _options(kind: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    own = list(kind.__annotations__)
    place = {name: number for number, name in enumerate(own)}
    for field in sorted(fields(kind), key=lambda field: place.get(field.name, len(own))):
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
