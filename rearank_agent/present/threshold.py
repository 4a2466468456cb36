"""Showing only passages from a minimum score on, and counting the others."""

from __future__ import annotations

from rearank_agent.errors import InputError
from rearank_agent.policies.protocol import Policy
from rearank_agent.types import Ranked, Ranking

__all__ = ["check_min_score", "from_score"]


def check_min_score(policy: Policy, min_score: float | None) -> None:
    """Raise InputError for a minimum that is out of range, or that the policy cannot serve."""
    if min_score is None:
        return
    if not 0 <= min_score <= 1:
        raise InputError(f"a minimum score is a number from 0 to 1: {min_score}")
    if not policy.scores:
        raise InputError(
            f"a minimum score needs a policy whose scores compare, and {policy.name} gives orders"
        )


def from_score(ranking: Ranking, min_score: float | None) -> tuple[tuple[Ranked, ...], str]:
    """The passages to show, and a note on those that are not; "" where all are.

    A ranking without scores, since the policy failed, is shown whole. Of a cascade's ranking
    passages that the last stage did not score are not shown.
    """
    if min_score is None:
        return ranking.passages, ""
    unscored = sum(ranked.relevance is None for ranked in ranking.passages)
    if unscored == (n := len(ranking.passages)):
        return ranking.passages, "the minimum score was not used: there are no scores"
    shown = ranking.above(min_score)
    below = n - len(shown) - unscored
    notes = [f"{below} of {n} are below {min_score:g}"] if below else []
    notes += [f"{unscored} of {n} have no score of their own"] if unscored else []
    return shown, "; ".join(notes)
