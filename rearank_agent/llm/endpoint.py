"""A pydantic-ai model for any server that speaks OpenAI's chat completions.

pydantic-ai's own OpenAI model does the same through the OpenAI client, which spends 14 of its
20 ms a call on our forty messages; this one takes 2 (docs/figures.md). It also bounds what a
server may send, reads answers that lack optional fields, and reaches loopback past any proxy.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

import httpx2
from pydantic_ai.exceptions import (
    ModelConnectionError,
    ModelTimeoutError,
    UnexpectedModelBehavior,
)
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, check_allow_model_requests
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings

from rearank_agent.errors import SetupError, UnsetError
from rearank_agent.llm.bounded import MAX_BYTES
from rearank_agent.llm.chat_completions import to_error, to_messages, to_response
from rearank_agent.redact import add_login, add_secret, redact

__all__ = ["Endpoint"]

_NO_LIMIT = httpx2.Timeout(None, connect=5.0)  # pydantic-ai's request_timeout is the limit
_SHORT = 10.0  # seconds for all of any other answer, however slowly it comes
_PASSED_ON = ("max_tokens", "max_completion_tokens", "temperature", "seed", "repetition_penalty")


class Endpoint(Model[Any]):
    """Chat completions over HTTP, for the event loop that uses it first.

    Attributes:
        base_url: ends with the version, as in http://127.0.0.1:8000/v1.
        defaults: settings sent with every call unless the server refuses them.

    Raises:
        UnsetError: no address is given, and none is in the environment.
        SetupError: it is not a plain address, or the environment's proxy cannot be used.
    """

    unsupported_settings = frozenset({"top_k", "logit_bias", "stop_sequences"})
    defaults: ClassVar[Mapping[str, Any]] = {}
    provider_name = "openai"
    address_from, key_from = "OPENAI_BASE_URL", "OPENAI_API_KEY"
    unknown_address = "no server is known: set OPENAI_BASE_URL, as in http://127.0.0.1:8000/v1"

    def __init__(self, name: str, base_url: str = "", key: str = "") -> None:
        super().__init__(profile=ModelProfile(supports_thinking=True))
        self._name = name
        self._base_url = self._address(base_url or os.environ.get(self.address_from, ""))
        self._client = _client(self._base_url, self._authorization(key))

    @property
    def model_name(self) -> str:
        """What the server calls it."""
        return self._name

    @property
    def system(self) -> str:
        """The provider, in spans."""
        return self.provider_name

    @property
    def base_url(self) -> str:
        """Where the server answers, without a login."""
        return redact(self._base_url)

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,  # noqa: ARG002
    ) -> ModelResponse:
        """One reply to these messages.

        Raises:
            ModelAPIError: the server cannot be reached or refused; the subclass tells which.
            UnexpectedModelBehavior: its answer is no chat completion.
        """
        check_allow_model_requests()
        settings: Mapping[str, Any] = cast(Mapping[str, Any], model_settings or {})
        body: dict[str, Any] = {"model": self._name, "messages": to_messages(messages)}
        body |= {name: settings[name] for name in _PASSED_ON if name in settings}
        thinking = settings.get("thinking")
        if thinking is False:
            body["chat_template_kwargs"] = {"enable_thinking": False}
        elif isinstance(thinking, str):
            body["reasoning_effort"] = thinking
        body |= settings.get("extra_body", {})
        return to_response(self._name, await self._json("/chat/completions", body))

    async def models(self) -> dict[str, dict[str, Any]]:
        """The rows of the server's model list, by the name it serves each under."""
        listed = (await self._json("/models")).get("data")
        rows = listed if isinstance(listed, list) else []
        return {str(row.get("id")): row for row in rows if isinstance(row, dict)}

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def _json(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        url, slow = self._base_url + path, path == "/chat/completions"
        if path == "/tokenize":  # the only path without the version
            url = self._base_url.rsplit("/", 1)[0] + path
        value: dict[str, Any] = await self._send(url, body, None if slow else _SHORT, dict)
        return value

    async def _send(
        self, url: str, body: Mapping[str, Any] | None, seconds: float | None, *kinds: type
    ) -> Any:
        """The server's answer, as JSON of one of these kinds.

        Raises:
            ModelAPIError: it cannot be reached or refused; the subclass tells which.
            UnexpectedModelBehavior: its answer is another, or too large.
        """
        async with (
            self._errors(),
            asyncio.timeout(seconds),
            self._client.stream(
                "GET" if body is None else "POST",
                url,
                headers={"Content-Type": "application/json"},
                timeout=_NO_LIMIT,
                content=None if body is None else json.dumps(body).encode(),
            ) as answer,
        ):
            text = await _bounded(answer)
        if answer.status_code >= 400:
            raise to_error(self._name, answer.status_code, text, answer.headers)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, kinds):
            shown = redact(text.decode(errors="replace"))[:200]  # a cut key would not be found
            raise UnexpectedModelBehavior(f"the server's answer is not JSON: {shown!r}")
        return value

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise ModelTimeoutError(self._name, f"{self.base_url}: no answer in time") from error
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ModelConnectionError(self._name, f"{self.base_url}: {reason}") from error

    def _address(self, url: str) -> str:
        """The address with its version, `/v1` where none is given."""
        url = url.strip().rstrip("/")
        if not url:
            raise UnsetError(self.unknown_address)
        parts = urlsplit(url)
        plain = (
            parts.scheme in ("http", "https")
            and parts.netloc
            and not (parts.query or parts.fragment)
        )
        if not plain:
            raise SetupError(
                f"{self.address_from} must be a plain address, as in http://127.0.0.1:8000/v1; "
                f"a key goes into {self.key_from}"
            )
        if "@" in parts.path or parts.netloc.count("@") > 1:
            raise SetupError(f"{self.address_from}: write @ in a password as %40, and / as %2F")
        add_login(url)
        return url if parts.path else f"{url}/v1"

    def _authorization(self, key: str) -> dict[str, str]:
        key = (key or os.environ.get(self.key_from, "")).strip()
        if not key:
            return {}
        if not key.isascii() or not key.isprintable():
            raise SetupError(f"the key of the server ({self.key_from}) must be printable ASCII")
        add_secret(key)
        return {"Authorization": f"Bearer {key}"}


def _is_this_machine(host: str) -> bool:
    """Whether a host is loopback, by its name or its address; 0.0.0.0 reaches it too."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _client(base_url: str, headers: Mapping[str, str]) -> httpx2.AsyncClient:
    local = _is_this_machine(urlsplit(base_url).hostname or "")
    try:
        return httpx2.AsyncClient(
            headers={"Accept-Encoding": "identity", **headers},
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=not local,  # no proxy goes to loopback
        )
    except (ImportError, ValueError) as error:  # SOCKS without its package; an unknown scheme
        reason = " ".join(str(error).split())
        raise SetupError(
            f"the proxy that the environment names cannot be used (ALL_PROXY, HTTPS_PROXY, "
            f"HTTP_PROXY): {redact(reason)}; NO_PROXY exempts a host"
        ) from None


async def _bounded(answer: httpx2.Response) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.aiter_raw():
        size += len(chunk)
        if size > MAX_BYTES:
            raise UnexpectedModelBehavior(f"the server sent more than {MAX_BYTES:,} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
