"""The server over HTTP, as a process of its own on loopback."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.test import TestModel

from helpers.stub import Stub
from helpers.terminal import PROGRAM
from rearank_agent.errors import InputError, SetupError
from rearank_mcp.http import Address, listen

HEADERS = {"Accept": "application/json, text/event-stream"}
TOKEN = {"Authorization": "Bearer open-sesame"}
FLEAS = {"query": "how far can a flea jump", "passages": ["Dogs bark.", "A flea jumps 20 cm."]}


def request(method, **params):
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


START = request(
    "initialize",
    protocolVersion="2025-06-18",
    capabilities={},
    clientInfo={"name": "t", "version": "1"},
)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts a server; gives its process and its URL."""
    started = []

    def go(*options, **environment):
        cache = str(tmp_path_factory.mktemp("cache"))
        started.append(
            subprocess.Popen(
                [PROGRAM, "mcp", "--http", "127.0.0.1:0", *options],
                stderr=subprocess.PIPE,
                env={**os.environ, "REARANK_CACHE": cache, **environment},
            )
        )
        line = started[-1].stderr.readline().decode()
        return started[-1], re.search(r"http://\S+/mcp", line)[0]

    yield go
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def url(start):
    return start()[1]


@pytest.fixture(scope="module")
def guarded(start):
    """A server that wants a token, and allows a host and an origin."""
    allowed = ("--allow-host", "ranks.example", "--allow-origin", "https://app.example")
    return start(*allowed, REARANK_TOKEN="open-sesame")[1]


@pytest.fixture(scope="module")
def model():
    """A server of models; each test says what it answers."""
    with Stub() as running:
        yield running


@pytest.fixture(scope="module")
def asking(start, model):
    """A server that asks a model, for queries of a test's own: replies are cached."""
    known = {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "any"}
    return start("--policy", "openai-chat:slow", **known)[1]


async def works(url, **more):
    async with Client(url, **more) as client:
        result = await client.call_tool("rerank", FLEAS)
    return result.structured_content["ranking"][0]["number"] == 2


async def test_every_session_is_told_what_is_left_out(start, tmp_path):
    (tmp_path / "a.md").write_text("A flea jumps.")
    (tmp_path / "a.png").write_bytes(b"")
    _, url = start("--root", str(tmp_path), "--policy", "lexical")
    for _ in range(2):
        async with Client(url, mode="legacy") as client:
            found = [await client.call_tool("search", {"query": "flea"}) for _ in range(2)]
        notes = [result.structured_content["notes"] for result in found]
        assert [note.split(":")[0] for note in notes[0]] == ["binary"]
        assert notes[1] == []
    async with Client(url, mode="auto") as client:
        (note,) = (await client.call_tool("search", {"query": "flea"})).structured_content["notes"]
    assert note.startswith("binary: ")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_speaks_with_it(url, mode):
    seen = []

    async def note(*step):
        seen.append(step)

    async with Client(url, mode=mode) as client:
        assert client.server_info.name == "rearank-agent"
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["rerank", "search", "read", "explain"]
        result = await client.call_tool("rerank", FLEAS, progress_callback=note)
        run = result.structured_content["run"]
        why = await client.call_tool("explain", {"run": run, "passage": "2"})
        assert "rank 1 of 2, was 2" in why.content[0].text
    assert [step[2] for step in seen] == ["ranking 2 passages", "ranking 2 passages: turn 1 of 1"]


async def test_an_agent_of_pydantic_ai_speaks_with_it(url):
    agent = Agent(TestModel(call_tools=["rerank"]), toolsets=[MCPToolset(url)])
    async with agent:
        said = json.loads((await agent.run("go")).output)
    assert [line["number"] for line in said["rerank"]["ranking"]] == [1]


async def test_thirty_two_clients_at_once(url):
    assert all(await asyncio.gather(*(works(url) for _ in range(32))))


async def test_two_hundred_requests_at_once(url):
    async with Client(url) as client:
        calls = (client.call_tool("rerank", FLEAS) for _ in range(200))
        results = await asyncio.gather(*calls)
    assert not any(result.is_error for result in results)


