"""Inputs of several commands: collections with first-stage lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rearank_agent.cli.console import print_note, progress_bar
from rearank_agent.data.collection import Collection

__all__ = ["with_lists"]


def with_lists(found: list[Collection], depth: int, runs: Sequence[Path] = ()) -> list[Collection]:
    """The collections with first-stage lists: of these runs, their own, else BM25's.

    Args:
        found: without lists, or with.
        depth: candidates of each query.
        runs: a TREC run for each collection, in their order; or none.
    """
    from rearank_agent.data.first_stage import first_stage, run_of_each

    listed = []
    for one, run in zip(found, run_of_each(found, runs), strict=True):
        if run or one.lists is None:
            with progress_bar(f"the first stage of {one.name}"):
                first = first_stage(one, depth, run=run, warn=print_note)
            one = replace(one, lists=first.lists, listed=first.name)
        listed.append(one)
    return listed
