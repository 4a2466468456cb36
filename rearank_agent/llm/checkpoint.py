"""How a model was trained to be asked, kept beside its weights as `rearank.json`.

Other words than a model's own cost accuracy without a sound: the published REARANK-7B lost 3.7
points of nDCG@10 on TREC DL19 (70.45 for 74.16, arXiv 2505.20046). So they travel with it, whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from rearank_agent.errors import InputError, SetupError
from rearank_agent.files import write_text
from rearank_agent.listwise.answer_format import FORMAT_VERSION, Format
from rearank_agent.listwise.template import Template
from rearank_agent.llm.budget import MIN_CUT

__all__ = ["CONFIG_FILE", "PromptConfig", "describe", "template_hint"]

CONFIG_FILE = "rearank.json"
"""The file's name, in the model's folder."""

_KINDS = {
    "format": int, "fingerprint": str, "template": dict, "form": str, "think": bool,
    "window": int, "cut": int, "budget": int,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PromptConfig:
    """The words, the form of the answer and the sizes that a model was trained with.

    Attributes:
        template: the words.
        form: whether it gives an order, or scores from 0 to 10.
        think: whether it thinks before it answers.
        window: the most passages shown at once, 2 or more.
        cut: the most characters of a passage that are shown, 40 or more.
        budget: the most tokens of a reply, thought included, 1 or more.

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
        if self.window < 2 or self.budget < 1 or self.cut < MIN_CUT:
            raise InputError(
                f"a window must hold 2 passages or more, a reply 1 token, a passage {MIN_CUT} "
                f"characters: {self.window}, {self.budget}, {self.cut}"
            )

    def asking(self) -> dict[str, Any]:
        """The same as keywords: `policy("vllm:NAME", **trained.asking())`."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def mismatch(self, template: Template, form: Format) -> str:
        """What a model trained so would be asked otherwise; "" if it is asked as it was trained."""
        if (template, form) == (self.template, self.form):
            return ""
        own, other = (
            describe({"template": t, "form": f})
            for t, f in ((self.template, self.form), (template, form))
        )
        return f"the model was trained with {own}, and would be asked with {other}"

    def save(self, folder: Path) -> None:
        """Write it into a model's folder; raises SetupError where that cannot be."""
        head = {"format": FORMAT_VERSION, "fingerprint": self.template.fingerprint}
        held = head | self.asking() | {"template": asdict(self.template)}
        write_text(folder / CONFIG_FILE, json.dumps(held, ensure_ascii=False, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path | str) -> Self | None:
        """What stands in a model's folder; None without the file, or where none can be seen.

        Args:
            folder: of the model, or what its server says it loaded; "" if it does not say.

        Raises:
            SetupError: the file is damaged, or of another version.
        """
        path = os.path.join(folder, CONFIG_FILE)  # noqa: PTH118 - a Path would take "" for "."
        there = folder and os.path.isfile(path)  # noqa: PTH113 - False for what is no path at all
        return cls.read(Path(path)) if there else None

    @classmethod
    def read(cls, path: Path) -> Self:
        """The same of one file.

        Raises:
            SetupError: it cannot be read, is damaged, or of another version.
        """
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(held, dict):
                raise SetupError("it holds no JSON object")
            if (version := held.get("format")) == FORMAT_VERSION:
                return cls._of(held)
        except OSError as error:
            raise SetupError(f"{path} cannot be read: {error.strerror or error}") from None
        except (ValueError, RecursionError, SetupError) as error:
            raise SetupError(
                f"{path} cannot be used: {error}; put back the file that came with the weights"
            ) from None
        raise SetupError(
            f"{path} was written for another version of the form of messages ({version!r}, here "
            f"{FORMAT_VERSION}); use the release of rearank-agent that trained the model, or train "
            "it anew"
        )

    @classmethod
    def _of(cls, held: Mapping[str, Any]) -> Self:
        if odd := set(held) ^ set(_KINDS):
            raise SetupError(f"missing or unknown: {', '.join(sorted(odd))}")
        for name, kind in _KINDS.items():
            if type(held[name]) is not kind:
                raise SetupError(f"{name} must not be {held[name]!r:.80}")
        template = Template.of(held["template"])
        if template.fingerprint != held["fingerprint"]:
            raise SetupError(f"its words are {template.fingerprint}, not {held['fingerprint']}")
        return cls(**{part.name: held[part.name] for part in fields(cls)} | {"template": template})


def describe(asking: Mapping[str, Any]) -> str:
    """Keywords of asking for a person to read, the template by its fingerprint."""
    shown = ((name, getattr(value, "fingerprint", value)) for name, value in asking.items())
    return ", ".join(f"{name} {value}" for name, value in shown)


def template_hint(name: str, root: str, template: Template) -> str:
    """What may be wrong with the words of a model whose own are not known; "" if nothing.

    Args:
        name: what the model is served as.
        root: where its server loaded it from: a folder, or the name of a repository.
        template: the words it would be asked with.
    """
    published = "rearank" in f"{name} {root}".lower() and template == Template.default()
    return (
        "if this is the published REARANK model: it was trained with words of its own; give them "
        "with --template FILE (docs/models.md), or it loses points without a sound"
        if published
        else ""
    )
