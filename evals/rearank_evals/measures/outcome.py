"""Costs, faults, rationale measures and cases of one system on one collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import Any

from rearank_agent.data.trec import Qrels
from rearank_agent.policies.blend import policy_scores
from rearank_agent.policies.protocol import best_first
from rearank_agent.types import Fault, Ranking, Usage
from rearank_evals.measures.rationale import rationale_measures

__all__ = ["Outcome", "case", "outcome"]

_SHOWN = 3  # passages of a case
_TEXT = 300  # characters of a passage in a case


@dataclass
class Outcome:
    """Everything but the quality.

    Attributes:
        policy: its fingerprint.
        orders: passage ids of every query, best first.
        unblended_orders: the same by the policy's scores without the blend; equal to `orders`
            where it gave no scores.
        has_scores: whether it gave scores for any query.
        rationale: coverage, groundedness and agreement, each 0..1 or None.
        usages, faults, partial: of every query.
        judged: whether it gave an order for any; else all orders are those of the first stage.
    """

    policy: str = ""
    orders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unblended_orders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    has_scores: bool = False
    rationale: dict[str, float | None] = field(default_factory=dict)
    usages: dict[str, Usage] = field(default_factory=dict)
    faults: dict[str, tuple[Fault, ...]] = field(default_factory=dict)
    partial: dict[str, bool] = field(default_factory=dict)
    judged: bool = False

    def add(self, ranking: Ranking) -> None:
        """Add a record."""
        query = ranking.run
        self.policy = ranking.policy
        self.orders[query] = ranking.ids
        unblended = _unblended(ranking)
        self.unblended_orders[query] = unblended or ranking.ids
        self.has_scores |= unblended is not None
        self.usages[query] = ranking.usage
        self.faults[query] = ranking.faults
        self.partial[query] = ranking.partial
        self.judged |= ranking.judged

    @property
    def cost(self) -> dict[str, float]:
        """Means per query; `seconds` is the median, `hits` (cached replies) the sum."""
        usages = list(self.usages.values())
        per_query = ("calls", "turns", "prompt_tokens", "thought_tokens", "answer_tokens")
        return {name: fmean(getattr(usage, name) for usage in usages) for name in per_query} | {
            "hits": sum(usage.hits for usage in usages),
            "seconds": median(usage.seconds for usage in usages),
        }

    @property
    def fault_counts(self) -> list[dict[str, Any]]:
        """Each kind of fault with its count, the number of queries with it, and an example."""
        found: dict[str, dict[str, Any]] = {}
        for faults in self.faults.values():
            for kind in dict.fromkeys(fault.kind for fault in faults):
                of_kind = [fault for fault in faults if fault.kind == kind]
                entry = found.setdefault(
                    kind, {"kind": kind, "queries": 0, "times": 0, "detail": of_kind[0].detail}
                )
                entry["queries"] += 1
                entry["times"] += len(of_kind)
        return sorted(found.values(), key=_fault_order)


def _fault_order(entry: dict[str, Any]) -> tuple[bool, int, str]:
    """Most queries first; `instruction` last: policies that take no instruction always have it."""
    return entry["kind"] == "instruction", -entry["queries"], entry["kind"]


def outcome(records: Iterable[Ranking]) -> Outcome:
    """The outcome of all records, which are read once."""
    found = Outcome()

    def added() -> Iterator[Ranking]:
        for ranking in records:
            found.add(ranking)
            yield ranking

    found.rationale = asdict(rationale_measures(added()))
    return found


def _unblended(ranking: Ranking) -> tuple[str, ...] | None:
    """Passage ids by the policy's scores, without the blend; None without scores."""
    ids = {ranked.was - 1: ranked.id for ranked in ranking.passages}
    scores = policy_scores(ranking.steps, len(ids))
    return tuple(ids[position] for position in best_first(scores)) if scores else None


def case(ranking: Ranking, qrels: Qrels, value: float, baseline: float) -> dict[str, Any]:
    """One query for a reader: its first passages with their grades and rationales."""
    grades = qrels[ranking.run]
    shown = [
        {
            "rank": ranked.rank,
            "was": ranked.was,
            "grade": grades.get(ranked.id),
            "id": ranked.id,
            "text": " ".join(ranked.passage.content.split())[:_TEXT],
            "why": ranked.rationale.text or ranked.evidence if ranked.rationale else "",
        }
        for ranked in ranking.passages[:_SHOWN]
    ]
    return {
        "query_id": ranking.run,
        "query": ranking.query,
        "value": value,
        "baseline": baseline,
        "rationale": _reasoning(ranking),
        "passages": shown,
    }


def _reasoning(ranking: Ranking) -> str:
    """The reasoning of the last window that has one: the head of the ranking was judged there."""
    texts: Sequence[str] = [step.reply.reasoning for step in ranking.steps]
    return next((text for text in reversed(texts) if text), "")
