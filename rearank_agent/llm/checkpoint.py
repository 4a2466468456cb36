"""The prompt configuration a model was trained with, saved beside its weights as `rearank.json`.

Another prompt template than a model's own costs accuracy silently: the published REARANK-7B lost
3.7 points of nDCG@10 on TREC DL19 (70.45 for 74.16, arXiv 2505.20046). So it is saved in full.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from rearank_agent.errors import InputError, SetupError
from rearank_agent.files import write_text
from rearank_agent.listwise.answer_format import FORMAT_VERSION, Format
from rearank_agent.listwise.template import LEAST, Template

__all__ = ["CONFIG_FILE", "PromptConfig", "describe", "template_hint"]

CONFIG_FILE = "rearank.json"
"""The file's name, in the model's folder."""

_KINDS = {
    "format": int, "fingerprint": str, "template": dict, "form": str, "think": bool,
    "window": int, "cut": int, "budget": int,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PromptConfig:
    """The prompt template, the answer format and the sizes that a model was trained with.

    One rule for a size, from first to last: the option given, a model's `rearank.json`, its
    template, the default.

    Attributes:
        template: the prompt template.
        form: whether it gives an order, or scores from 0 to 10.
        think: whether it reasons before it answers.
        window: the maximum passages shown at once, 2 or more.
        cut: the maximum characters of a passage that are shown, 40 or more.
        budget: the maximum tokens of a reply, reasoning included, 1 or more.

    Raises:
        InputError: one of them is out of its range.
    """

    template: Template = field(default_factory=Template.default)
    form: Format = "order"
    think: bool = True
    window: int = 20
    cut: int = 1200
    budget: int = 2048

    def __post_init__(self) -> None:
        if self.form not in ("order", "scores"):
            raise InputError(f"the format must be order or scores, not {self.form!r}")
        if any(getattr(self, size) < least for size, least in LEAST.items()):
            raise InputError(
                f"a window must hold {LEAST['window']} passages or more, a reply "
                f"{LEAST['budget']} token, a passage {LEAST['cut']} characters: {self.window}, "
                f"{self.budget}, {self.cut}"
            )

    @classmethod
    def of(cls, template: Template | None = None, **given: Any) -> Self:
        """The configuration of a template: its sizes where none are given, or None."""
        template = template or Template.default()
        sizes = {size: getattr(template, size) for size in LEAST}
        chosen = {name: value for name, value in given.items() if value is not None}
        return cls(template, **sizes | chosen)

    def options(self) -> dict[str, Any]:
        """The same as keyword arguments: `policy("vllm:NAME", **config.options())`."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def mismatch(self, template: Template, form: Format) -> str:
        """The message if a template and format differ from these; "" if they do not."""
        if (template, form) == (self.template, self.form):
            return ""
        own, other = (
            describe({"template": t, "form": f})
            for t, f in ((self.template, self.form), (template, form))
        )
        return f"the model was trained with {own}, and would be asked with {other}"

    def save(self, folder: Path) -> None:
        """Write it into a model's folder; raises SetupError where that fails."""
        head = {"format": FORMAT_VERSION, "fingerprint": self.template.fingerprint}
        data = head | self.options() | {"template": self.template.parts()}
        write_text(folder / CONFIG_FILE, json.dumps(data, ensure_ascii=False, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path | str) -> Self | None:
        """The configuration in a model's folder; None if no such file can be seen.

        Args:
            folder: of the model, or what its server reports as loaded; "" if it does not.

        Raises:
            SetupError: the file is damaged, or of another version.
        """
        path = os.path.join(folder, CONFIG_FILE)  # noqa: PTH118 - a Path would take "" for "."
        exists = folder and os.path.isfile(path)  # noqa: PTH113 - False for what is no path at all
        return cls.read(Path(path)) if exists else None

    @classmethod
    def read(cls, path: Path) -> Self:
        """The same of one file.

        Raises:
            SetupError: it cannot be read, is damaged, or of another version.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(data, dict):
                raise SetupError("it holds no JSON object")
            if (version := data.get("format")) == FORMAT_VERSION:
                return cls._of(data)
        except OSError as error:
            raise SetupError(f"{path} cannot be read: {error.strerror or error}") from None
        except (ValueError, RecursionError, SetupError) as error:
            raise SetupError(
                f"{path} cannot be used: {error}; put back the file that came with the weights"
            ) from None
        raise SetupError(
            f"{path} was written for another version of the message format ({version!r}, here "
            f"{FORMAT_VERSION}); use the release of rearank-agent that trained the model, or train "
            "it anew"
        )

    @classmethod
    def _of(cls, data: Mapping[str, Any]) -> Self:
        if wrong := set(data) ^ set(_KINDS):
            raise SetupError(f"missing or unknown: {', '.join(sorted(wrong))}")
        for name, kind in _KINDS.items():
            if type(data[name]) is not kind:
                raise SetupError(f"{name} must not be {data[name]!r:.80}")
        template = Template.of(data["template"])
        if template.fingerprint != data["fingerprint"]:
            raise SetupError(f"its template is {template.fingerprint}, not {data['fingerprint']}")
        return cls(**{part.name: data[part.name] for part in fields(cls)} | {"template": template})


def describe(options: Mapping[str, Any]) -> str:
    """Options of `PromptConfig` as text, the template by its fingerprint."""
    shown = ((name, getattr(value, "fingerprint", value)) for name, value in options.items())
    return ", ".join(f"{name} {value}" for name, value in shown)


def template_hint(name: str, root: str, template: Template) -> str:
    """A hint for a model that probably needs another prompt template; "" if there is none.

    Args:
        name: what the model is served as.
        root: where its server loaded it from: a folder, or the name of a repository.
        template: the one it would be asked with.
    """
    published = "rearank" in f"{name} {root}".lower() and template == Template.default()
    return (
        "if this is the published REARANK model: it was trained with a prompt template of its own; "
        "give --template rearank-7b (docs/models.md), or it loses accuracy silently"
        if published
        else ""
    )
