"""Many requests at once."""

import asyncio
from pathlib import Path

from benchmarks.faults.row import Row
from benchmarks.load import Answers, Load, body, server

__all__ = ["ROWS"]

SECONDS = 8.0
LARGE, SMALL = body(300), body(2)


def small_beside(many: int, folder: Path) -> str:
    """What small requests were answered beside large ones."""
    with server(folder) as url:
        large, small = asyncio.run(_both(many, Load(url)))
    assert not small.wrong, small.wrong
    assert small.p99 < 1, f"p99 of small requests is {small.p99:.2f} s"
    assert large.seconds, "no large request was answered"
    return (
        f"small: p50 {1e3 * small.p50:.0f} ms, p99 {1e3 * small.p99:.0f} ms, none refused; "
        f"{len(large.seconds)} large ones answered in {SECONDS:g} s"
    )


async def _both(many: int, load: Load) -> tuple[Answers, Answers]:
    await load.clients(1, SMALL, 1.0)
    return await asyncio.gather(
        load.clients(many, LARGE, SECONDS), load.clients(4, SMALL, SECONDS, 0.2)
    )


ROWS = tuple(
    Row(
        fault=f"{many} clients ask for large rankings without a pause",
        tried=f"`/v1/rerank`, {many} clients with 300 documents back to back, four others with 2",
        lost="the large ones wait for each other, the small ones for one passage",
        recovers="the least work left is next, every tenth passage of the oldest request; what was "
        "not begun by its deadline gets 503 with Retry-After",
        probe=lambda folder, many=many: small_beside(many, folder),
    )
    for many in (7, 64)
)
