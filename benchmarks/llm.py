"""A model as the policy: our own time, many queries at once, cached replies, schedules.

    python -m benchmarks.llm                            # against a stub server with a delay
    python -m benchmarks.llm --peer PYTHON              # and rerankers in PYTHON
    python -m benchmarks.llm --vllm URL --model NAME    # and a real vLLM server

PYTHON is an interpreter that has rerankers and litellm. Its ranker ranks one range of passages per
call, so it is called nine times for nine windows, each time with the order of the last call. The
lock-step loop is a minimal hand-written client: the same messages posted window after window, all
queries waiting for the slowest; a reply is parsed by one regular expression.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from unittest.mock import patch

import httpx2
from pydantic_ai.direct import model_request
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models import Model
from pydantic_ai.usage import RequestUsage

from benchmarks.stub import Stub, reply
from rearank_agent import Reranker, listwise
from rearank_agent.intake.passages import as_passages
from rearank_agent.llm.chat import Chat
from rearank_agent.llm.policy import LLM
from rearank_agent.policies.cached import Cached
from rearank_agent.store import Store
from rearank_agent.types import Passage, Ranking

ROOT = Path(__file__).parent.parent
QUERY = "how long can a flea live without a host"
SLIDING, WINDOW, STRIDE, WINDOWS = "sliding:20:10", 20, 10, 9
DELAY, CAP = 0.05, 32
ROUNDS = 30

THEIRS = """
import json, os, sys, time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace as Made
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
from rerankers.models import rankgpt_rankers
ranker = rankgpt_rankers.RankGPTRanker("openai/stub", "none", verbose=0)
over_http = rankgpt_rankers.completion
texts = json.loads(sys.stdin.readline())
def rank(query):
    passages, calls = texts, 0
    for start in range(80, -1, -10):
        ranked = ranker.rank(query, passages, rank_start=start, rank_end=start + 20)
        passages, calls = [result.document for result in ranked.results], calls + 1
    assert calls == 9 and len(passages) == 100
print("ready", flush=True)
for line in sys.stdin:
    url, content, queries = json.loads(line)
    os.environ["OPENAI_API_BASE"] = os.environ["OPENAI_BASE_URL"] = url
    now = Made(choices=[Made(message=Made(content=content))])
    rankgpt_rankers.completion = over_http if url else lambda **_: now
    start = time.perf_counter()
    if queries == 1:
        rank("query 0")
    else:
        with ThreadPoolExecutor(queries) as pool:
            list(pool.map(rank, [f"query {i}" for i in range(queries)]))
    print(time.perf_counter() - start, flush=True)
"""

Side = Callable[[], Awaitable[object]]


def passages(count: int = 100, min_words: int = 40, spread: int = 41) -> list[str]:
    """Slices of this project's own texts, as in benchmarks.embedded."""
    names = ("LICENSE", "docs/architecture.md", "README.md")
    words = " ".join((ROOT / name).read_text() for name in names).split()
    starts = ((i * 37) % (len(words) - 80) for i in range(count))
    return [" ".join(words[at:][: min_words + i * 7 % spread]) for i, at in enumerate(starts)]


class Peer:
    """rerankers in an interpreter of its own, which does one measurement after the other."""

    def __init__(self, python: str, texts: list[str]) -> None:
        pipe = subprocess.PIPE
        command = [python, "-W", "ignore", "-c", THEIRS]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.send(texts)

    def send(self, what: object) -> str:
        """Send a value; its reply."""
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def side(self, url: str = "", content: str = "", queries: int = 1) -> Side:
        """A side that returns the seconds it took."""

        async def seconds() -> float:
            return float(self.send([url, content, queries]))

        return seconds


