"""What goes over the wire at /v1/rerank: the shape that Cohere and Jina made common."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from rearank_agent.policies.protocol import Policy, unit_score
from rearank_agent.present.faults import fault_line
from rearank_agent.text import shorten
from rearank_agent.types import Passage, Ranked, Ranking

__all__ = ["MODEL", "ErrorResponse", "RerankRequest", "RerankResponse", "to_response"]

MODEL = "rearank-agent"
"""What every server of ours answers to as a model, whoever judges."""


class _Sent(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class Document(_Sent):
    """A text to judge; its other fields are given back untouched."""

    text: str = Field(description="What is judged.")
    title: JsonValue = Field(None, description="Judged in front of the text, if it is a string.")

    @model_validator(mode="after")
    def _can_be_given_back(self) -> Document:
        given = {"title": self.title, **(self.model_extra or {})}
        json.dumps(given, allow_nan=False)  # 1e999 is JSON, and no number here
        return self


def _document(sent: object) -> object:
    if isinstance(sent, str):
        return {"text": sent}
    if not isinstance(sent, dict):
        raise PydanticCustomError("document", "should be a string, or an object with a text")
    return sent


class RerankRequest(_Sent):
    """A query and documents in any order; fields that are not used are told in the warnings."""

    query: str = Field(description="What is asked, in words.")
    documents: list[
        Annotated[Document, BeforeValidator(_document, json_schema_input_type=str | Document)]
    ] = Field(min_length=1, description="What is ranked: strings, or objects with a text.")
    model: str | None = Field(None, description=f"The policy's name, or {MODEL}.")
    top_n: int | None = Field(None, ge=1, description="The most results; all, unless told.")
    return_documents: bool | None = Field(None, description="Whether to give documents back.")
    instruction: str | None = Field(None, description="One sentence on what relevant means here.")
    rationale: bool | None = Field(None, description="Whether to say why.")

    @property
    def passages(self) -> tuple[Passage, ...]:
        """The documents as the policy reads them; their ids are their indices."""
        return tuple(
            Passage(str(index), one.text, title=one.title if isinstance(one.title, str) else "")
            for index, one in enumerate(self.documents)
        )


class RationaleFields(BaseModel):
    """Why a document stands where it stands."""

    text: str = Field(description="The judge's own words; empty if it has none.")
    evidence: list[str] = Field(description="Quotes from the document, verbatim, best first.")
    has: list[str] = Field(description="The query's terms found in the document.")
    lacks: list[str] = Field(description="The query's terms not found in it.")


class Result(BaseModel):
    """A document in its new place."""

    index: int = Field(ge=0, description="Of the document in the request, from 0.")
    relevance_score: float = Field(ge=0, le=1, description="Falls along the results.")
    document: Document | None = Field(None, description="As it was sent; a string as its text.")
    rationale: RationaleFields | None = Field(
        None, description="Left out where the policy gave none."
    )


class TokenUsage(BaseModel):
    """What a model read and wrote; 0 from policies without one."""

    prompt_tokens: int
    total_tokens: int


class Meta(BaseModel):
    """Cohere's account of a request."""

    api_version: dict[str, str]
    billed_units: dict[str, int]
    warnings: list[str] = Field(description="What was mended, cut, left out or not used.")


class RerankResponse(BaseModel):
    """The best documents first."""

    id: str = Field(description="The run, by which MCP's explain knows it.")
    model: str = Field(description="The policy's name.")
    results: list[Result]
    usage: TokenUsage
    meta: Meta


class ErrorDetail(BaseModel):
    """What was wrong, and who can mend it."""

    code: int
    message: str


class ErrorResponse(BaseModel):
    """An error; `detail` is its message again, where Jina's clients look for it."""

    error: ErrorDetail
    detail: str


def to_response(asked: RerankRequest, ranking: Ranking, policy: Policy, version: str) -> str:
    """The answer to a request, as JSON.

    Args:
        asked: the request.
        ranking: of its documents.
        policy: who ranked them.
        version: of Cohere's API.
    """
    usage = ranking.usage
    written = usage.thought_tokens + usage.answer_tokens
    return RerankResponse(
        id=ranking.run,
        model=policy.name,
        results=[_result(asked, one, policy) for one in ranking.passages[: asked.top_n]],
        usage=TokenUsage(
            prompt_tokens=usage.prompt_tokens, total_tokens=usage.prompt_tokens + written
        ),
        meta=Meta(
            api_version={"version": version},
            billed_units={"search_units": 1},
            warnings=list(_warnings(asked, ranking)),
        ),
    ).model_dump_json(exclude_unset=True)


def _result(asked: RerankRequest, one: Ranked, policy: Policy) -> Result:
    wanted: dict[str, Any] = {}
    if asked.return_documents:
        wanted["document"] = asked.documents[one.was - 1]
    if asked.rationale and (why := one.rationale):
        quotes = [one.text[quote.start : quote.end] for quote in why.quotes]
        wanted["rationale"] = RationaleFields(
            text=why.text, evidence=quotes, has=list(why.has), lacks=list(why.lacks)
        )
    scale = policy.scale if one.scored else 1.0  # the ranks' own stand-ins are shares already
    return Result(index=one.was - 1, relevance_score=unit_score(one.score, scale), **wanted)


def _warnings(asked: RerankRequest, ranking: Ranking) -> Iterator[str]:
    if unused := [name for name, value in (asked.model_extra or {}).items() if value is not None]:
        yield shorten(f"not used: {', '.join(sorted(unused))}", 200)
    if ranking.partial:
        yield "partial: the best order so far"
    yield from map(fault_line, ranking.faults)
