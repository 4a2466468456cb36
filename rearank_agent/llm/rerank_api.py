"""Rerank endpoints over HTTP, in the form of Cohere and Jina or of Text Embeddings Inference."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from pydantic_ai.exceptions import AgentRunError, ModelHTTPError, UnexpectedModelBehavior

from rearank_agent.errors import UnsetError
from rearank_agent.llm.endpoint import Endpoint
from rearank_agent.llm.limits import process_cap, with_retries
from rearank_agent.llm.model_errors import policy_error, retry_pause
from rearank_agent.llm.per_loop import PerLoop
from rearank_agent.llm.refusals import is_too_long
from rearank_agent.queueing.work import current_work
from rearank_agent.types import Fault

__all__ = ["PROVIDERS", "Provider", "RerankAPI", "Scores"]

_TIMEOUT = 120.0  # seconds of a call
_CUT = {"truncate_prompt_tokens": -1}  # to what the model reads; vLLM alone has the field
_CUT_DETAIL = "some documents are longer than the model reads, and were cut by the server"


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider's endpoint is, and in which form it is asked.

    Attributes:
        url: its address; "" where the environment must name it.
        variable: begins the names of the variables for address and key.
        documents: the most documents of a call.
        top: the field for the number of results.
        fields: sent with every call.
    """

    url: str
    variable: str
    documents: int
    top: str = "top_n"
    fields: Mapping[str, Any] = field(default_factory=dict)


# Limits: docs.cohere.com/reference/rerank, jina.ai/reranker, docs.voyageai.com/docs/reranker.
PROVIDERS = {
    "rerank": Provider("", "RERANK", 100, fields={"return_documents": False}),
    "cohere": Provider("https://api.cohere.com/v2", "COHERE", 1000),
    "jina": Provider("https://api.jina.ai/v1", "JINA", 1000, fields={"return_documents": False}),
    "voyage": Provider("https://api.voyageai.com/v1", "VOYAGE", 1000, "top_k"),
}
"""The kinds of names for rerank endpoints, as in `rerank:MODEL`."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What an endpoint said of some documents.

    Attributes:
        numbers: one for each document, as the endpoint gave them; None where it gave none.
        faults: what was left out, repeated or out of range.
        tokens: read, where it says so.
    """

    numbers: tuple[float | None, ...]
    faults: tuple[Fault, ...]
    tokens: int


class _Connection(Endpoint):
    """The HTTP side of an endpoint, with the address and the key of one provider."""

    provider_name = "rerank"

    def __init__(self, provider: Provider, model: str) -> None:
        self.address_from = f"{provider.variable}_BASE_URL"
        self.key_from = f"{provider.variable}_API_KEY"
        self.unknown_address = (
            f"no rerank server is known: set {self.address_from}, as in http://127.0.0.1:8000/v1"
        )
        super().__init__(model, "" if os.environ.get(self.address_from) else provider.url)
        if provider.url and not os.environ.get(self.key_from):
            raise UnsetError(f"{urlsplit(provider.url).hostname} needs a key: set {self.key_from}")

    async def rerank(self, body: Mapping[str, Any], *, at_root: bool) -> Any:
        """The answer to a request, an object or a list; raises as `_send` does.

        Args:
            body: of the request.
            at_root: whether the path has no version, as in Text Embeddings Inference.
        """
        base = self._base_url.removesuffix("/v1") if at_root else self._base_url
        return await self._send(f"{base}/rerank", body, _TIMEOUT, dict, list)


