"""Faults as lines of text, and why a ranking has no reply of the policy."""

from __future__ import annotations

from rearank_agent.text import shorten
from rearank_agent.types import Fault, Ranking

__all__ = ["fault_line", "why_unranked"]

_IDS = 3


def fault_line(fault: Fault, length: int = 200) -> str:
    """A fault in one line of at most `length` characters."""
    ids = ", ".join(fault.ids[:_IDS])
    more = f" and {len(fault.ids) - _IDS} more" if len(fault.ids) > _IDS else ""
    return shorten(f"{fault.kind}: {fault.detail}{f' [{ids}{more}]' if ids else ''}", length)


def why_unranked(ranking: Ranking) -> str:
    """Why no window has a reply, so that the order is the one given; "" if one has."""
    if ranking.judged:
        return ""
    return (
        "; ".join(fault_line(fault) for fault in ranking.faults[:2]) or "the policy did not reply"
    )
