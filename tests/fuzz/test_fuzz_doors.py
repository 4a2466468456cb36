"""The doors of the server: whatever comes in, every answer is whole, and the next is given."""

import asyncio
import io
import json
import logging
import re
import socket
import subprocess
from contextlib import suppress
from itertools import pairwise
from threading import Event

import pytest
from hypothesis import example
from hypothesis import strategies as st

from helpers.mutations import blobs, fuzz, json_blobs
from helpers.policies import Judge
from helpers.terminal import PROGRAM
from rearank_agent import Reranker
from rearank_agent.store import Store
from rearank_mcp.http import Address, HTTPApp
from rearank_mcp.pipes import Lines
from rearank_mcp.proxy.child import ChildServer
from rearank_mcp.proxy.relay import Relay
from rearank_mcp.proxy.results import ResultReranker
from rearank_mcp.server import make_server
from rearank_mcp.service import Service
from rearank_mcp.stdio import serve_stdio

ASKED = {"query": "how far can a flea jump", "documents": ["Dogs bark.", {"text": "A flea jumps.", "n": [1]}],
         "top_n": 2, "return_documents": True, "rationale": True, "model": "judge", "instruction": "a"}  # fmt: skip
ARGUMENTS = {
    "query": "far",
    "passages": ["a", "a flea"],
    "top_k": 2,
    "instruction": "",
    "rationale": True,
}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "rerank", "arguments": ARGUMENTS, "_meta": {"progressToken": "t"}}}  # fmt: skip
START = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
    "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}}  # fmt: skip
PING = {"jsonrpc": "2.0", "id": "last", "method": "ping"}
FOUND = {"content": [{"type": "text", "text": "a dog"}, {"type": "text", "text": "a long flea"}],
         "structuredContent": {"results": [{"text": "a"}, {"text": "bb"}]}, "_meta": {}, "isError": False}  # fmt: skip
CALLED = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
          "params": {"name": "find", "arguments": {"query": "far", "n": 1}}}  # fmt: skip
FROM_SERVER = (
    {"jsonrpc": "2.0", "id": 1, "result": FOUND},
    {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "find"}], "nextCursor": None}},
    {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "t", "progress": 1}},
    {"jsonrpc": "2.0", "id": 3, "method": "elicitation/create", "params": {"message": "Which?"}},
    [{"jsonrpc": "2.0", "id": 1, "result": FOUND}],
)  # fmt: skip
FROM_HOST = (
    CALLED, CALLED, {**CALLED, "method": "tools/list"}, [CALLED],
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
)  # fmt: skip


class Pipe(io.RawIOBase):
    """What a sender wrote: it waits for an event to begin, or to end; its own end is one too."""

    def __init__(self, written, may_end=None, may_begin=None):
        self.written, self.may_end, self.may_begin = io.BytesIO(written), may_end, may_begin
        self.ended = Event()

    def readable(self):
        return True

    def readinto(self, buffer):
        if self.may_begin:
            self.may_begin.wait(20)
        if n := self.written.readinto(buffer):
            return n
        if self.may_end:
            self.may_end.wait(20)
        self.ended.set()
        return 0


class Sink(io.BytesIO):
    """What was written; an event tells that a part of it has come."""

    def __init__(self, awaited=b""):
        super().__init__()
        self.awaited, self.come, self.text = awaited, Event(), b""

    def write(self, data):
        self.text += bytes(data)
        if self.awaited in self.text:
            self.come.set()
        return len(data)

    def close(self):
        pass


def service(folder):
    return Service(Reranker(Judge()), [], Store(folder / "runs.sqlite", max_bytes=1_000_000))


@fuzz(
    st.one_of(json_blobs(CALL, START, [CALL, PING]), blobs(json.dumps(CALL).encode())),
    st.booleans(),
)
@example(b'{"id":"\\x","params":[' + b"0," * 60_000 + b"]}", True)
@example(b'{"id":"\\ud800","params":[' + b"0," * 60_000 + b"]}", True)
def test_messages_over_stdio(tmp_path_factory, line, started):
    sink = Sink(b'"last"')
    lines = [json.dumps(START).encode()] * started + [
        line.replace(b"\n", b" "),
        json.dumps(PING).encode(),
    ]
    source = io.BufferedReader(Pipe(b"".join(one + b"\n" for one in lines), sink.come))
    folder = tmp_path_factory.getbasetemp()
    serve_stdio(make_server(service(folder)), (source, sink))
    answers = [json.loads(one) for one in sink.text.splitlines()]
    assert sum(one.get("id") == "last" for one in answers if isinstance(one, dict)) >= 1


class Child(ChildServer):
    """A server that has written all it ever writes; there is no process."""

    def __init__(self, written, may_begin):
        self.lines = Lines(io.BufferedReader(Pipe(written, may_begin=may_begin)), Sink())
        self.exited = asyncio.get_running_loop().create_future()

    async def end(self, seconds):
        return "ended"

    def kill(self):
        pass


def lines_of(strategy):
    return st.lists(strategy, max_size=4).map(lambda all_: b"".join(one + b"\n" for one in all_))


