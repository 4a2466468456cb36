"""Official values, query by query: what ir_measures says, and nothing of our own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import ir_measures

from rearank_agent.data.trec import Qrels, Run
from rearank_agent.errors import InputError

__all__ = ["DEFAULT", "means", "measures", "per_query"]

DEFAULT = ("nDCG@10", "RR@10", "R@100", "Judged@10")

Values = Mapping[str, Mapping[str, float]]
"""Measure to query to value."""


def measures(names: Iterable[str]) -> list[Any]:
    """The measures of these names, as ir_measures writes them: `nDCG@10`, `RR(rel=2)@10`.

    Each is tried, since some need programs that are not there (perl), and some nothing has.

    Raises:
        InputError: a name is not one of a measure, or it cannot be computed here.
    """
    return [_measure(name) for name in names]


def _measure(name: str) -> Any:
    try:
        measure = ir_measures.parse_measure(name)
        if measure.params.get("cutoff", 1) < 1:
            raise ValueError("it looks at no passage")
        list(ir_measures.iter_calc([measure], {"1": {"a": 1}}, {"1": {"a": 1.0}}))
    except Exception as error:  # whatever a provider raises
        raise InputError(
            f"no measure is called {name!r}, or it cannot be computed here ({error}); there are: "
            f"{', '.join(DEFAULT)}, P@5, AP, RR(rel=2)@10, ... (ir-measur.es)"
        ) from None
    return measure


def per_query(wanted: Sequence[Any], qrels: Qrels, run: Run) -> dict[str, dict[str, float]]:
    """The value of every measure for every judged query; one that is not in the run has 0.

    Args:
        wanted: measures, as `measures` gives them.
        qrels: of the queries that count.
        run: passages of every query, best first.
    """
    falling = {
        query: {passage: -float(rank) for rank, passage in enumerate(ids)}
        for query, ids in run.items()
        if query in qrels and ids
    }
    values = {str(measure): dict.fromkeys(qrels, 0.0) for measure in wanted}
    if not falling:
        return values
    for metric in ir_measures.iter_calc(wanted, _plain(qrels), falling):
        values[str(metric.measure)][metric.query_id] = metric.value
    return values


def means(values: Values) -> dict[str, float]:
    """The mean of every measure over the queries."""
    return {measure: fmean(by_query.values()) for measure, by_query in values.items()}


def _plain(qrels: Qrels) -> dict[str, dict[str, int]]:
    """As ir_measures wants them; grades below -1, which mean the same, corrupt pytrec_eval."""
    return {query: {p: max(grade, -1) for p, grade in of.items()} for query, of in qrels.items()}
