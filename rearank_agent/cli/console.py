"""The one way out to a terminal or a pipe: no text in it can forge a line or steer a terminal.

Commands print with these functions alone (ruff refuses `print` and rich's own classes elsewhere),
so that nothing has to be escaped where it is used.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rearank_agent.redact import redact
from rearank_agent.text import json_line, one_line, text_line, visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

__all__ = [
    "LineFormatter", "console", "print_json", "print_line", "print_note", "progress_bar",
    "progress_line", "styled",
]  # fmt: skip

_PROGRESS_DELAY = 1.0  # seconds


def print_line(text: str = "", *, flush: bool = False) -> None:
    """Print one line on stdout; tabs stay."""
    print(text_line(text), flush=flush)


def print_note(text: str) -> None:
    """Print one line on stderr, without secrets."""
    print(one_line(redact(text)), file=sys.stderr)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON on stdout; a text is taken to be JSON already."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    print(json_line(text))


def styled(*lines: tuple[str, str]) -> Text:
    """Lines, each with its style, for a table's cell or `console().print`."""
    from rich.text import Text

    return Text("\n").join(Text(one_line(text), style) for text, style in lines)


def console(*, err: bool = False) -> Console:
    """A console on stdout or stderr: a string is one line in it, without markup or emoji codes."""
    from rich.console import Console
    from rich.segment import Segment

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(one_line(text), **options)

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            for part in super().render(renderable, options):
                yield part if part.control else part._replace(text=visible(part.text))

    return Plain(stderr=err, highlight=False, markup=False, emoji=False)


def progress_line(text: str, keep: bool) -> None:
    """Show a run's progress; in a terminal the next line overwrites it unless `keep`."""
    terminal = sys.stderr.isatty()
    start, end = "\r" if terminal else "", "\n" if keep or not terminal else ""
    print(f"{start}{one_line(text):<70}", end=end, file=sys.stderr, flush=True)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, shown once the work has taken a second; yields its setter."""
    from rich import progress  # every command imports this file, and few show progress

    bar = progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        console=console(err=True),
        transient=True,
    )
    task = bar.add_task(one_line(title), total=None)

    def start() -> None:
        if sys.stderr.isatty():
            bar.start()
        else:
            print_note(f"{title} ...")

    delayed = threading.Timer(_PROGRESS_DELAY, start)
    delayed.daemon = True
    delayed.start()
    try:
        yield lambda done, total: bar.update(task, completed=done, total=total)
    finally:
        delayed.cancel()
        delayed.join()
        if bar.live.is_started:
            bar.stop()


class LineFormatter(logging.Formatter):
    """A log record as one line without secrets; lines of a traceback are indented."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The record's line."""
        return one_line(redact(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """The traceback, in lines that do not pass for records."""
        return "\n".join(
            f"  {one_line(line)}" for line in redact(super().formatException(ei)).splitlines()
        )