class LockStep:
    """A minimal client: every query waits for the slowest before the next window."""

    def __init__(self, url: str = "", content: str = "", **settings: object) -> None:
        limits = httpx2.Limits(
            max_connections=CAP,
            max_keepalive_connections=CAP,
            keepalive_expiry=2.0,  # vLLM closes after five seconds
        )
        self.client = httpx2.AsyncClient(limits=limits, timeout=None)
        self.url, self.content = f"{url}/chat/completions" if url else "", content
        defaults = {"model": "stub", "max_tokens": 2048, "temperature": 0.0, "seed": 0}
        self.settings = {**defaults, **settings}
        self.calls = 0

    async def post(self, messages: tuple) -> str:
        """The reply."""
        self.calls += 1
        if not self.url:
            return self.content
        body = {**self.settings, "messages": messages}
        answer = (await self.client.post(self.url, json=body)).json()
        return answer["choices"][0]["message"]["content"]

    async def step(self, query: str, order: list[Passage], end: int) -> None:
        """One window of one query; it ends before `end`."""
        start = max(0, end - WINDOW)
        window = order[start:end]
        answer = (await self.post(listwise.build_prompt(query, window).messages)).rpartition(
            "<answer>"
        )[2]
        listed = dict.fromkeys(int(number) - 1 for number in re.findall(r"\[(\d+)\]", answer))
        best = [i for i in listed if 0 <= i < len(window)]
        rest = [i for i in range(len(window)) if i not in listed]
        order[start:end] = [window[i] for i in best + rest]

    async def rank(self, requests: list[tuple[str, list[str]]]) -> None:
        """All queries, window by window."""
        orders = [(query, list(as_passages(texts)), [len(texts)]) for query, texts in requests]
        while waiting := [each for each in orders if each[2][0] > 0]:
            await asyncio.gather(*(self.step(query, o, end[0]) for query, o, end in waiting))
            for _, _, end in waiting:
                end[0] = end[0] - STRIDE if end[0] > WINDOW else 0


class AtOnce(Model):
    """A model that takes no time, to measure everything around it."""

    model_name, system = "at-once", "none"

    def __init__(self, content: str) -> None:
        super().__init__()
        self.content = content

    async def request(self, *_: object) -> ModelResponse:
        """The reply."""
        usage = RequestUsage(input_tokens=2000, output_tokens=200)
        return ModelResponse([TextPart(self.content)], usage=usage)


def served(url: str, name: str = "stub", **settings: object) -> LLM:
    """The policy of a served model."""
    os.environ["VLLM_BASE_URL"] = url
    return LLM(f"vllm:{name}", **settings)


async def ranked(reranker: Reranker, query: str, texts: list[str]) -> Ranking:
    """A ranking; exits if a window was not judged, which would only look fast."""
    ranking = await reranker.rerank(query, texts)
    lost = [fault for fault in ranking.faults if fault.kind in ("failed", "unreadable", "reasked")]
    if lost or ranking.partial:
        raise SystemExit(f"not every window was judged: {lost}")
    return ranking


async def in_turn(
    sides: dict[str, Side], rounds: int, after: Callable[[str], object] = lambda _: None
) -> dict[str, list[float]]:
    """The seconds of every side, run in turn; the first round is a warm-up.

    A side that returns a number has measured itself. `after` is called with the name of each run.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds + 1):
        for name, side in sides.items():
            start = perf_counter()
            taken = await side()
            seconds[name].append(taken if isinstance(taken, float) else perf_counter() - start)
            after(name)
    return {name: values[1:] for name, values in seconds.items()}


async def own_time(texts: list[str], peer: Peer | None) -> None:
    """Print what nine windows cost beside the model."""
    print(f"own time of a rerank of 100 passages in 9 windows; ms, {ROUNDS} runs, in turn")
    columns: list[dict[str, list[float]]] = []
    for thought in (False, True):
        content = reply(WINDOW, thought)
        with Stub(thought=thought) as stub:
            for url in ("", stub.url):
                model = served(url) if url else LLM(AtOnce(content))
                ours, hand = Reranker(model, schedule=SLIDING), LockStep(url, content)
                sides: dict[str, Side] = {
                    "rearank-agent": lambda ours=ours: ranked(ours, QUERY, texts),
                    "lock-step loop": lambda hand=hand: hand.rank([(QUERY, texts)]),
                } | ({"rerankers": peer.side(url, content)} if peer else {})
                columns.append(await in_turn(sides, ROUNDS))
                if url:
                    calls = stub.count()["calls"]
                    assert calls == WINDOWS * len(sides) * (ROUNDS + 1), calls
    print(f"{'answer alone':>22}{'with a thought':>22}")
    print(f"{'at once':>11}{'over HTTP':>11}" * 2)
    for label, statistic in (("median", median), ("fastest", min)):
        for name in columns[0]:
            cells = (f"{1000 * statistic(column[name]):11.2f}" for column in columns)
            print("".join(cells), f" {label:8}{name}")


class Clock:
    """The seconds spent in functions, by name."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def around(self, name: str, function: Callable) -> Callable:
        """The function, timed."""

        def called(*args: object, **named: object) -> object:
            start = perf_counter()
            try:
                return function(*args, **named)
            finally:
                self.spent[name] = self.spent.get(name, 0.0) + perf_counter() - start

        async def awaited(*args: object, **named: object) -> object:
            start = perf_counter()
            try:
                return await function(*args, **named)
            finally:
                self.spent[name] = self.spent.get(name, 0.0) + perf_counter() - start

        return awaited if asyncio.iscoroutinefunction(function) else called


