"""The MCP server: sizes, start, latency, pings during a rerank, many clients.

python -m benchmarks.mcp
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

import httpx2
from mcp import Client, StdioServerParameters

ROOT = Path(__file__).parent.parent
PROGRAM = str(Path(sys.executable).parent / "rearank-agent")
QUERY = "how long can an adult flea live without a host"
WORDS = (
    "flea",
    "small",
    "insect",
    "lives",
    "blood",
    "of",
    "its",
    "host",
    "jumps",
    "far",
    "and",
    "bites",
)
STARTS, CALLS, CLIENTS, EACH = 5, 60, 32, 5


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["REARANK_CACHE"] = cache
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        warnings.simplefilter("ignore")  # the new protocol has no ping; the old one is used
        sizes()
        starts()
        asyncio.run(latencies())


def passages(n: int) -> list[str]:
    """Texts of 60 words, all different."""
    return [f"{at} " + " ".join(WORDS[(at + i) % len(WORDS)] for i in range(59)) for at in range(n)]


class Wire:
    """A raw JSON-RPC client over stdio that counts what is not JSON."""

    def __init__(self, command=(PROGRAM, "mcp"), **environment: str) -> None:
        pipe, env = subprocess.PIPE, {**os.environ, **environment}
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT, env=env)
        self.foreign, self.number, self.sent, self.got = 0, 0, 0, 0

    def ask(self, method: str, **params: object) -> dict:
        """The answer to a request."""
        self.number += 1
        request = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        line = json.dumps(request, ensure_ascii=False).encode() + b"\n"
        self.process.stdin.write(line)
        self.process.stdin.flush()
        self.sent = len(line)
        while True:
            if not (line := self.process.stdout.readline()):
                raise EOFError("the server has ended")
            try:
                answer = json.loads(line)
            except ValueError:
                self.foreign += len(line)
                continue
            if answer.get("id") == self.number:
                self.got = len(line)
                return answer["result"]

    def begin(self) -> None:
        """Initialize the session."""
        client = {"name": "benchmark", "version": "1"}
        self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)

    def rerank(self, n: int, **more: object) -> dict:
        """Rerank n passages."""
        arguments = {"query": QUERY, "passages": passages(n), **more}
        return self.ask("tools/call", name="rerank", arguments=arguments)

    def end(self) -> None:
        """Close stdin and wait for the server to exit."""
        self.process.stdin.close()
        self.foreign += len(self.process.stdout.read())
        self.process.wait()


def sizes() -> None:
    """Print the bytes of the tools, and of a hundred passages in and out."""
    wire = Wire()
    wire.begin()
    for tool in wire.ask("tools/list")["tools"]:
        entry = json.dumps(tool, ensure_ascii=False, separators=(",", ":")).encode()
        print(f"{len(entry):10,} bytes  entry of {tool['name']}")
    for top_k in (10, 100):
        wire.rerank(100, top_k=top_k)
        print(f"{wire.sent:10,} bytes  in, 100 passages of 60 words")
        print(f"{wire.got:10,} bytes  out, top_k={top_k}")
    wire.end()
    print(f"{wire.foreign:10,} bytes  on stdout that are not JSON-RPC")


def starts() -> None:
    """Print the seconds to the end of the handshake, and to the first ranking."""
    with tempfile.TemporaryDirectory() as empty:
        first = started(PYTHONPYCACHEPREFIX=empty)
    warm = [started() for _ in range(STARTS)]
    for name, times in (("first time, no bytecode", [first]), (f"warm, median of {STARTS}", warm)):
        print(f"{median(shook for shook, _ in times):10.2f} s      start, {name}")
        print(f"{median(done for _, done in times):10.2f} s      first answer (20), {name}")


def started(**environment: str) -> tuple[float, float]:
    """Seconds from the start of the process to the handshake, and to the first answer."""
    start = perf_counter()
    wire = Wire(**environment)
    wire.begin()
    shook = perf_counter() - start
    wire.rerank(20)
    done = perf_counter() - start
    wire.end()
    return shook, done


async def latencies() -> None:
    """Print milliseconds of a rerank and of a ping during one; many clients at once."""
    async with over_stdio() as client:
        for n in (20, 100):
            print(f"{shown(await timed(tool, client, n))}  rerank of {n} over stdio")
        print(f"{shown(await pinged(client))}  ping during a rerank of 1,000 over stdio")
    async with over_http() as url:
        async with Client(url) as client:
            for n in (20, 100):
                print(f"{shown(await timed(tool, client, n))}  rerank of {n} over HTTP")
        async with httpx2.AsyncClient(base_url=url.removesuffix("/mcp"), timeout=60) as client:
            for n in (20, 100):
                print(f"{shown(await timed(posted, client, n))}  rerank of {n} over /v1/rerank")
        async with Client(url, mode="legacy") as client:
            print(f"{shown(await pinged(client))}  ping during a rerank of 1,000 over HTTP")
        await many(url)


def over_stdio():
    """A client of a server on stdin and stdout."""
    server = StdioServerParameters(command=PROGRAM, args=["mcp"], env=dict(os.environ))
    return Client(server, mode="legacy")


@asynccontextmanager
async def over_http():
    """A server over HTTP; gives its URL."""
    command = [PROGRAM, "mcp", "--http", "127.0.0.1:0"]
    with subprocess.Popen(  # noqa: ASYNC220
        command, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        yield re.search(r"http://\S+/mcp", process.stderr.readline())[0]
        process.terminate()


async def timed(rerank, client, n) -> list[float]:
    """Seconds of each call, without the first five."""
    times = []
    for _ in range(CALLS):
        start = perf_counter()
        await rerank(client, n)
        times.append(perf_counter() - start)
    return times[5:]


async def tool(client, n) -> None:
    """Rerank n passages by the MCP tool."""
    result = await client.call_tool("rerank", {"query": QUERY, "passages": passages(n)})
    assert not result.is_error


async def posted(client, n) -> None:
    """Rerank n documents by the REST API."""
    sent = {"query": QUERY, "documents": passages(n), "top_n": 10, "rationale": True}
    (await client.post("/v1/rerank", json=sent)).raise_for_status()


async def pinged(client) -> list[float]:
    """Seconds of each ping during a large rerank."""
    arguments = {"query": QUERY, "passages": passages(1_000), "top_k": 10}
    times = []
    for _ in range(3):
        ranking = asyncio.create_task(client.call_tool("rerank", arguments))
        await asyncio.sleep(0.1)
        while not ranking.done():
            start = perf_counter()
            await client.send_ping()
            times.append(perf_counter() - start)
            await asyncio.sleep(0.01)
    return times


async def many(url) -> None:
    """Print throughput and errors of many clients at once, each with its own connection."""

    async def one() -> int:
        async with Client(url) as client:
            arguments = {"query": QUERY, "passages": passages(20)}
            results = [await client.call_tool("rerank", arguments) for _ in range(EACH)]
        return sum(r.is_error or r.structured_content["partial"] for r in results)

    start = perf_counter()
    wrong = await asyncio.gather(*(one() for _ in range(CLIENTS)), return_exceptions=True)
    seconds = perf_counter() - start
    errors = sum(EACH if isinstance(one, BaseException) else one for one in wrong)
    rate = CLIENTS * EACH / seconds
    print(f"{rate:10.0f} /s     reranks of 20 by {CLIENTS} HTTP clients at once, {errors} errors")


def shown(times: list[float]) -> str:
    """The median and the 99th percentile, in milliseconds."""
    return f"{1e3 * median(times):10.1f} ms {1e3 * quantiles(times, n=100)[98]:8.1f} p99"


if __name__ == "__main__":
    main()
