"""A server on loopback with clients that ask as fast as they can, or at a rate."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

import httpx2

__all__ = ["Answers", "Load", "Server", "body", "server"]

ROOT = Path(__file__).parent.parent
QUERY = "how long can an adult flea live without a host"
WORDS = ("flea", "small", "insect", "lives", "blood", "of", "its", "host", "jumps", "far", "and")
PACKAGES = ("", "mcp_server", "evals", "training")


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        url: its address, without a path.
        process: of its own.
        cache: its cache folder.
    """

    url: str
    process: subprocess.Popen[bytes]
    cache: Path


@contextmanager
def server(
    folder: Path, *options: str, checkout: Path = ROOT, **environment: str
) -> Iterator[Server]:
    """`rearank-agent mcp --http` of a checkout, in this folder; its log is server.log there."""
    paths = os.pathsep.join(str(checkout / package) for package in PACKAGES)
    env = {**os.environ, "PYTHONPATH": paths, "REARANK_CACHE": str(folder / "cache"), **environment}
    command = [sys.executable, "-m", "rearank_agent", "mcp", "--http", "127.0.0.1:0", *options]
    log = folder / "server.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(command, cwd=folder, env=env, stderr=errors)
    try:
        yield Server(_address(process, log), process, folder / "cache")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    begun = perf_counter()
    while not (found := re.search(r"http://\S+(?=/mcp)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert perf_counter() - begun < 60, "the server does not start"
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    return found[0]


def body(n: int, words: int = 60) -> bytes:
    """A request to /v1/rerank with n documents, all different."""
    texts = [
        f"{at} " + " ".join(WORDS[(at * 7 + i * (at % 5 + 1)) % len(WORDS)] for i in range(words))
        for at in range(n)
    ]
    return json.dumps({"query": QUERY, "documents": texts, "top_n": 3}).encode()


@dataclass
class Answers:
    """What a kind of client was answered.

    Attributes:
        seconds: of each answer.
        wrong: the answers that were none, by what they were.
    """

    seconds: list[float] = field(default_factory=list)
    wrong: dict[str, int] = field(default_factory=dict)

    @property
    def p50(self) -> float:
        """Seconds."""
        return median(self.seconds)

    @property
    def p99(self) -> float:
        """Seconds."""
        return quantiles(self.seconds, n=100)[98] if len(self.seconds) > 1 else self.seconds[0]


class Load:
    """Clients of a server."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def clients(
        self, many: int, content: bytes, seconds: float, every: float = 0.0
    ) -> Answers:
        """What clients of one kind were answered.

        Args:
            many: how many, each with a connection of its own.
            content: of each request.
            seconds: for how long; answers that end later do not count.
            every: seconds between the beginnings of a client's requests; 0: the next follows at
                once.
        """
        answers = Answers()
        end = perf_counter() + seconds
        await asyncio.gather(*(self._client(content, end, every, answers) for _ in range(many)))
        return answers

    async def _client(self, content: bytes, end: float, every: float, answers: Answers) -> None:
        async with _connection(self.url) as client:
            while (begun := perf_counter()) < end:
                try:
                    async with asyncio.timeout(max(0.0, end - begun)):
                        answer = await client.post("/v1/rerank", content=content)
                except TimeoutError:
                    return
                except httpx2.HTTPError as error:
                    what = type(error).__name__
                else:
                    what = "" if answer.status_code == 200 else str(answer.status_code)
                if what:
                    answers.wrong[what] = answers.wrong.get(what, 0) + 1
                    await asyncio.sleep(0.05)
                else:
                    answers.seconds.append(perf_counter() - begun)
                await asyncio.sleep(max(0.0, begun + every - perf_counter()))


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Content-Type": "application/json"}
    async with httpx2.AsyncClient(
        base_url=url, headers=headers, timeout=120, trust_env=False
    ) as client:
        yield client