async def test_a_slash_too_many_leads_to_the_server(url):
    async with httpx2.AsyncClient() as client:
        response = await client.post(f"{url}/", json=START, headers=HEADERS)
    assert (response.status_code, response.headers["location"]) == (307, url)


async def test_health(url):
    async with httpx2.AsyncClient() as client:
        response = await client.get(url.replace("/mcp", "/health"))
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "version": "0.1.0", "at_work": 0}


def foreign(**headers):
    return {"headers": HEADERS | headers, "json": START}


BAD = {
    "a host with a name for a port": (421, foreign(Host="localhost:evil.example")),
    "an origin that begins like ours": (403, foreign(Origin="http://localhost:1.evil.example")),
    "an origin with a login": (403, foreign(Origin="http://localhost:1@evil.example")),
    "a foreign host": (421, {"headers": HEADERS | {"Host": "evil.example"}, "json": START}),
    "a foreign origin": (
        403,
        {"headers": HEADERS | {"Origin": "https://evil.example"}, "json": START},
    ),
    "not JSON": (400, {"headers": HEADERS | {"Content-Type": "application/json"}, "content": b"{"}),
    "no content type": (400, {"headers": HEADERS, "content": b"{}"}),
    "invalid UTF-8": (
        400,
        {"headers": HEADERS | {"Content-Type": "application/json"}, "content": b'{"a": "\xff"}'},
    ),
    "20 MB": (
        413,
        {"headers": HEADERS, "json": request("tools/call", name="x", text="a" * 20_000_000)},
    ),
    "no session": (400, {"headers": HEADERS, "json": request("tools/list")}),
    "a wrong session": (
        404,
        {"headers": HEADERS | {"Mcp-Session-Id": "x"}, "json": request("tools/list")},
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_requests_are_refused(url, case):
    status, sent = BAD[case]
    async with httpx2.AsyncClient(timeout=30) as client:
        response = await client.post(url, **sent)
    assert response.status_code == status
    assert response.text
    assert await works(url)


async def test_pages_of_this_machine_may_call(url):
    async with httpx2.AsyncClient(timeout=30) as client:
        headers = HEADERS | {"Origin": "http://localhost:6274"}
        assert (await client.post(url, headers=headers, json=START)).status_code == 200


async def test_a_host_and_an_origin_may_be_allowed(guarded):
    headers = HEADERS | {"Host": "ranks.example", "Origin": "https://app.example"} | TOKEN
    async with httpx2.AsyncClient(timeout=30) as client:
        assert (await client.post(guarded, headers=headers, json=START)).status_code == 200


async def test_a_browser_lets_the_pages_call_that_are_allowed(guarded):
    service = guarded.replace("/mcp", "/v1/rerank")
    wanted = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, mcp-session-id",
    }
    async with httpx2.AsyncClient(timeout=30) as client:
        for origin in ("https://app.example", "http://localhost:6274"):
            page = {"Origin": origin}
            for place in (guarded, service):
                response = await client.options(place, headers=wanted | page)
                assert response.status_code == 200
                assert response.headers["access-control-allow-origin"] == origin
                assert "authorization" in response.headers["access-control-allow-headers"]
            body = {"query": "flea", "documents": ["a flea"]}
            answer = await client.post(service, json=body, headers=TOKEN | page)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == origin
            assert (await client.post(service, json=body, headers=page)).status_code == 401
        evil = await client.options(guarded, headers=wanted | {"Origin": "https://evil.example"})
        assert evil.status_code == 403


async def test_a_token_is_wanted_where_one_is_set(start):
    process, url = start(REARANK_TOKEN="open-sesame")
    twice = [("Authorization", "Bearer wrong"), ("Authorization", "Bearer open-sesame")]
    async with httpx2.AsyncClient(timeout=30) as client:
        sent = [*HEADERS.items(), *twice]
        assert (await client.post(url, headers=sent, json=START)).status_code == 401
        sent = HEADERS | {"Authorization": "bearer open-sesame"}
        assert (await client.post(url, headers=sent, json=START)).status_code == 200
    for sent in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "open-sesame"}):
        async with httpx2.AsyncClient(timeout=30) as client:
            response = await client.post(url, headers=HEADERS | sent, json=START)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert "the bearer token is missing or wrong" in response.text
            health = await client.get(url.replace("/mcp", "/health"))
            assert health.status_code == 200
    for mode in ("auto", "legacy"):
        async with httpx2.AsyncClient(headers=TOKEN, timeout=30) as known:
            assert await works(streamable_http_client(url, http_client=known), mode=mode)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"open-sesame" not in err


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_that_disappears_harms_nobody(asking, model, mode):
    model.script = lambda body: 1.0
    before, asked = model.given_up, len(model.bodies)
    leaving = f"""
import asyncio, os
from mcp import Client
async def main():
    async with Client({asking!r}, mode={mode!r}) as client:
        calls = [client.call_tool("rerank", {FLEAS!r} | {{"query": f"{mode} {{n}}"}}) for n in range(5)]
        asyncio.get_running_loop().call_later(0.5, os._exit, 0)
        await asyncio.gather(*calls)
asyncio.run(main())
"""
    gone = await asyncio.create_subprocess_exec(sys.executable, "-c", leaving)
    assert await gone.wait() == 0
    assert len(model.bodies) > asked
    async with Client(asking, mode=mode) as client:
        result = await client.call_tool("rerank", FLEAS | {"query": f"{mode} is still there"})
        assert not result.is_error
    if mode == "auto":
        assert model.given_up > before


