"""A server that answers chat completions after a set time, at the cost of next to nothing.

    python -m benchmarks.stub [--delay SECONDS] [--thought]

It prints its address and serves until its standard input ends. Whatever passages a request shows
are put in reverse; a request is not parsed, only searched for what it must know. So what a
benchmark measures against it is the client. GET /count tells the calls since it was last asked
and the most that were in flight at once.
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
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def reply(n: int, thought: bool) -> str:
    """The window in reverse; the thought has a sentence about each passage."""
    order = " > ".join(f"[{number}]" for number in range(n, 0, -1))
    said = (
        f"[{number}] tells of fleas and their hosts, but not how long one lives without."
        for number in range(1, n + 1)
    )
    head = "<think>\n" + "\n".join(said) + "\n</think>\n" if thought else ""
    return f"{head}<answer>{order}</answer>"


def http(status: str, value: object) -> bytes:
    """A whole HTTP answer."""
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


@lru_cache
def completion(n: int, thought: bool) -> bytes:
    """The HTTP answer to a request with n passages."""
    message = {"role": "assistant", "content": reply(n, thought)}
    usage = {"prompt_tokens": 100 * n, "completion_tokens": 10 * n, "total_tokens": 110 * n}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    about = {"id": "x", "object": "chat.completion", "created": 1, "model": "stub"}
    return http("200 OK", {**about, "choices": [choice], "usage": usage})


class Counts:
    """What GET /count tells."""

    calls = flying = most = 0


class Connection(asyncio.Protocol):
    """One client, kept open; it asks again when it has its answer."""

    def __init__(self, delay: float, thought: bool, counts: Counts) -> None:
        self.delay, self.thought, self.counts = delay, thought, counts
        self.seen = bytearray()
        self.needed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.seen += data
        if not self.needed:
            end = self.seen.find(b"\r\n\r\n")
            if end < 0:
                return
            length = LENGTH.search(self.seen, 0, end)
            self.needed = end + 4 + (int(length[1]) if length else 0)
        if len(self.seen) >= self.needed:
            request, self.seen = bytes(self.seen[: self.needed]), self.seen[self.needed :]
            self.needed = 0
            self.answer(request)

    def answer(self, request: bytes) -> None:
        """Answer now, or let the answer come when the time is over."""
        counts = self.counts
        if request.startswith(b"GET /count"):
            told = {"calls": counts.calls, "most": counts.most}
            counts.calls = counts.most = 0
            self.transport.write(http("200 OK", told))
        elif not request.startswith(b"POST /v1/chat/completions"):
            self.transport.write(http("404 Not Found", {}))
        else:
            counts.calls += 1
            counts.flying += 1
            counts.most = max(counts.most, counts.flying)
            answer = completion(len(PASSAGE.findall(request)), self.thought)
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.send, answer)
            else:
                self.send(answer)

    def send(self, answer: bytes) -> None:
        """The answer of a chat completion."""
        self.counts.flying -= 1
        self.transport.write(answer)


class Stub:
    """The server in a process of its own, for the time of a `with` block."""

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
        """The calls since this was last asked, and the most in flight at once."""
        with urlopen(self.url.removesuffix("/v1") + "/count") as answer:
            return json.load(answer)


async def serve(delay: float, thought: bool) -> None:
    """Until the standard input ends."""
    loop, counts = asyncio.get_running_loop(), Counts()
    server = await loop.create_server(
        lambda: Connection(delay, thought, counts), "127.0.0.1", 0, backlog=512
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--delay", type=float, default=0.0, help="seconds an answer takes")
    parser.add_argument("--thought", action="store_true", help="think before answering")
    told = parser.parse_args()
    asyncio.run(serve(told.delay, told.thought))


if __name__ == "__main__":
    main()
