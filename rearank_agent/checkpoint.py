"""The words a model was trained with, kept beside its weights.

    {"template": "rearank-agent-1:ea25140e", "format": 1, "form": "order"}

Other words than a model's own cost accuracy without a sound: the published REARANK-7B lost 3.7
points of nDCG@10 on TREC DL19 (70.45 for 74.16, arXiv 2505.20046).
"""

from __future__ import annotations

import json
from pathlib import Path

from rearank_agent.listwise import FORMAT_VERSION, Format
from rearank_agent.template import Template

__all__ = ["NAME", "mismatch", "words"]

NAME = "rearank.json"
"""The file's name, in the model's folder."""


def words(template: Template, form: Format) -> dict[str, object]:
    """What the file says of these words."""
    return {"template": template.fingerprint, "format": FORMAT_VERSION, "form": form}


def mismatch(name: str, root: str, template: Template, form: Format) -> str:
    """Why a model's words are not these, as far as can be known; "" if nothing speaks against it.

    Args:
        name: what the model is served as.
        root: where its server loaded it from: a folder, or the name of a repository.
        template: the words it would be asked with.
        form: of the answer.
    """
    path = Path(root) / NAME
    if path.is_file():
        try:
            trained = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return f"{path} cannot be read: {error}"
        ours = words(template, form)
        trained = trained if isinstance(trained, dict) else {}
        odd = [f"{k} {trained.get(k)!r}, not {v!r}" for k, v in ours.items() if trained.get(k) != v]
        return f"the model was trained with {'; '.join(odd)}" if odd else ""
    published = "rearank" in f"{name} {root}".lower() and template == Template.default()
    return (
        "if this is the published REARANK model: it was trained with words of its own; give them "
        "with --template FILE (docs/models.md), or it loses points without a sound"
        if published
        else ""
    )
