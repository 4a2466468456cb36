"""Clients of every door, each in a loop until the end."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx2
from mcp import Client

__all__ = ["Answer", "Door", "Wire", "agent", "loop", "posted"]

WORDS = ("flea", "insect", "lives", "blood", "its", "host", "jumps", "far", "and", "bites", "cat", "or",
         "harbour", "tide", "ship", "anchor", "rope", "deck", "storm", "crew", "salt", "lamp")  # fmt: skip
QUERIES = ("how long can a flea live", "when is high tide in the harbour", "who bites a dog")


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes:
        at: seconds from the beginning to its end.
        seconds: it took.
        outcome: "whole", "partial", or what went wrong.
    """

    at: float
    seconds: float
    outcome: str


@dataclass
class Door:
    """A kind of request, and what was answered.

    Attributes:
        name: where it goes, and how large it is.
        ask: sends one; returns its outcome.
        pause: seconds between an answer and the next request.
    """

    name: str
    ask: Callable[[], Awaitable[str]]
    pause: float
    answers: list[Answer] = field(default_factory=list)


async def loop(door: Door, begun: float, end: Callable[[], bool]) -> None:
    """Ask until the end; a request may take two minutes."""
    while not end():
        start = perf_counter()
        try:
            async with asyncio.timeout(120):
                outcome = await door.ask()
        except Exception as error:
            outcome = type(error).__name__
        now = perf_counter()
        door.answers.append(Answer(now - begun, now - start, outcome))
        await asyncio.sleep(door.pause * random.uniform(0.5, 1.5))


def texts(n: int) -> list[str]:
    """Passages, never the same ones twice."""
    return [
        f"{random.getrandbits(32):x} {' '.join(random.choices(WORDS, k=random.randint(5, 90)))}"
        for _ in range(n)
    ]


def posted(client: httpx2.AsyncClient, n: int) -> Callable[[], Awaitable[str]]:
    """POST /v1/rerank with n documents."""

    async def ask() -> str:
        content = json.dumps({"query": random.choice(QUERIES), "documents": texts(n)})
        answer = await client.post("/v1/rerank", content=content)
        if answer.status_code != 200:
            return f"status {answer.status_code}"
        sent = answer.json()
        assert sorted(one["index"] for one in sent["results"]) == list(range(n))
        partial = any(warning.startswith("partial") for warning in sent["meta"]["warnings"])
        return "partial" if partial else "whole"

    return ask


def agent(url: str) -> Callable[[], Awaitable[str]]:
    """A new session of the official MCP client: rerank, search, explain."""

    async def ask() -> str:
        async with Client(f"{url}/mcp", mode=random.choice(("auto", "legacy"))) as client:
            arguments: dict[str, Any] = {"query": random.choice(QUERIES), "passages": texts(20)}
            ranked = await client.call_tool("rerank", arguments)
            found = await client.call_tool("search", {"query": random.choice(QUERIES)})
            run = {"run": ranked.structured_content["run"]}
            explained = await client.call_tool("explain", run)
        if ranked.is_error or found.is_error or explained.is_error:
            return "tool error"
        return "partial" if ranked.structured_content["partial"] else "whole"

    return ask


class Wire:
    """`rearank-agent mcp` over stdio, asked one message after the other."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.cache = folder / "cache"
        self.log = (folder / "stdio.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rearank_agent", "mcp", "--root", str(root)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, cwd=folder,
            env={**os.environ, "REARANK_CACHE": str(self.cache)},
        )  # fmt: skip
        self.number = 0
        about = {"name": "endurance", "version": "1"}
        self.call("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=about)

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """The answer to a request."""
        self.number += 1
        sent = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(sent).encode() + b"\n")
        self.process.stdin.flush()
        while line := self.process.stdout.readline():
            answer = json.loads(line)
            if answer.get("id") == self.number:
                result: dict[str, Any] = answer["result"]
                return result
        raise EOFError("the server has ended")

    async def ask(self) -> str:
        """Rerank 30 passages, or search."""
        query = random.choice(QUERIES)
        if random.random() < 0.5:
            request = {"name": "search", "arguments": {"query": query}}
        else:
            request = {"name": "rerank", "arguments": {"query": query, "passages": texts(30)}}
        answer = await asyncio.to_thread(self.call, "tools/call", **request)
        if answer.get("isError"):
            return "tool error"
        return "partial" if answer["structuredContent"]["partial"] else "whole"

    def end(self) -> int:
        """Close its stdin; its exit code."""
        assert self.process.stdin
        self.process.stdin.close()
        code = self.process.wait(20)
        self.log.close()
        return code
