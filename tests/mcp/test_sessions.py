"""Room for new sessions."""

import asyncio

from rearank_mcp import sessions
from rearank_mcp.sessions import Sessions


class Inner:
    """An application that begins and ends sessions, as the SDK does."""

    def __init__(self):
        self.open, self.number, self.may_answer = [], 0, asyncio.Event()
        self.may_answer.set()

    async def __call__(self, scope, receive, send):
        given = dict(scope["headers"]).get(b"mcp-session-id", b"").decode()
        headers, status = [], 200
        if given and given not in self.open:
            status = 404
        elif scope["method"] == "DELETE":
            self.open.remove(given)
        elif not given:
            self.number += 1
            self.open.append(f"s{self.number}")
            headers = [(b"mcp-session-id", self.open[-1].encode())]
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


async def asked(app, session="", method="POST", client="a"):
    statuses = []

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [
        (b"host", b"localhost"),
        *([(b"mcp-session-id", session.encode())] if session else []),
    ]
    scope = {
        "type": "http",
        "method": method,
        "path": "/mcp",
        "headers": headers,
        "client": (client, 1),
    }
    await app(scope, None, send)
    return statuses[0]


async def test_the_session_that_was_used_longest_ago_makes_room(monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    inner = Inner()
    app = Sessions(inner)
    for _ in range(3):
        await asked(app)
    await asked(app, "s1")
    await asked(app)
    assert inner.open == ["s1", "s3", "s4"]
    assert await asked(app, "s2") == 404
    await asked(app, "s3", "DELETE")
    await asked(app)
    assert inner.open == ["s1", "s4", "s5"]


async def test_a_flood_ends_its_own_sessions(monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 4)
    inner = Inner()
    app = Sessions(inner)
    await asked(app, client="quiet")
    for _ in range(50):
        await asked(app, client="flood")
    assert inner.open == ["s1", "s49", "s50", "s51"]


async def test_a_session_in_use_is_not_ended(monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 2)
    inner = Inner()
    app = Sessions(inner)
    for _ in range(2):
        await asked(app)
    inner.may_answer.clear()
    in_use = asyncio.create_task(asked(app, "s1", "GET"))
    await asyncio.sleep(0.02)
    inner.may_answer.set()
    inner.may_answer = asyncio.Event()
    inner.may_answer.set()
    await asked(app)
    assert await in_use == 200
    assert inner.open == ["s1", "s3"]
