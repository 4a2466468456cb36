"""Search over files: retrieve by words and by meaning, then rerank, within one deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING
from uuid import uuid4

from rearank_agent.errors import BusyError
from rearank_agent.reranker import Reranker
from rearank_agent.types import Fault, Ranking

if TYPE_CHECKING:
    from rearank_agent.search.library import Library
    from rearank_agent.search.result import SearchResult

__all__ = ["Progress", "find", "share_fault"]

_PROGRESS_INTERVAL = 0.2  # seconds

Progress = Callable[[str, int, int], None]
"""Called with the current work, how much of it is done, and how much there is."""


async def find(
    reranker: Reranker,
    library: Library,
    query: str,
    *,
    within: str = "",
    instruction: str = "",
    depth: int = 50,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """The passages of a library, reranked; none where no passage is near and none has a word.

    Args:
        within: a folder or file below the library's roots; "" for all of them.
        depth: how many passages are handed to the policy.
        deadline: seconds for all of it. Reading goes on in the background after that, so that
            asking again gets further.
        progress: called on the event loop.

    Raises:
        InputError: an empty query, or a path outside the roots.
        BusyError: the deadline came while files were still being read.
    """
    start = perf_counter()
    found = await _retrieve(library, query, depth, within, deadline, progress)
    given = found.faults
    if library.background and found.share < 1:
        given += share_fault(found, "more are made in the background")
        library.background.start([one.content for one in found.passages])
    if not found.passages:
        where = f" below {within:.80}" if within else ""
        detail = f"no file{where} holds a word of the query or is near it"
        faults, fingerprint = (*given, Fault("nothing", (), detail)), reranker.policy.fingerprint
        return Ranking(uuid4().hex[:12], query, instruction, fingerprint, "", (), faults=faults)
    n = len(found.passages)
    ranking = await reranker.rerank(
        query,
        found.passages,
        instruction=instruction,
        blend=reranker.policy.blend * found.words_weight,
        blend_by="score",
        deadline=None if deadline is None else max(0.0, deadline - (perf_counter() - start)),
        progress=progress and partial(progress, f"ranking {n} passages: turn"),
    )
    return replace(ranking, faults=(*given, *ranking.faults))


def share_fault(found: SearchResult, remedy: str) -> tuple[Fault, ...]:
    """The fault of a search in which only a share of the passages has vectors, and the remedy.

    None where a cache cannot be used: that has a fault of its own, and no such remedy.
    """
    if found.share >= 1 or any(fault.kind == "cache" for fault in found.faults):
        return ()
    share = f"{int(100 * found.share)}% of the passages can be found by meaning"
    return (Fault("vectors", (), f"{share}, the others by words; {remedy}"),)


async def _retrieve(
    library: Library,
    query: str,
    depth: int,
    within: str,
    limit: float | None,
    progress: Progress | None,
) -> SearchResult:
    """What the library finds, from its thread."""
    loop = asyncio.get_running_loop()
    done, last = (0, 0), 0.0

    def report(read: int, total: int) -> None:
        nonlocal done, last
        done = (read, total)
        if progress and perf_counter() - last > _PROGRESS_INTERVAL:
            last = perf_counter()
            with suppress(RuntimeError):  # the loop was closed in the meantime
                loop.call_soon_threadsafe(progress, "reading files", read, total)

    search = loop.run_in_executor(library.worker, library.search, query, depth, within, report)
    try:
        async with asyncio.timeout(limit):
            return await search
    except TimeoutError:
        state = (
            "{:,} of {:,} files are read".format(*done) if done[1] else "another search is first"
        )
        raise BusyError(
            f"the files are still being read ({state}); ask again in a moment"
        ) from None
