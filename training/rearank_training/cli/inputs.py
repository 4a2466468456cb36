"""Inputs of several commands: collections with first-stage lists."""

from __future__ import annotations

from dataclasses import replace

from rearank_agent.cli.console import progress_bar
from rearank_agent.data.collection import Collection

__all__ = ["with_lists"]


def with_lists(found: list[Collection], depth: int) -> list[Collection]:
    """The collections, with BM25's lists where one has none; `depth` candidates each."""
    from rearank_agent.data.first_stage import first_stage

    listed = []
    for one in found:
        if one.lists is None:
            with progress_bar(f"the first stage of {one.name}"):
                first = first_stage(one, depth)
            one = replace(one, lists=first.lists, listed=first.name)
        listed.append(one)
    return listed
