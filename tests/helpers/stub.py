"""A chat completions server with scripted replies, latency and faults."""

import asyncio
import json
import re
import socket
import threading
import time

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


def completion(text, finish="stop", **message):
    """The body of a chat completion."""
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


def shown(body):
    """How many passages a request holds."""
    turns = [m["content"] for m in body["messages"] if m["role"] == "user"]
    return sum(bool(re.match(r"\[\d+\] ", turn)) for turn in turns)


def backwards(body):
    """A reply that puts the window in reverse."""
    order = " > ".join(f"[{i}]" for i in range(shown(body), 0, -1))
    return completion(f"<think>\n[1] is the worst.\n</think>\n<answer>{order}</answer>")


class Stub:
    """The server. `script` takes a request's body and returns the response.

    A response is the body of a completion, a Response, a number of seconds to wait before the
    usual response, or "reset" to break the connection. Without a script every window is reversed.

    Attributes:
        bodies: of the requests to /chat/completions and /responses, in order.
        running, most: requests in progress, now and at most.
        given_up: requests the client broke off.
    """

    def __init__(self, script=None):
        self.script = script or backwards
        self.bodies, self.keys = [], []
        self.lookups = 0
        self.running = self.most = self.given_up = 0
        self.models = None
        self.count = None
        routes = [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/responses", self._chat, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/tokenize", self._tokenize, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_level="critical", lifespan="off")
        self._server = uvicorn.Server(config)
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    async def _chat(self, request):
        body = json.loads(await request.body())
        self.bodies.append(body)
        self.keys.append(request.headers.get("authorization"))
        self.running += 1
        self.most = max(self.most, self.running)
        left = asyncio.create_task(_gone(request))
        work = asyncio.create_task(self._answer(request, body))
        try:
            await asyncio.wait([left, work], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.given_up += 1
                return Response(status_code=499)
            return work.result()
        finally:
            self.running -= 1
            left.cancel()
            work.cancel()

    async def _answer(self, request, body):
        response = self.script(body)
        if isinstance(response, int | float):
            await asyncio.sleep(response)
            response = backwards(body)
        if response == "reset":
            (connection,) = (
                c
                for c in self._server.server_state.connections
                if c.client[1] == request.client.port
            )
            connection.transport.abort()
            response = Response()
        if isinstance(response, Response):
            return response
        sent = json.dumps(
            {"model": body["model"], **response}
        )  # ASCII: it may hold half characters
        return Response(sent, media_type="application/json")

    async def _models(self, request):
        self.lookups += 1
        if self.models is None:
            return Response(status_code=404)
        return JSONResponse({"data": self.models})

    async def _tokenize(self, request):
        if self.count is None:
            return Response(status_code=404)
        return JSONResponse({"count": self.count(json.loads(await request.body()))})

    def __enter__(self):
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        return self

    def __exit__(self, *_):
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)
        self._socket.close()


async def _gone(request):
    while not await request.is_disconnected():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def endless():
    """A reply that never ends."""

    async def chunks():
        while True:
            yield b" " * 65536
            await asyncio.sleep(0.001)

    return StreamingResponse(chunks(), media_type="application/json")


def half():
    """A reply shorter than its content-length."""

    async def chunks():
        yield b'{"choices": [{"mess'
        raise ConnectionError("the server fell over")

    return StreamingResponse(chunks(), headers={"content-length": "500"})
