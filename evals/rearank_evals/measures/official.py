"""Official measures per query, computed by ir_measures alone."""

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
"""{measure: {query: value}}."""


def measures(names: Iterable[str]) -> list[Any]:
    """The measures of these names, as ir_measures writes them: `nDCG@10`, `RR(rel=2)@10`.

    Each is tried, since some need programs that may be missing (perl), and some have no provider.

    Raises:
        InputError: there is no measure of a name, or it cannot be computed here.
    """
    return [_measure(name) for name in names]


def _measure(name: str) -> Any:
    try:
        measure = ir_measures.parse_measure(name)
        if measure.params.get("cutoff", 1) < 1:
            raise ValueError("its cutoff is below 1")
        list(ir_measures.iter_calc([measure], {"1": {"a": 1}}, {"1": {"a": 1.0}}))
    except Exception as error:  # whatever a provider raises
        raise InputError(
            f"no measure is called {name!r}, or it cannot be computed here ({error}); examples: "
            f"{', '.join(DEFAULT)}, P@5, AP, RR(rel=2)@10, ... (ir-measur.es)"
        ) from None
    return measure


def per_query(wanted: Sequence[Any], qrels: Qrels, run: Run) -> dict[str, dict[str, float]]:
    """The value of every measure for every judged query; 0 for a query that is not in the run.

    Args:
        wanted: measures, as `measures` returns them.
        qrels: of the queries that are measured.
        run: passage ids of every query, best first.
    """
    scores = {
        query: {passage: -float(rank) for rank, passage in enumerate(ids)}
        for query, ids in run.items()
        if query in qrels and ids
    }
    values = {str(measure): dict.fromkeys(qrels, 0.0) for measure in wanted}
    if not scores:
        return values
    for metric in ir_measures.iter_calc(wanted, _clamped(qrels), scores):
        values[str(metric.measure)][metric.query_id] = metric.value
    return values


def means(values: Values) -> dict[str, float]:
    """The mean of every measure over the queries."""
    return {measure: fmean(by_query.values()) for measure, by_query in values.items()}


def _clamped(qrels: Qrels) -> dict[str, dict[str, int]]:
    """Grades of -1 or more: lower ones, which mean the same, corrupt memory in pytrec_eval."""
    return {query: {p: max(grade, -1) for p, grade in of.items()} for query, of in qrels.items()}
