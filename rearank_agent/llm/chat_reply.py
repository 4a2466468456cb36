"""A model's reply as text, and what is odd about it: half characters, another model's name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic_ai.messages import ModelResponse, TextPart, ThinkingPart
from pydantic_ai.models import Model
from pydantic_ai.models.fallback import FallbackModel

from rearank_agent.listwise.answer_format import join_reasoning
from rearank_agent.redact import redact
from rearank_agent.text import shorten, whole_characters
from rearank_agent.types import Fault, Usage

__all__ = ["ChatReply", "same_model", "to_reply"]

_THOUGHT_TOKENS = (
    "reasoning_tokens", "output_reasoning_tokens", "thinking_tokens", "thoughts_tokens",
)  # fmt: skip
_VERSION = re.compile(r"[-@:](\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|\d{3}|latest)$")
_OWN_NAMES = frozenset({"azure"})  # what is asked for there is a deployment, not a model


@dataclass(frozen=True, slots=True)
class ChatReply:
    """A model's reply.

    Attributes:
        text: reasoning the provider sent separately is in front, inside its tags.
        untagged: the same without these tags, for a reply that continues after closed
            reasoning: a server that parses reasoning out may take it for some.
        complete: whether it ended by itself, not at the limit of tokens.
        usage: its tokens, without the call; of the reasoning only those that the provider
            counts separately.
        faults: of the whole request: `surrogate` and `model`.
    """

    text: str
    untagged: str
    complete: bool
    usage: Usage
    faults: tuple[Fault, ...] = ()


def to_reply(response: ModelResponse, model: Model) -> ChatReply:
    """The reply in a response of this model."""
    raw_thought = "\n".join(p.content for p in response.parts if isinstance(p, ThinkingPart))
    raw_answer = "".join(p.content for p in response.parts if isinstance(p, TextPart))
    thought, answer = whole_characters(raw_thought), whole_characters(raw_answer)
    halved = (thought, answer) != (raw_thought, raw_answer)
    reasoning, answer = redact(thought).strip(), redact(answer)
    complete = response.finish_reason != "length"
    used = response.usage
    counted = max((used.details.get(name, 0) for name in _THOUGHT_TOKENS), default=0)
    usage = Usage(
        prompt_tokens=used.input_tokens,
        cached_tokens=used.cache_read_tokens,
        thought_tokens=counted,
        answer_tokens=max(0, used.output_tokens - counted),
    )
    text = join_reasoning(reasoning, answer, ended=complete or bool(answer.strip()))
    faults = tuple(_faults(response, model, halved=halved))
    return ChatReply(text, reasoning + answer, complete, usage, faults)


def _faults(response: ModelResponse, model: Model, *, halved: bool) -> Iterator[Fault]:
    if halved:
        detail = "half characters (lone surrogates) in the model's reply are shown as U+FFFD"
        yield Fault("surrogate", (), detail)
    named, asked = response.model_name or "", model.model_name
    several = isinstance(model, FallbackModel)  # each of them has its own name
    if several or model.system in _OWN_NAMES or same_model(asked, named):
        return
    shown = shorten(whole_characters(redact(named)), 200)
    yield Fault("model", (), f"{shown} answered, where {asked} was asked for")


def same_model(asked: str, named: str) -> bool:
    """Whether the name in a reply can be the model that was asked for.

    Providers name the version behind an alias (a date, a number, `latest`), and servers the
    folder or organisation of a model, or the file with its ending; case does not count. Two
    different versions are two models. No name says nothing.
    """
    if not named:
        return True
    a, b = (re.sub(r"\.gguf$", "", name.strip().lower()) for name in (asked, named))
    versions = [match[1] for one in (a, b) if (match := _VERSION.search(one))]
    fixed = {version for version in versions if version != "latest"}
    if len(versions) == 2 and len(fixed) == 2:
        return False
    parts = sorted((_VERSION.sub("", one).strip("/").split("/") for one in (a, b)), key=len)
    return parts[1][-len(parts[0]) :] == parts[0]
