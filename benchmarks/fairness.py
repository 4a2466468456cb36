"""Small requests beside large ones on one server, and what the server loses by serving both.

What the small ones are given the large ones cannot have; what is lost is what neither gets: fewer
documents a second, of all requests together, than of large ones alone.

python -m benchmarks.fairness [CHECKOUT]    the same with the code of another checkout, beside it
"""

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.load import ROOT, Load, body, server

SECONDS = 40.0
MANY, FEW = 100, 2
LARGE, SMALL = body(MANY), body(FEW)
EVERY = 0.4  # seconds between a small client's requests: four of them ask ten a second


def main() -> None:
    """Print the table."""
    print(f"large: {MANY} documents of 60 words, back to back")
    print(f"small: {FEW}, four clients, 10 requests a second")
    print(
        f"{'code':>8} {'large':>6} | {'small p50':>9} {'p99':>6} {'none':>5} | documents a second"
    )
    for name, checkout in [("this", ROOT), *(("other", Path(at)) for at in sys.argv[1:])]:
        for many in (7, 64):
            with TemporaryDirectory() as folder, server(Path(folder), checkout=checkout) as one:
                asyncio.run(measured(name, many, Load(one.url)))


async def measured(name: str, many: int, load: Load) -> None:
    """Print a row."""
    await load.clients(1, SMALL, 1.0)
    alone = await load.clients(many, LARGE, SECONDS)
    large, small = await asyncio.gather(
        load.clients(many, LARGE, SECONDS), load.clients(4, SMALL, SECONDS, EVERY)
    )
    large_ones, before = (MANY * len(one.seconds) / SECONDS for one in (large, alone))
    small_ones = FEW * len(small.seconds) / SECONDS
    seen = f"{small.p50:7.2f} s {small.p99:5.2f}s" if small.seconds else f"{'none':>9} {'':6}"
    none = sum(small.wrong.values())
    beside = f"{large_ones:.1f} + {small_ones:.1f} small, {before:.1f} of large ones alone"
    print(f"{name:>8} {many:6} | {seen} {none:5} | {beside} {large.wrong or ''}", flush=True)


if __name__ == "__main__":
    main()
