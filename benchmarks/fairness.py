"""Small requests beside large ones on one server, and what the large ones lose.

python -m benchmarks.fairness [CHECKOUT]    the same with the code of another checkout, beside it
"""

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.load import ROOT, Load, body, server

SECONDS = 25.0
LARGE, SMALL = body(300), body(2)
EVERY = 0.4  # seconds between a small client's requests: four of them ask ten a second


def main() -> None:
    """Print the table."""
    print(f"large: {300} documents of 60 words, back to back; small: 2, four clients, 10 a second")
    print(f"{'code':>8} {'large':>6} | {'small p50':>9} {'p99':>6} {'none':>5} | large a minute")
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
    rate, of = (60 * len(one.seconds) / SECONDS for one in (large, alone))
    seen = f"{small.p50:7.2f} s {small.p99:5.2f}s" if small.seconds else f"{'none':>9} {'':6}"
    none = sum(small.wrong.values())
    beside = f"{rate:5.0f} beside small, {of:5.0f} alone"
    print(f"{name:>8} {many:6} | {seen} {none:5} | {beside} {large.wrong or ''}", flush=True)


if __name__ == "__main__":
    main()
