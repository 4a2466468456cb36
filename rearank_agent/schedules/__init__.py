"""Schedules: which passages share a window, as generators without a model or I/O.

A schedule yields a `Turn` (windows that may be ranked at the same time, and the best order of
all passages so far), is sent one reply for each window, and returns the final order. The same
generator serves the reranker, cost counting, the deadline and the tests.
"""

from rearank_agent.schedules.composed import cascade, ensemble
from rearank_agent.schedules.names import SCHEDULES, cost, dry_run, schedule
from rearank_agent.schedules.turn import Schedule, Turn
from rearank_agent.schedules.windows import (
    batches,
    groups,
    half_sliding,
    sliding,
    topdown,
    tournament,
    whole,
)

__all__ = [
    "SCHEDULES", "Schedule", "Turn", "batches", "cascade", "cost", "dry_run", "ensemble",
    "groups", "half_sliding", "schedule", "sliding", "topdown", "tournament", "whole",
]  # fmt: skip
