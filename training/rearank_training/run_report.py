"""A training run as its folder tells it: what it is of, its log in words, and replies to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rearank_agent.errors import InputError
from rearank_training.log import LOG, ROLLOUTS, RUN, read

__all__ = ["RunReport", "describe", "read_run"]

_WORDS = {
    "loss": "loss {:.3f}",
    "reward": "reward {:.3f}",
    "held_out": "held-out loss {:.3f}",
    "kl": "KL {:.4f}",
    "equal": "{:.0%} of prompts without a difference",
    "tokens": "{:.0f} tokens a reply",
    "cut_off": "{:.0%} cut off",
    "copied": "{:.0%} in the order shown",
    "repeats": "{:.0%} with repetitions",
    "seconds": "{:.1f} s",
}
"""Fields of a log line in words, in their order."""


@dataclass(frozen=True)
class RunReport:
    """A run.

    Attributes:
        folder: of the run.
        inputs: what the run depends on, as in run.json; empty where there is none.
        lines: of the log.
        replies: of rollouts.jsonl.
    """

    folder: Path
    inputs: Mapping[str, Any]
    lines: list[dict[str, Any]]
    replies: list[dict[str, Any]]

    @property
    def title(self) -> str:
        """What the run is of, and how far it came."""
        of = f" of {self.inputs['model']}" if "model" in self.inputs else ""
        steps = f" of {self.inputs['steps']}" if "steps" in self.inputs else ""
        return f"{self.lines[-1]['phase']}{of}, step {self.lines[-1]['step']}{steps}"

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """The lines of the evaluations on dev."""
        return [line for line in self.lines if "macro" in line]

    @property
    def best(self) -> dict[str, Any] | None:
        """The evaluation of the policy that is kept: by held-out loss if there is one, else dev."""
        found = self.evaluations
        if found and "held_out" in found[0]:
            return min(found, key=lambda line: line["held_out"])
        return max(found, key=lambda line: line["macro"], default=None)

    @property
    def alarms(self) -> list[str]:
        """The alarms of the last step and of the last evaluation."""
        last = [self.evaluations[-1:], [line for line in self.lines if "macro" not in line][-1:]]
        return list(
            dict.fromkeys(kind for one in last for line in one for kind in line.get("alarms", ()))
        )

    def replies_of(self, step: int) -> list[dict[str, Any]]:
        """The replies that were kept at the evaluation after a step."""
        return [one for one in self.replies if one["step"] == step]


def read_run(folder: Path) -> RunReport:
    """The run in a folder.

    Raises:
        InputError: there is none, it has not begun, or a file is damaged.
    """
    lines = read(folder / LOG)
    if not lines:
        raise InputError(f"{folder} holds no run, or one that has not begun: it has no {LOG}")
    try:
        inputs = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        inputs = {}
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / RUN} cannot be read: {error}") from None
    return RunReport(folder, inputs, lines, read(folder / ROLLOUTS))


def describe(line: Mapping[str, Any]) -> str:
    """A line of the log in words."""
    said = [f"dev nDCG@10 {100 * line['macro']:.2f}"] if "macro" in line else []
    if "mended" in line:
        said.append(f"{line['mended']:.0%} of replies repaired")
    said += [form.format(line[name]) for name, form in _WORDS.items() if name in line]
    if alarms := line.get("alarms"):
        said.append(f"alarms: {', '.join(alarms)}")
    return f"step {line['step']}: {', '.join(said)}"
