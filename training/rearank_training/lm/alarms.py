"""Alarms: what a line of the log says about a run that goes wrong, whatever its mean reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ALARMS", "Alarm", "alarms_of"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm.

    Attributes:
        kind: its name in the log.
        value: the measure in a line of the log; None where the line has none.
        rings: whether that is too much, or too little.
        text: what it means and what can be done, with `{value}`.
    """

    kind: str
    value: Callable[[Mapping[str, Any]], float | None]
    rings: Callable[[float], bool]
    text: str


def _field(*names: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda line: next((line[name] for name in names if name in line), None)


ALARMS = (
    # A reply that is cut off has no answer: it counts as the first stage's order, so a tenth of
    # the rewards is about length.
    Alarm(
        "length", _field("cut_off"), lambda share: share >= 0.1,
        "{value:.0%} of the replies reach the limit of tokens and have no answer: raise --budget, "
        "or imitate shorter replies first",
    ),
    # Sampling at temperature 1 rarely repeats; a tenth is a loop that is being learned.
    Alarm(
        "repeats", _field("repeats"), lambda share: share >= 0.1,
        "{value:.0%} of the replies repeat themselves: lower --rate, or go back to an earlier "
        "policy",
    ),
    # Some windows are in their best order already; nine of ten rarely are.
    Alarm(
        "copying", _field("copied"), lambda share: share >= 0.9,
        "{value:.0%} of the replies keep the order of the first stage: there is little to compare; "
        "imitate another policy first, or draw rows whose first stage is worse",
    ),
    # Without a difference within any group the advantages are all 0.
    Alarm(
        "equal", _field("equal"), lambda share: share >= 1,
        "all replies to each prompt have the same reward; no signal",
    ),
    # Without tags there is no answer to reward, whatever the reward.
    Alarm(
        "tags", _field("tagged", "part/tags"), lambda share: share <= 0.1,
        "only {value:.0%} of the replies have the tags that are asked for: train sft first, or "
        "lower --rate if there were more before",
    ),
)  # fmt: skip
"""Every alarm, with the threshold and the reason for it."""


def alarms_of(line: Mapping[str, Any]) -> dict[str, str]:
    """The alarms that a line of the log rings: their text by kind.

    A line of step 0 rings none: nothing has been learned yet.
    """
    if not line["step"]:
        return {}
    found = {alarm: alarm.value(line) for alarm in ALARMS}
    return {
        alarm.kind: alarm.text.format(value=value)
        for alarm, value in found.items()
        if value is not None and alarm.rings(value)
    }
