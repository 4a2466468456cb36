"""What processes hold over time: memory, handles, threads, and the size of their stores."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

__all__ = ["FIELDS", "Sample", "Watched", "growth", "watch"]

FIELDS = ("memory", "handles", "threads", "store")
# How much the last fifth may be above the second: a share, and this much on top.
ROOM = {"memory": (0.10, 8.0), "handles": (0.0, 8.0), "threads": (0.0, 3.0)}


@dataclass(frozen=True)
class Sample:
    """One look at a process.

    Attributes:
        at: seconds since the beginning.
        memory: resident, in MB.
        handles: open files, sockets and pipes.
        threads: of the system.
        store: MB of the files in its cache folder.
    """

    at: float
    memory: float
    handles: float
    threads: float
    store: float


@dataclass(frozen=True)
class Watched:
    """A process that is watched."""

    name: str
    pid: int
    cache: Path

    def look(self, begun: float) -> Sample:
        """A sample of it, as Linux tells in /proc."""
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines()
        )
        return Sample(
            at=perf_counter() - begun,
            memory=int(status["VmRSS"].split()[0]) / 1024,
            handles=len(list(Path(f"/proc/{self.pid}/fd").iterdir())),
            threads=int(status["Threads"]),
            store=sum(f.stat().st_size for f in self.cache.rglob("*") if f.is_file()) / 2**20,
        )


async def watch(
    every: float, watched: list[Watched], samples: dict[str, list[Sample]], end: Callable[[], bool]
) -> None:
    """Sample all processes until the end."""
    begun = perf_counter()
    while not end():
        for one in watched:
            samples.setdefault(one.name, []).append(await asyncio.to_thread(one.look, begun))
        await asyncio.sleep(every)


def growth(samples: list[Sample]) -> dict[str, tuple[float, float, bool]]:
    """By field: the median of the second fifth and of the last, and whether that is growth."""
    fifth = max(1, len(samples) // 5)
    found = {}
    for field in FIELDS:
        early = median(getattr(one, field) for one in samples[fifth : 2 * fifth] or samples)
        late = median(getattr(one, field) for one in samples[-fifth:])
        share, more = ROOM.get(field, (0.0, float("inf")))
        found[field] = (early, late, late > early * (1 + share) + more)
    return found
