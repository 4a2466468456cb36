"""What comes of a run of training: upper layers to serve, with what they were made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from rearank_agent.files import digest
from rearank_training.embedded.checkpoints import fill, load
from rearank_training.embedded.export import export_top
from rearank_training.embedded.trainer import BEST, Trainer
from rearank_training.rows.heldout import macro

__all__ = ["BLENDS", "finish"]

BLENDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Of which the best on dev is served."""


def finish(trainer: Trainer, rows: Path, weights: Path) -> dict[str, Any]:
    """Write the best upper layers to the folder `top` of the run; gives their `policy.json`.

    Args:
        trainer: that has run.
        rows: the folder of what was learned from.
        weights: the folder of the lower layers.
    """
    best = load(trainer.out / BEST)
    fill(trainer.towers, best["towers"], trainer.out / BEST)
    values = trainer.dev.values(trainer.towers, trainer.trunk, BLENDS)
    blend, chosen = max(zip(BLENDS, values, strict=True), key=lambda pair: macro(pair[1]))
    about = {
        "blend": blend,
        "spans": trainer.recipe.share,
        "best": {name: best["best"][name] for name in ("phase", "step")},
        "dev": _means(chosen),
        "dev_queries": len(trainer.dev),
        "rows": _rows(rows),
        "recipe": asdict(trainer.recipe),
    }
    export_top(list(trainer.towers.cpu().layers), weights, trainer.out / "top", about)
    told: dict[str, Any] = json.loads((trainer.out / "top" / "policy.json").read_bytes())
    return told


def _means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    means = {name: round(fmean(some), 4) for name, some in values.items()}
    return means | {"macro": round(macro(values), 4)}


def _rows(folder: Path) -> dict[str, Any]:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    counts = {name: one["rows"] for name, one in manifest["collections"].items()}
    how = manifest["augmentation"]
    return {"manifest": digest(folder / "manifest.json"), "augmentation": how, "rows": counts}
