"""Checkpoints of the embedded trainer: torch files, written atomically."""

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
    """Write tensors and plain values; an old file stays until the new one is complete.

    Raises:
        SetupError: the disk is full, or the folder cannot be written.
    """
    with atomic_write(path) as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:  # torch reports a full disk this way
            raise OSError(str(error).splitlines()[0]) from None
        file.flush()
        os.fsync(file.fileno())


def load(path: Path) -> dict[str, Any]:
    """Read a file that `save` wrote; no code in it is executed.

    Raises:
        InputError: there is no such file, or it is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: nothing to resume from") from None
    except Exception as error:
        raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
    return state


def fill(module: torch.nn.Module, state: Mapping[str, Any] | None, path: Path) -> None:
    """Load the weights of a checkpoint into a module.

    Raises:
        InputError: they are of a network of another shape.
    """
    try:
        module.load_state_dict(state or {})
    except (RuntimeError, AttributeError, TypeError) as error:
        first = str(error).splitlines()[-1].strip()
        raise InputError(
            f"{path} is of a network of another shape, or of another version: {first}"
        ) from None
