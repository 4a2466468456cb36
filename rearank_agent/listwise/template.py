"""The prompt template: the text around query and passages, a TOML file others can replace."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache, lru_cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from rearank_agent.errors import SetupError

__all__ = ["LEAST", "Template", "fill"]

LEAST = {"window": 2, "cut": 40, "budget": 1}
"""The sizes of a prompt, and the least that each may be."""

_FOLDER = files("rearank_agent.listwise").joinpath("templates")

_SLOT = re.compile(r"\{(query|n|number|title|text|instruction)\}")
_REQUIRED_SLOTS = {
    "opening": {"query"},
    "instruction": {"instruction"},
    "passage": {"number", "text"},
    "titled": {"title", "text"},
}
_CHOICES = {"spaces": ("kept", "joined"), "cut_at": ("word", "character")}
_CLOSING = ("think", "direct", "order", "scores", "again")


@dataclass(frozen=True, slots=True)
class Template:
    """The prompt template of one window; those in `templates/` are known by their names.

    Templates are equal when all but their sizes is: a model that was trained with one may be asked
    with other sizes.

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
        titled: how a passage's title and text are put together, where it has a title.
        spaces: "kept", or "joined": each run of white space is shown as one space.
        cut_at: "word" or "character": where a passage that is too long is truncated.
        window, cut, budget: the sizes where no option and no `rearank.json` says otherwise: the
            maximum passages of a window, characters of a passage, and tokens of a reply.
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
    titled: str = "{title}\n{text}"
    spaces: str = "kept"
    cut_at: str = "word"
    window: int = field(default=20, compare=False)
    cut: int = field(default=1200, compare=False)
    budget: int = field(default=2048, compare=False)

    def parts(self) -> dict[str, str]:
        """All but the sizes."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.compare}

    @property
    def fingerprint(self) -> str:
        """The name and the first eight hexadecimal digits of the parts' SHA-256.

        Of optional parts only those that are not the default: what a file does not set changes
        nothing.
        """
        optional = {one.name: one.default for one in fields(self) if one.default is not MISSING}
        texts = [
            part if name not in optional else f"{name}={part}"
            for name, part in self.parts().items()
            if part != optional.get(name)
        ]
        joined = "\x00".join(texts)
        return f"{self.name}:{sha256(joined.encode()).hexdigest()[:8]}"

    @staticmethod
    def names() -> tuple[str, ...]:
        """The templates of this package."""
        return tuple(sorted(one.name.removesuffix(".toml") for one in _FOLDER.iterdir()))

    @classmethod
    def load(cls, source: Path | str) -> Template:
        """A template of this package by its name, or that of a file.

        Raises:
            SetupError: the file cannot be read, or a part is missing, foreign or incomplete.
        """
        if str(source) in cls.names():
            return _packaged(str(source))
        try:
            return cls.parse(Path(source).read_text(encoding="utf-8"))
        except FileNotFoundError:
            known = ", ".join(cls.names())
            reason = f"there is no such file, and this package has: {known}"
        except (OSError, ValueError, SetupError) as error:
            reason = str(error)
        raise SetupError(f"the template {source} cannot be used: {reason}")

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
        required = {one.name for one in fields(cls) if one.default is MISSING}
        unknown = set(parts) - {one.name for one in fields(cls)}
        if wrong := (required - set(parts)) | unknown:
            raise SetupError(f"missing or unknown: {', '.join(sorted(wrong))}")
        for name, part in parts.items():
            _check_part(name, part)
        return cls(**parts)

    @staticmethod
    def default() -> Template:
        """The package's own template."""
        return _packaged("default")


@cache
def _packaged(name: str) -> Template:
    return Template.parse(_FOLDER.joinpath(f"{name}.toml").read_text("utf-8"))


def _check_part(name: str, part: object) -> None:
    if least := LEAST.get(name):
        if type(part) is not int or part < least:
            raise SetupError(f"{name} must be a whole number, {least} or more")
        return
    if not isinstance(part, str):
        raise SetupError(f"{name} must be a string")
    if missing := _REQUIRED_SLOTS.get(name, set()) - set(_SLOT.findall(part)):
        raise SetupError(f"{name} must hold {{{'} and {'.join(sorted(missing))}}}")
    if part not in (choices := _CHOICES.get(name, (part,))):
        raise SetupError(f"{name} must be {' or '.join(choices)}, not {part!r:.40}")


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
