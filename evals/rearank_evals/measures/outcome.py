"""What the records of one system on one collection come to: costs, faults, reasons, cases."""

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
        policy: who judged: its fingerprint.
        orders: the ranked passages of every query.
        alone: the orders by the policy's scores alone; where it gave none, as they are.
        scored: whether it gave scores for any query.
        rationale: coverage, groundedness and agreement.
    """

    policy: str = ""
    orders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    alone: dict[str, tuple[str, ...]] = field(default_factory=dict)
    scored: bool = False
    rationale: dict[str, float | None] = field(default_factory=dict)
    usages: dict[str, Usage] = field(default_factory=dict)
    faults: dict[str, tuple[Fault, ...]] = field(default_factory=dict)
    partial: dict[str, bool] = field(default_factory=dict)

    def note(self, ranking: Ranking) -> None:
        """Take a record in."""
        query = ranking.run
        self.policy = ranking.policy
        self.orders[query] = ranking.ids
        alone = _alone(ranking)
        self.alone[query] = alone or ranking.ids
        self.scored |= alone is not None
        self.usages[query] = ranking.usage
        self.faults[query] = ranking.faults
        self.partial[query] = ranking.partial

    @property
    def cost(self) -> dict[str, float]:
        """Means a query; `seconds` is the median, `hits` the sum."""
        usages = list(self.usages.values())
        per_query = ("calls", "turns", "prompt_tokens", "thought_tokens", "answer_tokens")
        return {name: fmean(getattr(usage, name) for usage in usages) for name in per_query} | {
            "hits": sum(usage.hits for usage in usages),
            "seconds": median(usage.seconds for usage in usages),
        }

    @property
    def fault_counts(self) -> list[dict[str, Any]]:
        """Each kind of fault with its number, the queries it touched, and an example."""
        found: dict[str, dict[str, Any]] = {}
        for faults in self.faults.values():
            for kind in dict.fromkeys(fault.kind for fault in faults):
                alike = [fault for fault in faults if fault.kind == kind]
                entry = found.setdefault(
                    kind, {"kind": kind, "queries": 0, "times": 0, "detail": alike[0].detail}
                )
                entry["queries"] += 1
                entry["times"] += len(alike)
        return sorted(found.values(), key=_gravity)


def _gravity(entry: dict[str, Any]) -> tuple[bool, int, str]:
    """Most queries first; last what a policy without words says of every query."""
    return entry["kind"] == "instruction", -entry["queries"], entry["kind"]


def outcome(records: Iterable[Ranking]) -> Outcome:
    """What the records come to."""
    found = Outcome()

    def noted() -> Iterator[Ranking]:
        for ranking in records:
            found.note(ranking)
            yield ranking

    found.rationale = asdict(rationale_measures(noted()))
    return found


def _alone(ranking: Ranking) -> tuple[str, ...] | None:
    """The passages by the policy's own scores, without the blend; None without scores."""
    ids = {ranked.was - 1: ranked.id for ranked in ranking.passages}
    scores = policy_scores(ranking.steps, len(ids))
    return tuple(ids[position] for position in best_first(scores)) if scores else None


def case(ranking: Ranking, grades: Qrels, value: float, baseline: float) -> dict[str, Any]:
    """One query as a person reads it: the first passages, their grades, and why."""
    judged = grades[ranking.run]
    shown = [
        {
            "rank": ranked.rank,
            "was": ranked.was,
            "grade": judged.get(ranked.id),
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
    """The thought about the window that the head of the ranking was last judged in."""
    thoughts: Sequence[str] = [step.reply.reasoning for step in ranking.steps]
    return next((thought for thought in reversed(thoughts) if thought), "")
