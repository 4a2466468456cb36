"""A stub server of chat completions: answers after a set delay, at almost no cost.

    python -m benchmarks.stub [--delay SECONDS] [--thought]

It prints its address and serves until its standard input ends. The passages of a request are
ranked in reverse; requests are searched by regular expression, not parsed, so a benchmark
measures the client. GET /count returns the calls since the last GET /count, and the maximum
in flight at once.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
from functools import lru_cache
from urllib.request import urlopen

PASSAGE = re.compile(rb'"content": ?"\[\d+\] ')
MODEL = re.compile(rb'"model": ?"([^"\\]*)"')
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def reply(n: int, thought: bool) -> str:
    """A reply with the window in reverse; the reasoning has a sentence about each passage."""
    order = " > ".join(f"[{number}]" for number in range(n, 0, -1))
    sentences = (
        f"[{number}] tells of fleas and their hosts, but not how long one lives without."
        for number in range(1, n + 1)
    )
    head = "<think>\n" + "\n".join(sentences) + "\n</think>\n" if thought else ""
    return f"{head}<answer>{order}</answer>"


def http(status: str, value: object) -> bytes:
    """A complete HTTP response."""
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


@lru_cache
def completion(n: int, thought: bool, model: str) -> bytes:
    """The HTTP response to a request with n passages."""
    message = {"role": "assistant", "content": reply(n, thought)}
    usage = {"prompt_tokens": 100 * n, "completion_tokens": 10 * n, "total_tokens": 110 * n}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    fields = {"id": "x", "object": "chat.completion", "created": 1, "model": model}
    return http("200 OK", {**fields, "choices": [choice], "usage": usage})


class Counts:
    """The counts that GET /count returns."""

    calls = in_flight = max_in_flight = 0


class Connection(asyncio.Protocol):
    """A keep-alive connection; its client sends a request when it has the last response."""

    def __init__(self, delay: float, thought: bool, counts: Counts) -> None:
        self.delay, self.thought, self.counts = delay, thought, counts
        self.received = bytearray()
        self.needed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.needed:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return
            length = LENGTH.search(self.received, 0, end)
            self.needed = end + 4 + (int(length[1]) if length else 0)
        if len(self.received) >= self.needed:
            request = bytes(self.received[: self.needed])
            self.received = self.received[self.needed :]
            self.needed = 0
            self.answer(request)

    def answer(self, request: bytes) -> None:
        """Respond now, or after the delay."""
        counts = self.counts
        if request.startswith(b"GET /count"):
            values = {"calls": counts.calls, "max_in_flight": counts.max_in_flight}
            counts.calls = counts.max_in_flight = 0
            self.transport.write(http("200 OK", values))
        elif not request.startswith(b"POST /v1/chat/completions"):
            self.transport.write(http("404 Not Found", {}))
        else:
            counts.calls += 1
            counts.in_flight += 1
            counts.max_in_flight = max(counts.max_in_flight, counts.in_flight)
            named = MODEL.search(request)
            model = named[1].decode() if named else "stub"
            answer = completion(len(PASSAGE.findall(request)), self.thought, model)
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.send, answer)
            else:
                self.send(answer)

    def send(self, answer: bytes) -> None:
        """Send the response to a chat completion."""
        self.counts.in_flight -= 1
        self.transport.write(answer)


class Stub:
    """The server in a process of its own, for a `with` block."""

    def __init__(self, delay: float = 0.0, thought: bool = False) -> None:
        self.command = [sys.executable, "-m", "benchmarks.stub", "--delay", str(delay)]
        self.command += ["--thought"] if thought else []

    def __enter__(self) -> "Stub":
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, text=True)
        self.url = self.process.stdout.readline().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()  # ends its standard input

    def count(self) -> dict[str, int]:
        """The calls since this was last called, and the maximum in flight at once."""
        with urlopen(self.url.removesuffix("/v1") + "/count") as answer:
            return json.load(answer)


async def serve(delay: float, thought: bool) -> None:
    """Serve until the standard input ends."""
    loop, counts = asyncio.get_running_loop(), Counts()
    server = await loop.create_server(
        lambda: Connection(delay, thought, counts), "127.0.0.1", 0, backlog=512
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve with the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--delay", type=float, default=0.0, help="seconds per response")
    parser.add_argument("--thought", action="store_true", help="reasoning before the answer")
    args = parser.parse_args()
    asyncio.run(serve(args.delay, args.thought))


if __name__ == "__main__":
    main()
