"""What a ranking lacks, in lines of text: faults, missing replies, missing scores."""

from __future__ import annotations

from collections.abc import Sequence

from rearank_agent.text import shorten
from rearank_agent.types import Fault, Ranked, Ranking

__all__ = ["fault_line", "unscored_note", "why_unranked"]

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


def unscored_note(shown: Sequence[Ranked]) -> str:
    """A note where only some of these passages, best first, have a score of their own; else ""."""
    own = sum(ranked.scored for ranked in shown)
    if own in (0, len(shown)):
        return ""
    return f"scores of their own: the first {own}; behind them the lowest is repeated"
