"""The policies by name; each is imported when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from rearank_agent.errors import InputError, SetupError, UnsetError
from rearank_agent.extras import require
from rearank_agent.policies.composed import compose
from rearank_agent.policies.protocol import Policy

__all__ = ["DEFAULT", "POLICIES", "PRETRAINED", "RERANK_SERVERS", "policy"]

DEFAULT = "embedded"

POLICIES = {
    "embedded": "rearank_agent.policies.embedded.policy:Embedded",
    "lexical": "rearank_agent.policies.lexical:Lexical",
    "first-stage": "rearank_agent.policies.first_stage:FirstStage",
}
"""Every policy by name: its module and class, imported when it is made."""

PRETRAINED = {
    "cross-encoder": "rearank_agent.policies.pretrained.cross_encoder:CrossEncoder",
    "encoder": "rearank_agent.policies.pretrained.encoder:PretrainedEncoder",
}
"""Kinds of models that are named behind a colon: of the hub, or a folder."""

RERANK_SERVERS = ("rerank", "cohere", "jina", "voyage")
"""The kinds of names for rerank endpoints: those of `llm.rerank_api.PROVIDERS`."""


_NEAR = 0.8
"""Of a provider's letters that must match those of a kind of ours, from 0 to 1."""


def _made(name: str, *arguments: str) -> Policy:
    module, _, kind = (POLICIES | PRETRAINED)[name].partition(":")
    made: Policy = getattr(import_module(module), kind)(*arguments)
    return made


def _embedded(*weights: str) -> Policy:
    """The embedded policy; where its packages are missing, the lexical one in its place."""
    try:
        return _made("embedded", *weights)
    except ImportError as error:
        if error.name not in ("numpy", "onnxruntime", "tokenizers"):
            raise
        from rearank_agent.policies.fallback import Fallback

        reason = f"the embedded policy needs {error.name}: pip install onnxruntime tokenizers"
        return Fallback(_made("lexical"), f"lexical ranks instead; {reason}")


def policy(
    name: str = DEFAULT, wrap: Callable[[Policy], Policy] | None = None, **options: Any
) -> Policy:
    """The policy of a name, also of one made of several (see `composed.compose`).

    Args:
        name: "embedded", "lexical", "first-stage", "embedded:NAME" for other weights (one of
            `shipped_weights`, or a folder), "cross-encoder:NAME" and "encoder:NAME" for a
            repository of the hub or a folder, "rerank:NAME" for a server that reranks (also
            "cohere:", "jina:", "voyage:"), or a language model as "provider:model": "vllm:NAME"
            for one behind vLLM, "anthropic:NAME", "openai:NAME" and all others that pydantic-ai
            knows.
        wrap: put around each policy that is asked: a cache, votes.
        options: of a language model: the keywords of `llm.policy.LLM`, as in `think=False`; of
            several policies the language models get them.

    Raises:
        InputError: no policy has this name, or it takes no options.
        SetupError: it is known, but something it needs is missing or damaged.
    """
    asked: list[str] = []

    def make(one: str) -> Policy:
        asked.append(one)
        made = _single(one, options if _is_model(one) or one == name else {})
        return wrap(made) if wrap else made

    made = compose(name, make, POLICIES)
    if options and not any(map(_is_model, asked)):
        raise _no_options(name, options)
    return made


def _is_model(name: str) -> bool:
    """Whether a name is of a language model."""
    provider, _, rest = name.partition(":")
    other = provider in POLICIES or provider in PRETRAINED or _is_rerank_server(name)
    return bool(provider and rest) and not other


def _is_rerank_server(name: str) -> bool:
    """Whether a name is of a rerank endpoint; Cohere serves language models too."""
    provider, _, model = name.partition(":")
    known = provider in RERANK_SERVERS and (provider != "cohere" or model.startswith("rerank"))
    return known and bool(model)


def _no_options(name: str, options: Mapping[str, Any]) -> InputError:
    given = ", ".join(options)
    return InputError(f"the policy {name} is no language model and takes no options: {given}")


def _language_model(name: str, options: Mapping[str, Any]) -> Policy:
    """A language model; where there is none, a name that is nearly one of ours is told."""
    try:
        require(f"the policy {name}", "llm", "pydantic_ai", "httpx2")
        from rearank_agent.llm.policy import LLM  # pydantic-ai takes most of a second to import

        return LLM(name, **options)
    except UnsetError:
        raise
    except SetupError:
        provider, _, model = name.partition(":")
        near = get_close_matches(provider, (*POLICIES, *PRETRAINED, *RERANK_SERVERS), 1, _NEAR)
        if near and near[0] != provider:
            meant = f"{near[0]}:{model}"
            raise InputError(f"no policy is called {name!r}; is it {meant}?") from None
        raise


def _single(name: str, options: Mapping[str, Any]) -> Policy:
    """The policy of a plain name."""
    provider, _, rest = name.partition(":")
    if _is_model(name):
        return _language_model(name, options)
    served = _is_rerank_server(name)
    weights = [rest] if provider in ("embedded", *PRETRAINED) and rest else []
    if name not in POLICIES and not weights and not served:
        raise InputError(
            f"no policy is called {name!r}; there are: {', '.join(POLICIES)}, "
            "cross-encoder:NAME, encoder:NAME, rerank:NAME, "
            "and models as vllm:NAME, openai:NAME, ..."
        )
    if options:
        raise _no_options(name, options)
    if served:
        require(f"the policy {name}", "llm", "pydantic_ai", "httpx2")
        from rearank_agent.policies.rerank_server import RerankServer

        return RerankServer(provider, rest)
    return _embedded(*weights) if provider == "embedded" else _made(provider, *weights)
