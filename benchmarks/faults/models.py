"""Model servers that hang, flood or answer nonsense."""

import asyncio
import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from time import perf_counter
from typing import Any

from benchmarks.faults.row import Row

__all__ = ["ROWS"]

Answer = Callable[[asyncio.StreamWriter, str], Awaitable[None]]

_PASSAGES = '{"id": "a", "text": "a flea"}\n{"id": "b", "text": "a dog"}\n'
_REPLY = "<think>[1] is bad \ud83d.</think><answer>[2] > [1]</answer>"


@contextmanager
def _server(answer: Answer) -> Iterator[str]:
    """A server on loopback for the block; `answer` writes what follows a request for a path."""
    ready, addresses = Event(), list[str]()
    ended: list[Callable[[], object]] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await answer(writer, head.split()[1].decode())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client hung up, or the probe has ended
        finally:
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        addresses.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        end, loop = asyncio.Event(), asyncio.get_running_loop()
        ended.append(lambda: loop.call_soon_threadsafe(end.set))
        ready.set()
        await end.wait()

    thread = Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield addresses[0]
    finally:
        ended[0]()
        thread.join()


async def _hang(writer: asyncio.StreamWriter, path: str) -> None:
    for _ in path:
        await asyncio.sleep(60)
        await writer.drain()


async def _drip(writer: asyncio.StreamWriter, path: str) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in path * 20:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.5)


def _json(writer: asyncio.StreamWriter, value: object) -> None:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    writer.write(f"{head}\r\nConnection: close\r\n\r\n".encode() + body)


def _completion(text: str, model: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": model} | {
        "choices": [choice]
    }


def _environment(folder: Path, url: str) -> dict[str, str]:
    return {
        **os.environ, "REARANK_CACHE": str(folder / "cache"), "VLLM_BASE_URL": url,
        "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "a-key-of-nobody",
    }  # fmt: skip


def _rerank(folder: Path, url: str, *options: str) -> tuple[dict[str, Any], float]:
    """The ranking of the command line in a process of its own, and its seconds."""
    (folder / "in.jsonl").write_text(_PASSAGES)
    command = [sys.executable, "-m", "rearank_agent", "rerank", "flea", str(folder / "in.jsonl")]
    begun = perf_counter()
    done = subprocess.run(
        [*command, "--json", "--no-cache", *options],
        env=_environment(folder, url), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr.decode()[-500:]
    return json.loads(done.stdout), perf_counter() - begun


def _kinds(ranking: dict[str, Any]) -> list[str]:
    return [fault["kind"] for fault in ranking["faults"]]


def _half(folder: Path) -> str:
    async def answer(writer: asyncio.StreamWriter, path: str) -> None:
        _json(writer, _completion(_REPLY, "m") if path.endswith("completions") else {"data": []})

    with _server(answer) as url:
        for policy in ("vllm:m", "openai-chat:m"):
            ranking, _ = _rerank(folder, url, "--policy", policy)
            assert _kinds(ranking) == ["surrogate"], ranking["faults"]
            assert [one["passage"]["id"] for one in ranking["passages"]] == ["b", "a"]
    return "2 of 2 rankings kept the model's order, each with the fault `surrogate`"


def _another(folder: Path) -> str:
    async def answer(writer: asyncio.StreamWriter, path: str) -> None:
        listed = {"data": [{"id": "big"}]}
        _json(
            writer, _completion("<answer>[2] > [1]</answer>", "tiny") if "chat" in path else listed
        )

    with _server(answer) as url:
        ranking, _ = _rerank(folder, url, "--policy", "vllm:big")
    assert _kinds(ranking) == ["model"], ranking["faults"]
    return ranking["faults"][0]["detail"]


def _login(folder: Path) -> str:
    coded = b64encode(b"me:hunter@22/x").decode()
    forms = ("hunter@22/x", "hunter%4022%2Fx", coded, coded.rstrip("="))

    async def answer(writer: asyncio.StreamWriter, path: str) -> None:
        _json(writer, {"error": {"message": " ".join(forms), "code": 401, "type": path}})

    with _server(answer) as url:
        ranking, _ = _rerank(
            folder, url.replace("//", "//me:hunter%4022%2Fx@"), "--policy", "vllm:m"
        )
    assert "failed" in _kinds(ranking), ranking["faults"]
    assert not [form for form in forms if form in json.dumps(ranking)], ranking["faults"]
    return f"none of {len(forms)} forms in the output"


def _hangs(folder: Path) -> str:
    seen = []
    for answer in (_hang, _drip):
        with _server(answer) as url:
            ranking, seconds = _rerank(folder, url, "--policy", "vllm:m", "--deadline", "3")
            assert "deadline" in _kinds(ranking), ranking["faults"]
            assert ranking["usage"]["seconds"] < 5, ranking["usage"]
            assert seconds < 12, f"{seconds:.1f} s"  # with the start of the program
            seen.append(f"{seconds:.1f} s")
    return f"--deadline 3 ended after {' and '.join(seen)}, start of the program included"


def _starts(folder: Path) -> str:
    client = {"name": "probe", "version": "1"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    first = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    command = [sys.executable, "-m", "rearank_agent", "mcp", "--policy", "vllm:m"]
    with _server(_hang) as url:
        begun = perf_counter()
        with subprocess.Popen(
            command, env=_environment(folder, url), cwd=folder, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ) as running:  # fmt: skip
            assert running.stdin
            assert running.stdout
            running.stdin.write(json.dumps(first).encode() + b"\n")
            running.stdin.flush()
            answered = json.loads(running.stdout.readline())
            seconds = perf_counter() - begun
            running.kill()
    assert "result" in answered, answered
    assert seconds < 10, f"{seconds:.1f} s"
    return f"the server answered after {seconds:.1f} s"


ROWS: tuple[Row, ...] = (
    Row(
        "half a character in a model's reply",
        "a lone surrogate in replies to `vllm:` and `openai-chat:`",
        "the half character",
        "it is shown as U+FFFD, with the fault `surrogate`; the order counts",
        _half,
    ),
    Row(
        "another model answers",
        "the reply names a model that was not asked for",
        "nothing",
        "the order counts, with the fault `model`",
        _another,
    ),
    Row(
        "a server repeats the login of its address",
        "an error with the password of `VLLM_BASE_URL` raw, percent-encoded and in base64",
        "the model's order",
        "every form is struck out; the given order, with the fault `failed`",
        _login,
    ),
    Row(
        "a model list that hangs or drips",
        "`/models` without an answer, and one with 2 bytes a second; `--deadline 3`",
        "the model's order",
        "the given order at the deadline, with the fault `deadline`",
        _hangs,
    ),
    Row(
        "a model server that hangs while `mcp` starts",
        "`mcp --policy vllm:NAME` where `/models` never answers",
        "how the model was trained is not known",
        "it is asked for 2 s at most, then the server starts with a note on stderr",
        _starts,
    ),
)
