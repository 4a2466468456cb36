"""Faults as lines of text, and whether a ranking has any judgement in it."""

from __future__ import annotations

from rearank_agent.text import shorten
from rearank_agent.types import Fault, Ranking

__all__ = ["fault_line", "why_unranked"]

_IDS = 3


def fault_line(fault: Fault, length: int = 200) -> str:
    """A fault in one line of so many characters at most."""
    ids = ", ".join(fault.ids[:_IDS])
    more = f" and {len(fault.ids) - _IDS} more" if len(fault.ids) > _IDS else ""
    return shorten(f"{fault.kind}: {fault.detail}{f' [{ids}{more}]' if ids else ''}", length)


def why_unranked(ranking: Ranking) -> str:
    """Why no judge said anything, so that the order is the one given; "" if one did."""
    nothing = {"failed", "unreadable"}
    if any(nothing.isdisjoint(f.kind for f in step.reply.faults) for step in ranking.steps):
        return ""
    return "; ".join(fault_line(fault) for fault in ranking.faults[:2]) or "nobody judged"