PARTS = {
    "build_prompt": listwise.build_prompt,
    "parse_reply": listwise.parse_reply,
    "model_request": model_request,
}


@contextmanager
def clocked() -> Iterator[dict[str, float]]:
    """The seconds spent in the parts, wherever the package has imported them."""
    clock = Clock()
    with ExitStack() as stack:
        for name, function in PARTS.items():
            for user in [m for n, m in sys.modules.items() if n.startswith("rearank_agent.")]:
                if user is not listwise and getattr(user, name, None) is function:
                    stack.enter_context(patch.object(user, name, clock.around(name, function)))
        generate = clock.around("generate", Chat.generate)
        stack.enter_context(patch.object(Chat, "generate", generate))
        yield clock.spent


async def breakdown(texts: list[str]) -> None:
    """Print where our own time goes."""
    heads = ("ask", "messages", "request", "read", "the rest", "all")
    print("\nwhere ours goes, at once; ms a rerank, medians (the clocks add a little)")
    print("".join(f"{head:>10}" for head in heads))
    for thought, name in ((False, "answer alone"), (True, "with a thought")):
        ours = Reranker(LLM(AtOnce(reply(WINDOW, thought))), schedule=SLIDING)
        runs: list[tuple[float, ...]] = []
        for _ in range(ROUNDS):
            with clocked() as spent:
                start = perf_counter()
                await ranked(ours, QUERY, texts)
                every = perf_counter() - start
            build, parse = spent["build_prompt"], spent["parse_reply"]
            generate, request = spent["generate"], spent["model_request"]
            rest = every - build - generate - parse
            runs.append((build, generate - request, request, parse, rest, every))
        medians = (median(values) for values in zip(*runs, strict=True))
        print("".join(f"{1000 * value:10.2f}" for value in medians), "", name)


async def floors(texts: list[str], peer: Peer | None) -> None:
    """Print the time of many queries at once, and the minimum that server and cap allow."""
    print(f"\nmany queries at once, {DELAY * 1000:.0f} ms a call, {CAP} calls in flight at most")
    print(f"{'queries':>8} {'floor':>8} {'wall':>8} {'ratio':>6} {'in flight':>9}")
    with Stub(DELAY) as stub:
        reranker, hand = Reranker(served(stub.url), schedule=SLIDING), LockStep(stub.url)
        for queries in (8, 64):
            requests = [(f"query {i}", texts) for i in range(queries)]

            async def ours(requests=requests) -> None:
                await asyncio.gather(*(ranked(reranker, *request) for request in requests))

            sides: dict[str, Side] = {
                "rearank-agent": ours,
                "lock-step loop": lambda requests=requests: hand.rank(requests),
            }
            if peer and queries <= 8:
                sides["rerankers in threads"] = peer.side(stub.url, queries=queries)
            floor = DELAY * WINDOWS * max(1, queries / CAP)
            in_flight: dict[str, int] = {}

            def count_calls(name: str, in_flight: dict[str, int] = in_flight) -> None:
                in_flight[name] = stub.count()["max_in_flight"]

            walls = await in_turn(sides, 5, count_calls)
            for name, values in walls.items():
                wall = median(values)
                print(
                    f"{queries:8} {floor:6.2f} s {wall:6.2f} s {wall / floor:6.2f} "
                    f"{in_flight[name]:9}  {name}"
                )


