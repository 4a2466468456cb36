"""Options that commands share, and options given as the fields of a dataclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

__all__ = ["Html", "Instruction", "Json", "MinScore", "Query", "Top", "with_options"]

Query = Annotated[str, typer.Argument(help="What you want to know.", show_default=False)]
Instruction = Annotated[
    str, typer.Option(help="One sentence on what relevant means here.", show_default=False)
]
Top = Annotated[
    int | None,
    typer.Option(
        min=1, help="Show only this many.  [10 in a terminal, else all]", show_default=False
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Show only passages the policy scores so high, 0 to 1.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the whole Ranking as one JSON object.")]

Html = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write an HTML page that explains the ranking.",
        show_default=False,
    ),
]


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's dataclass parameters with one option for each of their fields.

    A dataclass's own fields come before those it inherits.
    """
    own = inspect.signature(command, eval_str=True).parameters
    groups: dict[str, Any] = {
        name: p.annotation for name, p in own.items() if is_dataclass(p.annotation)
    }

    @wraps(command)
    def run(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(**values)

    parameters = [
        option
        for name, p in own.items()
        for option in (_options(p.annotation) if name in groups else [p])
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
