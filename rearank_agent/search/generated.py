"""Files that programs write and nobody reads: they would crowd out what people wrote."""

from __future__ import annotations

import re
from pathlib import PurePath

__all__ = ["why_generated"]

_LOCKS = frozenset(
    {"cargo.lock", "composer.lock", "flake.lock", "gemfile.lock", "go.sum", "package-lock.json"}
    | {"packages.lock.json", "pdm.lock", "pipfile.lock", "pnpm-lock.yaml", "poetry.lock"}
    | {"npm-shrinkwrap.json", "pubspec.lock", "uv.lock", "yarn.lock", "bun.lock"}
)
_MINIFIED = re.compile(r"[.-]min\.(?:js|mjs|cjs|css)$|\.(?:js|mjs|cjs|css)\.map$")
# As Go, protobuf, Thrift and Meta's tools mark them, in a comment of the first lines.
_MARK = re.compile(
    r"(?m)^[ \t]*(?:#|//|/\*|\*|--|;|<!--).*?(?:@generated\b|\bdo not edit\b)", re.IGNORECASE
)
_HEAD = 1_000  # characters
_MOST_JSON = 256 * 1024  # characters; what people write in JSON is less
_MINIFIABLE = frozenset({".js", ".mjs", ".cjs", ".css", ".json", ".xml"})
_LONG_LINE, _LONG_TEXT = 500, 5_000  # characters, on the average and in all


def why_generated(name: str, text: str) -> str:
    """Why a file is taken to be made by a program, by its name and its text; "" if it is not."""
    path = PurePath(name.lower())
    if path.name in _LOCKS:
        return "is a lock file"
    if _MINIFIED.search(path.name):
        return "is minified, or a source map"
    if _MARK.search(text[:_HEAD]):
        return "says that a program made it"
    if path.suffix == ".json" and len(text) > _MOST_JSON:
        return f"is JSON of more than {_MOST_JSON // 1024} KiB"
    if path.suffix in _MINIFIABLE and len(text) > max(
        _LONG_TEXT, _LONG_LINE * (text.count("\n") + 1)
    ):
        return f"has lines of more than {_LONG_LINE} characters on the average"
    return ""
