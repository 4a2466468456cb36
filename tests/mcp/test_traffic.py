"""Bodies of requests over HTTP, and how many are in progress."""

import asyncio
import json

import pytest

from rearank_mcp import traffic
from rearank_mcp.traffic import Traffic


class Inner:
    """An application that reads a body and waits until it may answer."""

    def __init__(self):
        self.bodies = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, scope, receive, send):
        message = await receive()
        self.bodies.append((message["body"], message["more_body"]))
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


async def asked(app, *chunks, method="POST", path="/v1/rerank", headers=None, hang=False):
    """The status and the body of the answer to a request that is sent in chunks."""
    sent, messages = [], [*chunks]

    async def receive():
        if not messages:
            await asyncio.sleep(60 if hang else 0)
            return {"type": "http.disconnect"}
        more = hang or len(messages) > 1
        return {"type": "http.request", "body": messages.pop(0), "more_body": more}

    async def send(message):
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    await app({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
    if not sent:
        return None
    return sent[0]["status"], json.loads(sent[1]["body"])


async def test_an_endpoint_gets_the_whole_body_at_once():
    inner = Inner()
    assert await asked(Traffic(inner), b'{"a"', b": 1", b"}") == (200, {})
    assert inner.bodies == [(b'{"a": 1}', False)]


async def test_only_what_has_come_of_a_body_counts(monkeypatch):
    monkeypatch.setattr(traffic, "MAX_BODY_BYTES", 100)
    monkeypatch.setattr(traffic, "BODY_SECONDS", 0.3)
    app = Traffic(Inner())
    slow = [asyncio.create_task(asked(app, b"x" * 10, hang=True)) for _ in range(8)]
    await asyncio.sleep(0.05)
    assert await asked(app, b"y" * 20) == (200, {})
    status, answer = await asked(app, b"y" * 21)
    assert (status, answer["detail"]) == (503, traffic._BUSY)
    assert [status for status, _ in await asyncio.gather(*slow)] == [408] * 8
    assert await asked(app, b"y" * 100) == (200, {})


async def test_bodies_that_do_not_come_take_no_places(monkeypatch):
    monkeypatch.setattr(traffic, "MAX_REQUESTS", 2)
    monkeypatch.setattr(traffic, "BODY_SECONDS", 0.3)
    inner = Inner()
    app = Traffic(inner)
    slow = [asyncio.create_task(asked(app, b"x", hang=True)) for _ in range(5)]
    await asyncio.sleep(0.05)
    inner.may_answer.clear()
    two = [asyncio.create_task(asked(app, b"y")) for _ in range(2)]
    await asyncio.sleep(0.05)
    status, answer = await asked(app, b"z")
    assert (status, answer["detail"], app.active) == (503, traffic._BUSY, 2)
    inner.may_answer.set()
    assert await asyncio.gather(*two) == [(200, {})] * 2
    assert [status for status, _ in await asyncio.gather(*slow)] == [408] * 5
    assert app.active == 0


@pytest.mark.parametrize(
    ("chunks", "headers", "status", "message"),
    {
        "declared too large": ((b"",), {"content-length": "9000000"}, 413, "8,388,608 bytes"),
        "too large": ((b"x" * 5_000_000, b"x" * 5_000_000), {}, 413, "8,388,608 bytes"),
        "too many values": ((b"[" + b'"",' * 60_000, b'""]'), {}, 422, "50,000 values or more"),
    }.values(),
)
async def test_what_is_over_a_limit_is_not_passed_on(chunks, headers, status, message):
    inner = Inner()
    app = Traffic(inner)
    got, answer = await asked(app, *chunks, headers=headers)
    assert (got, inner.bodies, app._bytes) == (status, [], 0)
    assert message in answer["detail"]
    assert answer["error"] == {"code": status, "message": answer["detail"]}
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", None)


async def test_a_client_that_leaves_is_not_answered():
    inner = Inner()
    app = Traffic(inner)
    assert await asked(app) is None
    assert (inner.bodies, app._bytes, app.active) == ([], 0, 0)


async def test_a_server_that_is_to_end_answers_what_it_has_begun():
    inner = Inner()
    app = Traffic(inner)
    inner.may_answer.clear()
    begun = asyncio.create_task(asked(app, b"y"))
    await asyncio.sleep(0.05)
    assert (await asked(app, method="GET", path="/ready"))[0] == 200
    slow = asyncio.create_task(asked(app, b"half", hang=True))
    await asyncio.sleep(0.05)
    app.draining = True
    status, answer = await asked(app, method="GET", path="/ready")
    assert (status, answer["status"], answer["at_work"]) == (503, "stopping", 1)
    assert (await asked(app, method="GET", path="/health"))[0] == 200
    status, answer = await asked(app, b"z")
    assert (status, answer["detail"]) == (503, traffic._STOPPING)
    inner.may_answer.set()
    assert await begun == (200, {})
    assert len(inner.bodies) == 1
    slow.cancel()


async def test_a_body_that_comes_while_the_server_stops_is_refused():
    inner = Inner()
    app = Traffic(inner)
    sent, gate = [], asyncio.Event()
    messages = [b"ha", b"lf"]

    async def receive():
        if len(messages) == 1:
            await gate.wait()
        return {"type": "http.request", "body": messages.pop(0), "more_body": bool(messages)}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/rerank", "headers": []}
    asking = asyncio.create_task(app(scope, receive, send))
    await asyncio.sleep(0.02)
    app.draining = True
    gate.set()
    await asking
    assert (sent[0]["status"], inner.bodies) == (503, [])
    assert json.loads(sent[1]["body"])["detail"] == traffic._STOPPING
