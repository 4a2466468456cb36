"""The result of a training run: upper layers to serve, with their provenance."""

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
"""The blends that are tried after supervision alone; the best on dev is served."""


def finish(trainer: Trainer, rows: Path | None, weights: Path) -> dict[str, Any]:
    """Write the best upper layers to the folder `top` of the run; gives their `policy.json`.

    Args:
        trainer: after its run.
        rows: the folder of the training rows, if there are any.
        weights: the folder of the lower layers.
    """
    best = load(trainer.out / BEST)
    fill(trainer.towers, best["towers"], trainer.out / BEST)
    reinforced = best["best"]["phase"] == "reward"  # with this blend, so it is served with it
    blends = (trainer.recipe.blend,) if reinforced else BLENDS
    values = trainer.dev.values(trainer.towers, trainer.trunk, blends)
    blend, best_values = max(zip(blends, values, strict=True), key=lambda pair: macro(pair[1]))
    about = {
        "blend": blend,
        "spans": trainer.recipe.share,
        "best": {name: best["best"][name] for name in ("phase", "step")},
        "dev": _means(best_values),
        "dev_queries": len(trainer.dev),
        **({"rows": _rows(rows)} if rows else {}),
        **({"teacher": trainer.teacher.provenance} if trainer.teacher else {}),
        "recipe": asdict(trainer.recipe),
    }
    export_top(list(trainer.towers.cpu().layers), weights, trainer.out / "top", about)
    policy: dict[str, Any] = json.loads((trainer.out / "top" / "policy.json").read_bytes())
    return policy


def _means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    means = {name: round(fmean(each), 4) for name, each in values.items()}
    return means | {"macro": round(macro(values), 4)}


def _rows(folder: Path) -> dict[str, Any]:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    counts = {name: one["rows"] for name, one in manifest["collections"].items()}
    return {
        "manifest": digest(folder / "manifest.json"),
        "augmentation": manifest["augmentation"],
        "rows": counts,
    }
