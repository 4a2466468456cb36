"""The prompt template: the text around query and passages, a TOML file others can replace."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from rearank_agent.errors import SetupError

__all__ = ["Template", "fill"]

_SLOT = re.compile(r"\{(query|n|number|text|instruction)\}")
_REQUIRED_SLOTS = {
    "opening": {"query"},
    "instruction": {"instruction"},
    "passage": {"number", "text"},
}
_CLOSING = ("think", "direct", "order", "scores", "again")


@dataclass(frozen=True, slots=True)
class Template:
    """The prompt template of one window; `template.toml` in this package is the default.

    Attributes:
        name: names the template in a fingerprint.
        system: the system turn; left out when empty.
        opening: the first user turn, with query, number of passages and instruction.
        instruction: how an instruction is put into the opening when there is one.
        opening_reply: the assistant's acknowledgement.
        passage: one passage's turn.
        passage_reply: its acknowledgement.
        think, direct: the start of the last turn, with and without reasoning.
        order, scores: its end: the format of the answer.
        again: the start of one more turn, after a reply that held no answer.
    """

    name: str
    system: str
    opening: str
    instruction: str
    opening_reply: str
    passage: str
    passage_reply: str
    think: str
    direct: str
    order: str
    scores: str
    again: str

    @property
    def fingerprint(self) -> str:
        """The name and the first eight hexadecimal digits of the texts' SHA-256."""
        texts = "\x00".join(getattr(self, field.name) for field in fields(self))
        return f"{self.name}:{sha256(texts.encode()).hexdigest()[:8]}"

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a template file.

        Raises:
            SetupError: the file cannot be read, or a part is missing, foreign or incomplete.
        """
        try:
            return cls.parse(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, SetupError) as error:
            raise SetupError(f"the template {path} cannot be used: {error}") from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """A template from the text of its file; raises SetupError as `load` does."""
        try:
            data: dict[str, Any] = tomllib.loads(text)
        except RecursionError:
            raise SetupError("it is nested too deep") from None
        except ValueError as error:  # no TOML, or an integer of thousands of digits
            raise SetupError(f"it is no TOML: {error}") from None
        closing = data.pop("closing", {})
        if not isinstance(closing, dict) or set(closing) != set(_CLOSING):
            raise SetupError(f"[closing] must hold {', '.join(_CLOSING)} and nothing else")
        return cls.of(data | closing)

    @classmethod
    def of(cls, parts: Mapping[str, Any]) -> Self:
        """A template of its parts by name; raises SetupError as `load` does."""
        expected = {field.name for field in fields(cls)}
        if wrong := set(parts) ^ expected:
            raise SetupError(f"missing or unknown: {', '.join(sorted(wrong))}")
        for name, part in parts.items():
            if not isinstance(part, str):
                raise SetupError(f"{name} must be a string")
            if missing := _REQUIRED_SLOTS.get(name, set()) - set(_SLOT.findall(part)):
                raise SetupError(f"{name} must hold {{{'} and {'.join(sorted(missing))}}}")
        return cls(**parts)

    @staticmethod
    def default() -> Template:
        """The package's own template."""
        return _default()


@cache
def _default() -> Template:
    return Template.parse(
        files("rearank_agent.listwise").joinpath("template.toml").read_text("utf-8")
    )


def fill(part: str, **values: object) -> str:
    """The part with its slots filled, in one pass: braces inside a value stay as they are."""
    pieces = list(_pieces(part))
    for place in range(1, len(pieces), 2):
        name = pieces[place]
        pieces[place] = str(values[name]) if name in values else f"{{{name}}}"
    return "".join(pieces)


@lru_cache(maxsize=64)
def _pieces(part: str) -> tuple[str, ...]:
    """Text and names of slots in turn."""
    return tuple(_SLOT.split(part))
