"""Connections that send nothing, or half of a request; ends of a server."""

import asyncio
import contextlib
import socket
import threading
import time
from urllib.request import urlopen

import pytest
import uvicorn

from rearank_mcp import connections
from rearank_mcp.connections import Connection, Server, max_connections
from rearank_mcp.traffic import Traffic


async def answer(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


@pytest.fixture
def port(monkeypatch):
    """A server in a thread that waits 0.3 seconds for a request, and keeps 20 connections."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(Connection, "limit", 20)
    traffic = Traffic(answer)
    config = uvicorn.Config(
        traffic, http=Connection, log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = Server(config, traffic, 5)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()[1]
        server.handle_exit(15, None)
        thread.join(30)
        assert not thread.is_alive()


def works(port):
    with urlopen(f"http://127.0.0.1:{port}/x", timeout=30) as response:
        return response.read() == b"here"


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nA: "],
)
def test_a_connection_without_a_whole_request_is_closed(port, sent):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as half:
        half.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            assert half.recv(100) == b""
    assert works(port)


def test_half_of_a_second_request_is_not_waited_for_either(port):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while b"here" not in got:
            got += client.recv(1000)
        client.sendall(b"GET /x HT")
        with contextlib.suppress(ConnectionResetError):
            while client.recv(100):
                pass
    assert works(port)


def test_idle_connections_make_room_for_others(port):
    held = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(100)]
    try:
        assert all(works(port) for _ in range(5))
    finally:
        for one in held:
            one.close()


async def test_a_connection_with_a_request_in_progress_is_kept(port):
    async def ask():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
        await asyncio.sleep(0.8)  # longer than it waits for headers
        writer.write(b"{}")
        got = await asyncio.wait_for(reader.read(1000), 30)
        writer.close()
        return got

    assert b"200" in await ask()


def test_files_are_left_for_the_work(monkeypatch):
    resource = pytest.importorskip("resource")
    for files, kept in ((256, 156), (20, 8), (1_000_000, 1_000), (resource.RLIM_INFINITY, 1_000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert max_connections() == kept


def test_a_second_signal_ends_at_once(monkeypatch):
    server = Server(uvicorn.Config(answer), Traffic(answer), 60)
    server.traffic.active = 1
    server.handle_exit(15, None)
    assert not asyncio.run(server.on_tick(1))
    server.handle_exit(15, None)
    assert (asyncio.run(server.on_tick(1)), server.force_exit) == (True, True)


def test_the_wait_for_requests_in_progress_is_bounded(monkeypatch):
    server = Server(uvicorn.Config(answer), Traffic(answer), 60)
    server.traffic.active = 1
    server.handle_exit(15, None)
    monkeypatch.setattr(time, "monotonic", lambda: server._end + 1)
    assert asyncio.run(server.on_tick(1))
    assert not server.force_exit
