"""Many requests at once."""

import asyncio
from pathlib import Path

from benchmarks.faults.row import Row
from benchmarks.load import Load, body, server
from benchmarks.stub import Stub

__all__ = ["ROWS"]

SECONDS = 8.0
LARGE, SMALL = body(300), body(2)
CALL = 0.25  # seconds of a model's call


def embedded(many: int, folder: Path) -> str:
    """What small requests were answered beside large ones."""
    with server(folder) as one:
        return asyncio.run(_both(many, Load(one.url)))


def model(many: int, folder: Path) -> str:
    """The same with a model that takes eight calls at once."""
    with Stub(CALL) as stub:
        environment = {"VLLM_BASE_URL": stub.url, "REARANK_CALLS": "8"}
        with server(folder, "--policy", "vllm:stub", "--no-cache", **environment) as one:
            return asyncio.run(_both(many, Load(one.url)))


async def _both(many: int, load: Load) -> str:
    alone = await load.clients(1, SMALL, 1.0)
    every = max(0.2, 10 * alone.p50)  # seconds: small requests alone must not fill a slow machine
    for seconds in (SECONDS, 5 * SECONDS):
        large, small = await asyncio.gather(
            load.clients(many, LARGE, seconds), load.clients(4, SMALL, seconds, every)
        )
        if large.seconds:
            break
    assert not small.wrong, small.wrong
    assert small.p99 < max(1.0, 20 * alone.p50), f"p99 of small requests is {small.p99:.2f} s"
    assert large.seconds, "no large request was answered"
    return (
        f"small: p50 {1e3 * small.p50:.0f} ms, p99 {1e3 * small.p99:.0f} ms, none refused; "
        f"{len(large.seconds)} large ones answered in {seconds:g} s"
    )


RECOVERS = (
    "the least work left is next, every tenth turn the oldest request; what was not begun by its "
    "deadline gets 503 with Retry-After"
)
ROWS = (
    *(
        Row(
            fault=f"{many} clients ask for large rankings without a pause",
            tried=f"`/v1/rerank`, {many} clients with 300 documents back to back, four with 2",
            lost="the large ones wait for each other, the small ones for one passage",
            recovers=RECOVERS,
            probe=lambda folder, many=many: embedded(many, folder),
        )
        for many in (7, 64)
    ),
    Row(
        fault="7 clients ask a model for large rankings",
        tried=f"the same of a model server with eight calls at once, {CALL:g} s each",
        lost="the large ones wait for each other, the small ones for one call",
        recovers=RECOVERS,
        probe=lambda folder: model(7, folder),
    ),
)
