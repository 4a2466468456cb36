"""A model server that sends a gigabyte, or packs one."""

import gzip
import socket
import threading
from collections.abc import Callable
from functools import cache

__all__ = ["HostileServer", "bombs", "floods", "whole"]

Answer = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def whole(content: bytes) -> Answer:
    """An answer in order."""

    def answer(client: socket.socket) -> None:
        client.sendall(HEAD + f"Content-Length: {len(content)}\r\n\r\n".encode() + content)

    return answer


def floods(client: socket.socket) -> None:
    """A gigabyte of one JSON string."""
    client.sendall(HEAD + b'Content-Length: 1000000000\r\n\r\n{"choices": "')
    for _ in range(1000):
        client.sendall(b"x" * 1_000_000)


def bombs(client: socket.socket) -> None:
    """A megabyte of gzip that unpacks to a gigabyte."""
    packed = _bomb()
    head = HEAD + f"Content-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    client.sendall(head + packed)


@cache
def _bomb() -> bytes:
    return gzip.compress(bytes(1_000_000_000), 1)


class HostileServer:
    """Answers on loopback, each path in its way, until it is closed."""

    def __init__(self, chat: Answer, models: Answer) -> None:
        self.chat, self.models = chat, models
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1"

    def __enter__(self) -> "HostileServer":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        try:
            with client:
                request = client.recv(1_000_000)
                answer = self.models if b"/models" in request.split(b"\r\n")[0] else self.chat
                answer(client)
        except OSError:
            pass  # the client has gone
