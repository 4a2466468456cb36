"""Hostile or broken clients of the server, and its end."""

import asyncio
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from time import perf_counter

import httpx2

from benchmarks.faults.row import Row
from benchmarks.load import Load, Server, body, server
from benchmarks.stub import Stub

__all__ = ["ROWS"]

JSON = {"Content-Type": "application/json"}
EMPTY = b'{"query": "q", "documents": [' + b'"",' * 2_700_000 + b'""]}'
START = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {},
               "clientInfo": {"name": "probe", "version": "1"}},
}  # fmt: skip


def memory(pid: int) -> float:
    """The most resident memory of a process so far, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def post(one: Server, content: bytes, **more: str) -> httpx2.Response:
    """The answer to a rerank request."""
    return httpx2.post(
        f"{one.url}/v1/rerank", content=content, headers={**JSON, **more}, timeout=60
    )


def works(one: Server) -> float:
    """Seconds that a request of two documents takes."""
    begun = perf_counter()
    assert post(one, body(2)).status_code == 200
    return perf_counter() - begun


def many_values(folder: Path) -> str:
    with server(folder) as one:
        works(one)
        before = memory(one.process.pid)
        load = Load(one.url)

        async def both() -> tuple[list[float], float]:
            others = asyncio.create_task(load.clients(2, body(2), 4.0, 0.02))
            taken = []
            for _ in range(5):
                await asyncio.sleep(0.2)
                begun = perf_counter()
                answer = await asyncio.to_thread(post, one, EMPTY)
                taken.append(perf_counter() - begun)
                assert answer.status_code == 422, answer.status_code
            return taken, (await others).p99

        taken, p99 = asyncio.run(both())
        grown = memory(one.process.pid) - before
    assert max(taken) < 2, taken
    assert p99 < 1, f"others: p99 {p99:.2f} s"
    assert grown < 100, f"memory grew by {grown:.0f} MB"
    return (
        f"422 in {1e3 * sorted(taken)[2]:.0f} ms with 8 MB sent, others p99 {1e3 * p99:.0f} ms, "
        f"{grown:.0f} MB more memory"
    )


def many_values_stdio(folder: Path) -> str:
    command = [sys.executable, "-m", "rearank_agent", "mcp", "--policy", "lexical"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, cwd=folder
    ) as process:

        def ask(message: dict) -> dict:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        ask(START)
        before = memory(process.pid)
        arguments = {"query": "q", "passages": [""] * 2_000_000}
        begun = perf_counter()
        call = {"name": "rerank", "arguments": arguments}
        answer = ask({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call})
        seconds = perf_counter() - begun
        grown = memory(process.pid) - before
        process.stdin.close()
    assert "at most 1,000 passages" in answer["error"]["message"]
    assert grown < 100, f"memory grew by {grown:.0f} MB"
    return f"an error in {seconds:.1f} s, {grown:.0f} MB more memory"


def half_open(folder: Path) -> str:
    with server(folder) as one, contextlib.ExitStack() as held:
        works(one)
        host, port = one.url.removeprefix("http://").split(":")
        for number in range(1_100):
            with contextlib.suppress(OSError):
                half = held.enter_context(socket.create_connection((host, int(port)), timeout=5))
                half.sendall(
                    (b"", b"GET /health HT", b"POST / HTTP/1.1\r\nHost: x\r\n")[number % 3]
                )
        slowest = max(works(one) for _ in range(5))
        log = (folder / "server.log").stat().st_size
    assert slowest < 2, slowest
    assert log < 10_000, f"{log} bytes of log"
    return f"a new request is answered in {1e3 * slowest:.0f} ms, {log:,} bytes of log"


def chunked(folder: Path) -> str:
    with server(folder) as one, contextlib.ExitStack() as held:
        works(one)
        host, port = one.url.removeprefix("http://").split(":")
        for _ in range(8):
            slow = held.enter_context(socket.create_connection((host, int(port)), timeout=30))
            slow.sendall(
                b"POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5\r\nhello\r\n"
            )
        time.sleep(0.2)
        seconds = works(one)
        got = slow.recv(1_000)
    assert b" 408 " in got.split(b"\r\n")[0], got
    return f"a ninth request is answered in {1e3 * seconds:.0f} ms; the eight get 408 after 10 s"


def sessions(folder: Path) -> str:
    headers = {**JSON, "Accept": "application/json, text/event-stream"}
    with (
        server(folder) as one,
        httpx2.Client(base_url=one.url, headers=headers, timeout=60) as client,
    ):
        codes = [client.post("/mcp", json=START).status_code for _ in range(1_050)]
        seconds = works(one)
    assert set(codes) == {200}, set(codes)
    return f"1,050 begun, none refused, then a request in {1e3 * seconds:.0f} ms"


def stopped(folder: Path) -> str:
    with Stub(3.0) as stub:
        options = ("--policy", "vllm:stub", "--no-cache")
        with server(folder, *options, VLLM_BASE_URL=stub.url) as one:
            answers: list[int] = []
            asking = [
                threading.Thread(target=lambda: answers.append(post(one, body(5)).status_code))
                for _ in range(5)
            ]
            for thread in asking:
                thread.start()
            time.sleep(1)
            assert httpx2.get(f"{one.url}/ready").status_code == 200
            one.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            refused = post(one, body(2))
            ready = httpx2.get(f"{one.url}/ready").status_code
            for thread in asking:
                thread.join()
            code = one.process.wait(20)
    assert answers == [200] * 5, answers
    assert (refused.status_code, refused.headers["retry-after"], ready) == (503, "1", 503)
    assert refused.json()["detail"].startswith("the server is stopping")
    assert code == 0, code
    return "5 of 5 in progress answered with 200, a new one 503 as JSON, /ready 503, exit code 0"


ROWS = (
    Row("a body of 2.7 million empty documents", "POST `/v1/rerank` five times, 8 MB each, beside others",
        "that request", "values are counted before anything is parsed: 422 with the limit", many_values),
    Row("a message of 2 million passages over stdio", "`tools/call` of `rerank`", "that request",
        "the same: a JSON-RPC error with the limit", many_values_stdio),
    Row("1,100 connections that send nothing, or half of their headers", "sockets held open, then requests",
        "those connections", "closed after 10 s; where there are too many, the idle one that is oldest",
        half_open),
    Row("bodies that never end", "eight chunked bodies of five bytes each, then a ninth of 100 bytes",
        "those requests", "only what has come of a body counts; 408 after 10 s", chunked),
    Row("clients that never end their MCP sessions", "1,050 sessions begun", "idle sessions, the oldest first",
        "a client whose session is gone gets 404 and begins a new one", sessions),
    Row("SIGTERM while requests are in progress", "five requests of a model that takes 3 s", "nothing",
        "they are answered (`--drain`), new ones get 503 and Retry-After, `/ready` says no", stopped),
)  # fmt: skip
