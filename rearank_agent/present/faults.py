"""What a ranking lacks, in lines of text: faults, missing replies, missing scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rearank_agent.text import shorten
from rearank_agent.types import Fault, Ranked, Ranking

__all__ = ["Told", "fault_line", "unscored_note", "why_unranked"]

_IDS = 3
_OF_FILES = frozenset(
    {"binary", "encoding", "extra", "generated", "large", "line", "link", "outside", "unreadable"}
)


class Told:
    """What a session was told about its files: its answers say each thing once."""

    def __init__(self) -> None:
        self._told: set[int] = set()

    def fresh(self, ranking: Ranking) -> Ranking:
        """The ranking without the faults of files that an earlier answer had.

        A fault that names another file by now is told again; the share of passages that have
        vectors is not, however it has grown.
        """
        passages = {one.id for one in ranking.passages}
        faults = []
        for fault in ranking.faults:
            # a policy has the kind `unreadable` as well, of passages
            of_files = fault.kind in _OF_FILES and fault.ids and passages.isdisjoint(fault.ids)
            if of_files or fault.kind == "vectors":
                known = hash(fault if of_files else fault.kind)
                if known in self._told:
                    continue
                self._told.add(known)
            faults.append(fault)
        return replace(ranking, faults=tuple(faults))


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
