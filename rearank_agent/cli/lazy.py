"""Groups of commands listed in a table; each is imported only when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "lazy_group"]


class Command(NamedTuple):
    """A command as `--help` lists it: the module with its `app`, and one line of help."""

    module: str
    help: str


def lazy_group(commands: Mapping[str, Command]) -> type[TyperGroup]:
    """The `cls` of a `typer.Typer` with these commands, in this order."""

    class Group(TyperGroup):
        """The group of the commands in the table."""

        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            for name, one in commands.items():
                self.commands[name] = TyperCommand(name, help=one.help)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            """Import the command that is called."""
            if args[0] in commands:
                self.commands[args[0]] = _load(args[0], commands[args[0]].module)
            return super().resolve_command(ctx, args)

    return Group


def _load(name: str, module: str) -> Any:
    command = typer.main.get_command(import_module(module).app)
    command.name = name
    return command
