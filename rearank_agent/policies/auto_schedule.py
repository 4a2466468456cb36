"""The schedule that suits a policy, also one that is made of several."""

from __future__ import annotations

import math
from collections.abc import Callable

from rearank_agent.errors import InputError
from rearank_agent.policies.composed import Cascade, Composed, leaves
from rearank_agent.policies.protocol import Policy
from rearank_agent.schedules import (
    Schedule,
    batches,
    cascade,
    ensemble,
    groups,
    schedule,
    tournament,
    whole,
)

__all__ = ["auto", "plan"]

_BATCH = 100


def plan(
    policy: Policy,
    chosen: Schedule | str,
    n: int,
    turns_left: Callable[[], float] = lambda: math.inf,
) -> Schedule:
    """The schedule by which a policy ranks n passages.

    Args:
        policy: ranks the windows.
        chosen: a schedule, its name, or "auto"; of a cascade it is the last stage's, of an
            ensemble each part's.
        n: how many passages.
        turns_left: how many more turns there is time for; called before each turn.

    Raises:
        InputError: there is no such schedule, or it does not suit the policy.
    """
    if isinstance(policy, Cascade):
        sizes = [n, *(min(size, n) for size in policy.keep)]
        own = ["auto"] * (len(sizes) - 1) + [chosen]
        parts = [
            (plan(part, one, size, turns_left), len(leaves(part)))
            for part, one, size in zip(policy.parts, own, sizes, strict=True)
        ]
        return cascade(parts, policy.keep)
    if isinstance(policy, Composed):
        return ensemble([(plan(part, chosen, n, turns_left), 1) for part in policy.parts])
    if chosen == "auto":
        return auto(policy, n, turns_left)
    found = schedule(chosen) if isinstance(chosen, str) else chosen
    if found.comparable and not policy.scores:
        raise InputError(
            f"the schedule {found.name} needs scores that compare across windows, "
            f"and the policy {policy.name} gives none"
        )
    return found


def auto(policy: Policy, n: int, turns_left: Callable[[], float] = lambda: math.inf) -> Schedule:
    """The schedule that suits a policy.

    Comparable scores are asked for at once, in groups where the policy has a window; an order
    is found by a tournament, which has fewer turns than sliding windows and takes fewer still
    when `turns_left` is small. A policy without a window gets more than a hundred passages in
    batches: the order is the same, and there is progress to show and a partial result when the
    deadline comes.
    """
    if not policy.scores:
        return tournament(policy.window or 20, turns_left)
    if policy.window:
        return groups(policy.window)
    return whole() if n <= _BATCH else batches(_BATCH)