class RerankAPI:
    """A rerank endpoint, asked within the process's cap and with retries, from any event loop.

    Args:
        kind: one of `PROVIDERS`.
        model: what the server calls it.

    Raises:
        UnsetError: its address or key is not set.
        SetupError: the address cannot be used.
    """

    def __init__(self, kind: str, model: str) -> None:
        self.provider, self.model = PROVIDERS[kind], model
        self._connections = PerLoop(lambda: _Connection(self.provider, model))
        self.base_url = self._connections.first.base_url
        self._at_root = self._texts = False  # the form of Text Embeddings Inference

    async def scores(self, query: str, documents: Sequence[str]) -> Scores:
        """The endpoint's number for each document.

        Raises:
            PolicyError: it could not be asked, refused, or gave no scores.
        """
        try:
            return await self._scores(query, documents)
        except AgentRunError as error:
            raise policy_error(error) from error

    async def _scores(self, query: str, documents: Sequence[str]) -> Scores:
        """As `scores`; what the model cannot read whole is cut by the server, in a second call."""

        async def answer(**more: Any) -> Any:
            return await with_retries(lambda: self._ask(query, documents, more), retry_pause)

        try:
            return _read(await answer(), len(documents))
        except ModelHTTPError as error:
            if self.provider.url or self._texts or not _wants_less(error):
                raise
        found = _read(await answer(**_CUT), len(documents))
        return replace(found, faults=(Fault("cut", (), _CUT_DETAIL), *found.faults))

    async def _ask(self, query: str, documents: Sequence[str], more: Mapping[str, Any]) -> Any:
        """The answer; a server of another form is asked again in that form, from then on too."""
        connection = await self._connections.get()
        while True:
            body = {**self._body(query, documents), **more}
            try:
                async with process_cap().slot(current_work(len(documents))):
                    return await connection.rerank(body, at_root=self._at_root)
            except ModelHTTPError as error:
                if error.status_code == 404 and not self._at_root:
                    self._at_root = True
                elif error.status_code in (400, 422) and _wants_texts(error) and not self._texts:
                    self._texts = True
                else:
                    raise

    def _body(self, query: str, documents: Sequence[str]) -> dict[str, Any]:
        if self._texts:
            return {"query": query, "texts": list(documents), "raw_scores": False, "truncate": True}
        return {
            "model": self.model,
            "query": query,
            "documents": list(documents),
            self.provider.top: len(documents),
            **self.provider.fields,
        }


def _wants_less(error: ModelHTTPError) -> bool:
    """Whether a document is longer than the model reads; 413 is about the request as a whole."""
    return error.status_code in (400, 422) and is_too_long(error.status_code, str(error.body))


def _wants_texts(error: ModelHTTPError) -> bool:
    return "texts" in str(error.body)


def _read(value: Any, n: int) -> Scores:
    """The numbers of an answer, in the order of the documents.

    Raises:
        UnexpectedModelBehavior: it holds no list of results.
    """
    rows = value if isinstance(value, list) else value.get("results", value.get("data"))
    if not isinstance(rows, list):
        raise UnexpectedModelBehavior("the server's answer has no results")
    numbers: list[float | None] = [None] * n
    repeated: list[str] = []
    foreign = 0
    for row in rows:
        index, number = _row(row)
        if index is None or number is None or not 0 <= index < n:
            foreign += 1
        elif numbers[index] is not None:
            repeated.append(str(index))
        else:
            numbers[index] = number
    if n and all(number is None for number in numbers):
        raise UnexpectedModelBehavior("the server's answer scores none of the documents")
    faults = []
    if foreign:
        faults.append(Fault("foreign", (), f"{foreign} results are of no document, or no number"))
    if repeated:
        faults.append(Fault("repeated", tuple(repeated), "scored more than once; the first counts"))
    missing = tuple(str(i) for i, number in enumerate(numbers) if number is None)
    if missing:
        faults.append(Fault("missing", missing, "the server gave no score; they are put last"))
    return Scores(tuple(numbers), tuple(faults), _tokens(value))


def _row(row: Any) -> tuple[int | None, float | None]:
    if not isinstance(row, dict):
        return None, None
    index, number = row.get("index"), row.get("relevance_score", row.get("score"))
    whole = index if isinstance(index, int) and not isinstance(index, bool) else None
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        return whole, None
    return whole, float(number)


def _tokens(value: Any) -> int:
    used = value.get("usage") if isinstance(value, dict) else None
    count = used.get("total_tokens") if isinstance(used, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0
