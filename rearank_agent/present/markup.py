"""Pages from templates: foreign text stands in them as text, and turns no letters round it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

__all__ = ["load_template"]

# Line ends, tabs and page breaks of a text stay.
_HIDDEN = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def load_template(
    package: str, name: str, filters: Mapping[str, Callable[..., Any]]
) -> Callable[..., str]:
    """What renders a package's template with the values it is called with.

    Every text is escaped, with U+FFFD for control characters and for what turns the direction of
    letters; what a template marks as safe is let through.
    """
    made = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= filters
    return made.from_string(files(package).joinpath(name).read_text(encoding="utf-8")).render


def _shown(value: Any) -> Any:
    return _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", value) if type(value) is str else value
