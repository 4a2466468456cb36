"""Robustness: how far a ranking depends on the order of the candidates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean, pstdev
from typing import Any

from scipy.stats import kendalltau

from rearank_agent.data.trec import Qrels, Run
from rearank_evals.measures.official import means, per_query
from rearank_evals.runs.run_folder import RunFolder

__all__ = ["robustness"]


def robustness(shuffled: Sequence[RunFolder], qrels: Qrels, measure: Any) -> dict[str, Any] | None:
    """How far repetitions with shuffled candidates differ; None without any.

    Returns:
        `k`: their number; `means`: the measure of each; `spread`: their standard deviation, 0 for
        a policy that does not see the order; `correlation`: Kendall's tau-b between the orders of
        two repetitions, the mean over pairs and queries, 1 where all are the same.
    """
    runs = [one.read_run() for one in shuffled]
    if not runs:
        return None
    values = [means(per_query([measure], qrels, run))[str(measure)] for run in runs]
    taus = [_tau(one[q], two[q]) for one, two in combinations(runs, 2) for q in _common(one, two)]
    return {
        "k": len(runs),
        "means": values,
        "spread": pstdev(values),
        "correlation": fmean(taus) if taus else None,
    }


def _common(one: Run, two: Run) -> list[str]:
    """The queries whose orders can be compared."""
    return [query for query, ids in one.items() if len(ids) > 1 and query in two]


def _tau(one: Sequence[str], two: Sequence[str]) -> float:
    ranks = {passage: rank for rank, passage in enumerate(two)}
    return float(kendalltau(range(len(one)), [ranks[passage] for passage in one]).statistic)
