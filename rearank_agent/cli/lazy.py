"""Groups of commands listed in a table; each is imported only when it is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from rearank_agent.text import one_line

__all__ = ["Command", "lazy_group"]

UsageError: Any = typer.BadParameter.__base__  # Typer has its own copy of click, or click itself


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

        def make_context(self, *given: Any, **more: Any) -> Any:
            """A context, as Typer makes it."""
            with _escaped_errors():
                return super().make_context(*given, **more)

        def invoke(self, ctx: Any) -> Any:
            """Call the command."""
            with _escaped_errors():
                return super().invoke(ctx)

    return Group


@contextmanager
def _escaped_errors() -> Iterator[None]:
    """Escape errors about arguments, which quote them: Typer prints these errors itself."""
    try:
        yield
    except UsageError as error:
        error.message = one_line(error.message)
        raise


def _load(name: str, module: str) -> Any:
    command = typer.main.get_command(import_module(module).app)
    command.name = name
    return command
