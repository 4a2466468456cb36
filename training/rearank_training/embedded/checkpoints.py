"""Checkpoints of the embedded trainer: torch files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rearank_agent.errors import InputError
from rearank_agent.files import atomic_write

__all__ = ["fill", "load", "save"]


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values; what stood there stays until the new file is whole.

    Raises:
        SetupError: the disk is full, or the folder cannot be written.
    """
    with atomic_write(path) as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:  # torch may tell of a full disk so
            raise OSError(str(error).splitlines()[0]) from None
        file.flush()
        os.fsync(file.fileno())


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote; no code in it is run.

    Raises:
        InputError: there is no such file, or it is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} is not there: nothing to go on from") from None
    except Exception as error:
        raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
    return state


def fill(module: torch.nn.Module, state: Mapping[str, Any] | None, path: Path) -> None:
    """Give a module the weights of a checkpoint.

    Raises:
        InputError: they are those of a network of another shape.
    """
    try:
        module.load_state_dict(state or {})
    except (RuntimeError, AttributeError, TypeError) as error:
        first = str(error).splitlines()[-1].strip()
        raise InputError(f"{path} is of a network of another shape: {first}") from None
