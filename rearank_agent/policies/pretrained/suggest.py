"""Which known models are one line away on this machine, and what they need first."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rearank_agent.extras import install_line
from rearank_agent.policies.pretrained.catalog import CATALOG, KnownModel
from rearank_agent.policies.pretrained.hub import cached
from rearank_agent.policies.pretrained.repository import ModelName
from rearank_agent.policies.pretrained.weights import select_files

__all__ = ["Suggestion", "is_cached", "suggestions"]

_ALIKE = 0.1
"""Points of nDCG@10 x100; of models that differ by less the smallest is suggested."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A known model on this machine.

    Attributes:
        model: as its makers describe it.
        cached: whether it is downloaded.
        device: what it would run on: "cpu", "cuda" or "mps"; "" where that is not known yet.
        needs: what must be done before it can be used; "" for nothing.
    """

    model: KnownModel
    cached: bool
    device: str
    needs: str


def suggestions() -> tuple[Suggestion, ...]:
    """The model with the best published figure that fits, and the one that reads the most."""
    every = [_suggestion(model) for model in CATALOG]
    ready = [one for one in every if one.model.dl19 and not one.needs]
    best = max((one.model.dl19 or 0 for one in ready), default=0)
    strongest = [one for one in ready if (one.model.dl19 or 0) > best - _ALIKE]
    longest = max(every, key=lambda one: one.model.tokens)
    return (*strongest[:1], longest)


def is_cached(model: KnownModel) -> bool:
    """Whether all files that are needed of a model are in the hub's cache."""
    name = ModelName.parse(model.name)
    return cached(name, lambda files: select_files(files, model.name)) is not None


def _suggestion(model: KnownModel) -> Suggestion:
    device, room = "cpu", _free_memory()
    if model.extra:
        if find_spec("torch") is None or find_spec("transformers") is None:
            return Suggestion(model, False, "", install_line(model.extra))
        from rearank_agent.policies.pretrained.torch import device_and_memory

        device, on_device = device_and_memory()
        room = on_device or room
    needs = ""
    if room is not None and model.megabytes > room:
        needs = f"{model.megabytes:.0f} MB of memory, and {room:.0f} MB are free"
    return Suggestion(model, is_cached(model), device, needs)


def _free_memory() -> float | None:
    """Megabytes that programs can still have; None where the system does not say it as Linux."""
    try:
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
    except OSError:
        return None
    found = dict(line.partition(":")[::2] for line in lines)
    return int(found["MemAvailable"].split()[0]) / 1e3 if "MemAvailable" in found else None
