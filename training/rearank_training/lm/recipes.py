"""Recipes: sets of settings by name."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from rearank_agent.errors import InputError
from rearank_training.lm.settings import GRPOSettings, PromptOptions, SFTSettings
from rearank_training.lm.trl_table import write_pairs

__all__ = ["recipe_by_name"]

_FOLDER = Path(__file__).parents[1] / "recipes"


def recipe_by_name(name: str, phase: str) -> dict[str, Any]:
    """The settings of a recipe: a packaged one by its name, or a TOML file of the same form.

    Args:
        name: of a packaged recipe, or the path of a .toml file.
        phase: sft or grpo.

    Raises:
        InputError: there is no such recipe, or it has an unknown setting.
    """
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    if not path.is_file():
        names = ", ".join(sorted(one.stem for one in _FOLDER.glob("*.toml")))
        raise InputError(f"there is no recipe {name!r}; there are: {names}, and files: NAME.toml")
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the recipe {path} cannot be used: {error}") from None
    settings: dict[str, Any] = recipe.get("words", {}) | recipe.get(phase, {})
    known = {field.name for field in fields(GRPOSettings if phase == "grpo" else SFTSettings)}
    known |= {field.name for field in fields(PromptOptions)}
    if unknown := [setting for setting in settings if setting not in known]:
        raise InputError(f"the recipe {path} has unknown settings: {', '.join(unknown)}")
    if not isinstance(trl := settings.get("trl", {}), dict):
        raise InputError(f"in the recipe {path} the settings of TRL are a table, [{phase}.trl]")
    return settings | ({"trl": write_pairs(trl)} if trl else {})
