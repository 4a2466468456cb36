"""HTML from templates, with untrusted text escaped and control characters replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from rearank_agent.text import visible

__all__ = ["load_template"]


def load_template(
    package: str, name: str, filters: Mapping[str, Callable[..., Any]]
) -> Callable[..., str]:
    """The render function of a package's template; it takes the template's values.

    Every text is escaped, with U+FFFD for control characters and those that change the writing
    direction; what the template marks as safe is not escaped.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_replace_hidden,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.from_string(files(package).joinpath(name).read_text(encoding="utf-8")).render


def _replace_hidden(value: Any) -> Any:
    return visible(value) if type(value) is str else value