@fuzz(
    lines_of(json_blobs(*FROM_HOST)),
    lines_of(st.one_of(json_blobs(*FROM_SERVER), blobs(json.dumps(FROM_SERVER[0]).encode()))),
)
def test_messages_through_the_proxy(tmp_path_factory, from_host, from_server):
    reranker = ResultReranker(service(tmp_path_factory.getbasetemp()))
    sink, ends, errors = Sink(), [], []

    async def relay():
        asyncio.get_running_loop().set_exception_handler(lambda _, error: errors.append(error))
        pipe = Pipe(from_host)
        child, host = Child(from_server, pipe.ended), Lines(io.BufferedReader(pipe), sink)
        made = Relay(host, lambda: child, {"find"}, reranker)
        made._report_end = lambda ending, report=made._report_end: (
            ends.append(ending),
            report(ending),
        )
        await made.run(child)

    logging.disable()
    try:
        asyncio.run(relay())
    finally:
        logging.disable(logging.NOTSET)
    assert (ends, errors) == (["ended"], [])


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Asks the application in this process; gives the status and the body."""
    app = HTTPApp(service(tmp_path_factory.mktemp("http")), Address("127.0.0.1", 0))

    async def answer(method, path, headers, chunks):
        sent, messages = [], [*chunks]

        async def receive():
            if not messages:
                await asyncio.sleep(3600)
            return {"type": "http.request", "body": messages.pop(0), "more_body": bool(messages)}

        async def send(message):
            sent.append(message)

        raw = [(name.lower(), value) for name, value in headers]
        scope = {"type": "http", "http_version": "1.1", "method": method, "path": path, "query_string": b"",
                 "raw_path": path.encode(errors="replace"), "root_path": "", "scheme": "http", "headers": raw,
                 "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "asgi": {"version": "3.0"}}  # fmt: skip
        await app(scope, receive, send)
        kinds = [one["type"] for one in sent]
        assert kinds[0] == "http.response.start"
        assert set(kinds[1:]) == {"http.response.body"}
        return sent[0]["status"], b"".join(one["body"] for one in sent[1:])

    with asyncio.Runner() as runner:
        yield lambda *request: runner.run(answer(*request))


HOST = [(b"host", b"localhost"), (b"content-type", b"application/json")]
ODD_HEADERS = (
    (b"host", b"localhost"), (b"host", b"evil.example"), (b"host", b"\xff"), (b"content-length", b"-1"),
    (b"content-length", b"9" * 30), (b"content-length", b"\xb2"), (b"content-type", b"text/\xff;="),
    (b"origin", b"null"), (b"origin", b"http://localhost"), (b"authorization", b"Bearer \xff"),
    (b"accept", b""), (b"transfer-encoding", b"chunked"), (b"content-encoding", b"gzip"),
    (b"access-control-request-method", b"POST"), (b"cookie", b"\0"), (b"mcp-session-id", b"\xe9"),
)  # fmt: skip


@fuzz(
    st.one_of(json_blobs(ASKED, [ASKED]), blobs(json.dumps(ASKED).encode())),
    st.lists(st.integers(0, 400), max_size=4),
)
@example(json.dumps(ASKED).encode(), [])
def test_bodies_over_http(ask, body, cuts):
    at = [0, *sorted(cuts), len(body)]
    chunks = [body[a:b] for a, b in pairwise(at)]
    status, answer = ask("POST", "/v1/rerank", HOST, chunks)
    answer = json.loads(answer)
    if status == 200:
        asked = json.loads(body)
        found = [one["index"] for one in answer["results"]]
        n = len(asked["documents"])
        assert len(found) == len(set(found)) == min(n, asked.get("top_n") or n)
        assert set(found) <= set(range(n))
    else:
        assert status in (400, 404, 413, 422), answer
        assert answer["error"]["code"] == status
        assert answer["error"]["message"]


@fuzz(
    st.sampled_from(("GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "TRACE", "", "get", "\u0130")),
    st.one_of(st.sampled_from(("/", "", "*", "/v1/rerank/", "/openapi.json", "/health", "/ready", "/v2/rerank",
                               "//v1/rerank", "/v1/../rerank", "/v1/rerank\0", "/\ud800")), st.text(max_size=9)),
    st.lists(st.sampled_from(ODD_HEADERS), max_size=3),
)  # fmt: skip
def test_requests_over_http(ask, method, path, headers):
    status, answer = ask(method, path, [*headers, *HOST], [b""])
    assert status < 500
    if answer and status >= 400 and answer != b"Disallowed CORS method":
        assert b"error" in answer or b"Disallowed" in answer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server on loopback; afterwards, that it failed nowhere."""
    command = [PROGRAM, "mcp", "--http", "127.0.0.1:0", "--policy", "lexical"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    line = process.stderr.readline().decode()
    yield "127.0.0.1", int(re.search(r"http://127.0.0.1:(\d+)/mcp", line)[1])
    process.terminate()
    assert "Traceback" not in process.communicate(timeout=30)[1].decode()
    assert process.returncode == 0


BODY = json.dumps({"query": "far", "documents": ["a flea", "a dog"]}).encode()
REQUEST = b"POST /v1/rerank HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)
CHUNKED = b"POST /v1/rerank HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n" \
          b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)  # fmt: skip
LAST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
MCP = json.dumps(START).encode()
SESSION = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json, text/event-stream\r\n" \
          b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(MCP), MCP)  # fmt: skip


def said(address, data):
    """What a server answers until it, or the caller who sends no more, is done."""
    with socket.create_connection(address, timeout=20) as caller:
        with suppress(OSError):  # it answers before it has read all, and closes
            caller.sendall(data)
            caller.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionError):
            while part := caller.recv(65536):
                answer += part
        return answer


@fuzz(blobs(REQUEST, CHUNKED, SESSION, REQUEST + CHUNKED))
def test_bytes_of_a_connection(server, data):
    answer = said(server, data)
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert b" 500 " not in answer.partition(b"\r\n")[0]
    assert said(server, LAST).startswith(b"HTTP/1.1 200 OK")