async def again(texts: list[str]) -> None:
    """Print the time of the same query twice, with cached replies."""
    print(f"\nthe same query twice, {DELAY * 1000:.0f} ms a call; medians of 5 fresh stores")
    print(f"{'calls':>8} {'time':>9}")
    rows: dict[str, list[tuple[int, float]]] = {"first": [], "again": []}
    with Stub(DELAY) as stub, tempfile.TemporaryDirectory() as folder:
        for number in range(5):
            cached = Cached(served(stub.url), Store(Path(folder, f"{number}.sqlite")))
            reranker = Reranker(cached, schedule=SLIDING)
            for row in rows.values():
                start = perf_counter()
                await ranked(reranker, QUERY, texts)
                seconds = perf_counter() - start
                row.append((stub.count()["calls"], seconds))
    for name, row in rows.items():
        calls, seconds = (median(values) for values in zip(*row, strict=True))
        print(f"{calls:8.0f} {1000 * seconds:6.1f} ms  {name}")


async def schedules(texts: list[str]) -> None:
    """Print the time of schedules with many and with few turns, for one query."""
    print(f"\nsliding and tournament, {DELAY * 1000:.0f} ms a call; medians of 5, in turn")
    print(f"{'calls':>8} {'turns':>6} {'wall':>8}")
    with Stub(DELAY) as stub:
        model = served(stub.url)
        rerankers = {name: Reranker(model, schedule=name) for name in (SLIDING, "tournament:20")}
        usage = {name: (await ranked(each, QUERY, texts)).usage for name, each in rerankers.items()}
        walls = await in_turn(
            {n: lambda each=each: ranked(each, QUERY, texts) for n, each in rerankers.items()}, 5
        )
    for name, values in walls.items():
        print(f"{usage[name].calls:8} {usage[name].turns:6} {median(values):6.2f} s  {name}")


async def real(url: str, name: str) -> None:
    """Print queries per second of a real server, all at once and in lock-step.

    Replies are constrained to one to ten identifiers, so that any model's can be parsed and none is
    asked for again; every run has its own queries, since a server caches prompt prefixes.
    """
    url = url.rstrip("/")
    url = url if url.endswith("/v1") else f"{url}/v1"
    budget, rounds = 64, 3
    texts = [passages(20 + 80 * i // 15, 20, 11) for i in range(16)]
    number = count()
    print(f"\na real server, {name}: 16 queries of 20 to 100 passages, {budget} tokens a reply")
    print(
        f"{'queries/s':>10} {'calls/s':>8} {'calls':>6} {'wall':>8}   medians of {rounds}, in turn"
    )
    constraint = {"structured_outputs": {"regex": r"<answer>\[[1-9]\]( > \[[1-9]\]){0,9}</answer>"}}
    model = served(url, name, budget=budget)
    model.chat.generate = partial(model.chat.generate, extra_body=constraint)
    hand = LockStep(url, model=name, max_tokens=budget, **constraint)
    calls: dict[str, int] = {}

    def ours(schedule: str) -> Side:
        reranker = Reranker(model, schedule=schedule)

        async def side() -> None:
            running = (ranked(reranker, f"query {next(number)}", each) for each in texts)
            done = await asyncio.gather(*running)
            calls[f"rearank-agent {schedule}"] = sum(ranking.usage.calls for ranking in done)

        return side

    async def theirs() -> None:
        hand.calls = 0
        await hand.rank([(f"query {next(number)}", each) for each in texts])
        calls["lock-step loop"] = hand.calls

    sides: dict[str, Side] = {f"rearank-agent {s}": ours(s) for s in (SLIDING, "tournament:20")}
    for side, values in (await in_turn(sides | {"lock-step loop": theirs}, rounds)).items():
        wall = median(values)
        rate, called = len(texts) / wall, calls[side] / wall
        print(f"{rate:10.2f} {called:8.1f} {calls[side]:6} {wall:6.2f} s  {side}")


async def run(args: argparse.Namespace) -> None:
    """Print the tables."""
    texts = passages()
    peer = Peer(args.peer, texts) if args.peer else None
    await own_time(texts, peer)
    await breakdown(texts)
    await floors(texts, peer)
    await again(texts)
    await schedules(texts)
    if args.vllm:
        await real(args.vllm, args.model)


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peer", help="an interpreter with rerankers and litellm")
    parser.add_argument("--vllm", help="the address of a real vLLM server")
    parser.add_argument("--model", default="", help="what it serves")
    args = parser.parse_args()
    if args.vllm and not args.model:
        parser.error("--vllm needs --model")
    asyncio.run(run(args))


if __name__ == "__main__":
    main()