async def test_cancelling_stops_the_model_calls(asking, model):
    model.script = lambda body: 30
    for mode in ("auto", "legacy"):
        before = model.given_up
        async with Client(asking, mode=mode) as client:
            call = client.call_tool("rerank", FLEAS | {"query": f"{mode} is too late"})
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call, 1)
            for _ in range(200):
                if model.given_up > before:
                    break
                await asyncio.sleep(0.02)
            assert model.given_up > before


async def test_a_model_that_is_down_is_a_flagged_result(start):
    _, url = start(
        "--policy",
        "openai-chat:x",
        OPENAI_BASE_URL="http://127.0.0.1:9/v1",
        OPENAI_API_KEY="sk-hush",
    )
    async with Client(url) as client:
        result = await client.call_tool("rerank", FLEAS)
    assert not result.is_error
    assert result.structured_content["partial"] is True
    assert "note: failed: " in result.content[0].text
    assert "sk-hush" not in json.dumps(result.structured_content)


def test_other_machines_need_a_token(run, monkeypatch):
    code, _, err = run("mcp", "--http", "0.0.0.0:0")
    assert code == 1
    assert "set REARANK_TOKEN" in err
    listen(Address("0.0.0.0", 0), "token").close()


def test_an_address_that_is_taken_is_an_error():
    with listen(Address("127.0.0.1", 0), None) as first:
        # without it every answer waits 40 ms for an acknowledgement
        assert first.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        address = Address("127.0.0.1", first.getsockname()[1])
        with pytest.raises(SetupError, match=r"cannot listen on a\.\.b:1"):
            listen(Address("a..b", 1), None)
        with pytest.raises(SetupError, match=r"cannot listen on 127\.0\.0\.1:"):
            listen(address, None)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8808", Address("127.0.0.1", 8808)),
        ("8808", Address("127.0.0.1", 8808)),
        (":8808", Address("127.0.0.1", 8808)),
        ("[::1]:8808", Address("::1", 8808)),
        ("localhost:0", Address("localhost", 0)),
    ],
)
def test_addresses_are_read(text, address):
    assert Address.of(text) == address


@pytest.mark.parametrize("text", ["", "x", "127.0.0.1", "1:99999", "a:b", "a:²", "1:" + "9" * 5000])
def test_what_is_no_address_is_an_error(text):
    with pytest.raises(InputError, match="an address is HOST:PORT"):
        Address.of(text)
