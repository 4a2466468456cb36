"""Mixed load on every door, and what it leaves behind; exit 1 on an error or on growth.

python -m benchmarks.endurance --vllm PATH/bin/vllm [--minutes 60] [--plot docs/endurance.svg]

Over HTTP and stdio on the embedded policy, and over HTTP on a tiny random model behind a real vLLM,
which is killed and started again in between. Everything is on loopback, bounded in time.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

import httpx2

from benchmarks.endurance.clients import Door, Wire, agent, loop, posted
from benchmarks.endurance.plot import plot
from benchmarks.endurance.watch import Sample, Watched, growth, watch
from benchmarks.load import ROOT, server
from benchmarks.serving import Serving

EXAMPLES = str(ROOT / "examples")
BUSY = "status 503"
EXPECTED = ("whole", "partial", BUSY)
"""Outcomes that are promised: at the deadline the best order until then, or another try."""
SMALL = ": 2 documents"
"""Of these some must be whole, however slow the machine is."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm", required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    samples: dict[str, list[Sample]] = {}
    kills: list[float] = []
    with TemporaryDirectory() as folder, ExitStack() as stack:
        serving = Serving(given.vllm, Path(folder), one_core=True)
        serving.start()
        stack.callback(serving.stop)
        doors, watched = started(Path(folder), serving.url, stack)
        seconds = 60 * given.minutes
        asyncio.run(endure(seconds, doors, watched, samples, serving, kills))
    broken = [*shown(doors, seconds), *held(samples)]
    if given.plot:
        plot(given.plot, doors, samples, kills)
    print(f"vLLM was killed {len(kills)} times")
    print("\n".join(f"BROKEN: {one}" for one in broken) or "no errors, no growth")
    return 1 if broken else 0


def started(folder: Path, model: str, stack: ExitStack) -> tuple[list[Door], list[Watched]]:
    """The servers, and the clients of each."""
    first, second, third = (folder / name for name in ("embedded", "model", "stdio"))
    for each in (first, second, third):
        each.mkdir()
    one = stack.enter_context(server(first, "--root", EXAMPLES))
    options = ("--policy", "vllm:tiny", "--no-think")
    two = stack.enter_context(server(second, *options, VLLM_BASE_URL=model))
    wire = stack.enter_context(over_stdio(third))
    clients = {at: httpx2.AsyncClient(base_url=at, timeout=120) for at in (one.url, two.url)}
    doors = [
        *(Door("embedded, HTTP: 2 documents", posted(clients[one.url], 2), 0.5) for _ in range(2)),
        Door("embedded, HTTP: 50 documents", posted(clients[one.url], 50), 1.0),
        Door("embedded, HTTP: 300 documents", posted(clients[one.url], 300), 2.0),
        Door("embedded, MCP: rerank, search, explain", agent(one.url), 1.0),
        Door("embedded, stdio: rerank or search", wire.ask, 1.0),
        Door("model, HTTP: 2 documents", posted(clients[two.url], 2), 1.0),
        Door("model, HTTP: 50 documents", posted(clients[two.url], 50), 2.0),
    ]
    watched = [
        Watched("embedded, HTTP", one.process.pid, one.cache),
        Watched("model, HTTP", two.process.pid, two.cache),
        Watched("embedded, stdio", wire.process.pid, wire.cache),
    ]
    return doors, watched


@contextmanager
def over_stdio(folder: Path) -> Iterator[Wire]:
    """A server on stdin and stdout that ends in order."""
    wire = Wire(folder, Path(EXAMPLES))
    try:
        yield wire
    finally:
        assert wire.end() == 0


async def endure(
    seconds: float,
    doors: list[Door],
    watched: list[Watched],
    samples: dict[str, list[Sample]],
    serving: Serving,
    kills: list[float],
) -> None:
    """Run all clients, with a kill of the model's server about every fifth of the time."""
    begun = perf_counter()

    def end() -> bool:
        return perf_counter() - begun > seconds

    await asyncio.gather(
        watch(max(1.0, seconds / 600), watched, samples, end),
        killing(serving, max(60.0, min(300.0, seconds / 5)), begun, end, kills),
        *(loop(door, begun, end) for door in doors),
    )


async def killing(
    serving: Serving, every: float, begun: float, end: Callable[[], bool], kills: list[float]
) -> None:
    """Kill the model's server, and start it again ten seconds later."""
    following = begun + every
    while not end():
        if perf_counter() > following:
            kills.append(perf_counter() - begun)
            await asyncio.to_thread(serving.kill)
            await asyncio.sleep(10)
            await asyncio.to_thread(serving.start)
            following = perf_counter() + every
        await asyncio.sleep(0.5)


def shown(doors: list[Door], seconds: float) -> list[str]:
    """Print what was answered, by kind of request; the errors."""
    broken = []
    print(f"{'a minute':>8} {'p50':>7} {'p99':>7} {'partial':>8} {'busy':>5} {'errors':>6}")
    for name in dict.fromkeys(door.name for door in doors):
        answers = [answer for door in doors if door.name == name for answer in door.answers]
        taken = [answer.seconds for answer in answers]
        outcomes = Counter(answer.outcome for answer in answers)
        wrong = {what: n for what, n in outcomes.items() if what not in EXPECTED}
        p99 = quantiles(taken, n=100)[98] if len(taken) > 1 else taken[0]
        print(
            f"{60 * len(taken) / seconds:8.1f} {median(taken):6.2f}s {p99:6.2f}s "
            f"{outcomes['partial']:8} {outcomes[BUSY]:5} {sum(wrong.values()):6}  {name}"
        )
        if wrong:
            broken.append(f"{name}: {wrong}")
        if SMALL in name and not outcomes["whole"]:
            broken.append(f"{name}: none whole")
    return broken


def held(samples: dict[str, list[Sample]]) -> list[str]:
    """Print what the processes held after a fifth of the time and at the end; what grew."""
    broken = []
    for name, of in samples.items():
        fields = growth(of)
        cells = (f"{field} {early:.0f} to {late:.0f}" for field, (early, late, _) in fields.items())
        print(f"{name}: {', '.join(cells)}")
        broken += [f"{name}: {field} grew" for field, (_, _, grew) in fields.items() if grew]
    return broken


if __name__ == "__main__":
    sys.exit(main())
