"""Request and response of /v1/rerank, in the form that Cohere and Jina made common."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from rearank_agent.policies.protocol import Policy, unit_score
from rearank_agent.present.faults import fault_line, unscored_note
from rearank_agent.present.threshold import from_score
from rearank_agent.text import shorten
from rearank_agent.types import Passage, Ranked, Ranking

__all__ = ["MODEL", "ErrorResponse", "RerankRequest", "RerankResponse", "to_response"]

MODEL = "rearank-agent"
"""A model name that every server accepts, whatever its policy."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class Document(_Strict):
    """A document to rank; its other fields are returned unchanged."""

    text: str = Field(description="The text to rank.")
    title: JsonValue = Field(None, description="Ranked in front of the text, if it is a string.")

    @model_validator(mode="after")
    def _can_be_returned(self) -> Document:
        unchanged = {"title": self.title, **(self.model_extra or {})}
        json.dumps(unchanged, allow_nan=False)  # 1e999 is JSON, but infinite as a float
        return self


def _as_document(sent: object) -> object:
    if isinstance(sent, str):
        return {"text": sent}
    if not isinstance(sent, dict):
        raise PydanticCustomError("document", "should be a string, or an object with a text")
    return sent


class RerankRequest(_Strict):
    """A query and documents in any order; unused fields are named in the warnings."""

    query: str = Field(description="The query, in words.")
    documents: list[
        Annotated[Document, BeforeValidator(_as_document, json_schema_input_type=str | Document)]
    ] = Field(min_length=1, description="The documents: strings, or objects with a text.")
    model: str | None = Field(None, description=f"The policy's name, or {MODEL}.")
    top_n: int | None = Field(None, ge=1, description="Maximum number of results; default: all.")
    return_documents: bool | None = Field(None, description="Whether to return the documents.")
    instruction: str | None = Field(None, description="One sentence on what relevant means here.")
    rationale: bool | None = Field(None, description="Whether to return rationales.")
    min_score: float | None = Field(
        None, ge=0, le=1, description="The lowest relevance_score of a result; default: all."
    )

    @property
    def passages(self) -> tuple[Passage, ...]:
        """The documents as the policy reads them; their ids are their indices."""
        return tuple(
            Passage(str(index), one.text, title=one.title if isinstance(one.title, str) else "")
            for index, one in enumerate(self.documents)
        )


class RationaleFields(BaseModel):
    """Why a document has its rank."""

    text: str = Field(description="The policy's rationale; empty if it gave none.")
    evidence: list[str] = Field(description="Quotes from the document, verbatim, best first.")
    has: list[str] = Field(description="The query's terms found in the document.")
    lacks: list[str] = Field(description="The query's terms not found in it.")


class Result(BaseModel):
    """A ranked document."""

    index: int = Field(ge=0, description="Position of the document in the request, from 0.")
    relevance_score: float = Field(ge=0, le=1, description="Falls along the results.")
    document: Document | None = Field(
        None, description="As it was sent; a string as an object with its text."
    )
    rationale: RationaleFields | None = Field(None, description="Left out if the policy gave none.")


class TokenUsage(BaseModel):
    """Tokens that a model read and wrote; 0 from policies without a model."""

    prompt_tokens: int
    total_tokens: int


class Meta(BaseModel):
    """Metadata as in Cohere's API."""

    api_version: dict[str, str]
    billed_units: dict[str, int]
    warnings: list[str] = Field(description="What was repaired, truncated, left out or not used.")


class RerankResponse(BaseModel):
    """The documents, best first."""

    id: str = Field(description="The run, which MCP's explain takes.")
    model: str = Field(description="The policy's name.")
    results: list[Result]
    usage: TokenUsage
    meta: Meta


class ErrorDetail(BaseModel):
    """What was wrong, and how to fix it."""

    code: int
    message: str


class ErrorResponse(BaseModel):
    """An error; `detail` repeats its message, where Jina's clients look for it."""

    error: ErrorDetail
    detail: str


def to_response(request: RerankRequest, ranking: Ranking, policy: Policy, version: str) -> str:
    """The response to a request, as JSON.

    Args:
        request: as it was sent.
        ranking: of its documents.
        policy: the policy that ranked them.
        version: of Cohere's API.
    """
    usage = ranking.usage
    # Scores made from ranks lie in 0 to 1; behind a cascade's last stage its lowest is repeated.
    scale = policy.scale if any(one.scored for one in ranking.passages) else 1.0
    shown, left_out = from_score(ranking, request.min_score)
    written = usage.thought_tokens + usage.answer_tokens
    return RerankResponse(
        id=ranking.run,
        model=policy.name,
        results=[_result(request, one, scale) for one in shown[: request.top_n]],
        usage=TokenUsage(
            prompt_tokens=usage.prompt_tokens, total_tokens=usage.prompt_tokens + written
        ),
        meta=Meta(
            api_version={"version": version},
            billed_units={"search_units": 1},
            warnings=[
                *_warnings(request, ranking),
                *filter(None, (unscored_note(shown[: request.top_n]), left_out)),
            ],
        ),
    ).model_dump_json(exclude_unset=True)


def _result(request: RerankRequest, one: Ranked, scale: float | None) -> Result:
    fields: dict[str, Any] = {}
    if request.return_documents:
        fields["document"] = request.documents[one.was - 1]
    if request.rationale and (why := one.rationale):
        quotes = [one.text[quote.start : quote.end] for quote in why.quotes]
        fields["rationale"] = RationaleFields(
            text=why.text, evidence=quotes, has=list(why.has), lacks=list(why.lacks)
        )
    return Result(index=one.was - 1, relevance_score=unit_score(one.score, scale), **fields)


def _warnings(request: RerankRequest, ranking: Ranking) -> Iterator[str]:
    if unused := [name for name, value in (request.model_extra or {}).items() if value is not None]:
        yield shorten(f"not used: {', '.join(sorted(unused))}", 200)
    if ranking.partial:
        yield "partial: the best order so far"
    yield from map(fault_line, ranking.faults)
