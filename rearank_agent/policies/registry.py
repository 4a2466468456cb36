"""The policies by name; each is imported when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from rearank_agent.errors import InputError, SetupError, UnsetError
from rearank_agent.extras import require
from rearank_agent.policies.composed import compose, single_names
from rearank_agent.policies.protocol import Policy

__all__ = [
    "DEFAULT", "LIKELIHOOD", "POLICIES", "PRETRAINED", "RERANK_SERVERS", "is_local", "policy",
    "takes_option",
]  # fmt: skip

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

LIKELIHOOD = "likelihood"
"""Begins the names of query likelihoods, as in `likelihood:vllm:NAME`."""

_NO_MODEL = "is no language model and takes no options"
_NEAR = 0.8
"""Of a provider's letters that must match those of a kind of ours, from 0 to 1."""


def _made(name: str, *arguments: str, **options: Any) -> Policy:
    module, _, kind = (POLICIES | PRETRAINED)[name].partition(":")
    made: Policy = getattr(import_module(module), kind)(*arguments, **options)
    return made


def _embedded(*weights: str, keep_vectors: bool) -> Policy:
    """The embedded policy; where its packages are missing, the lexical one in its place."""
    try:
        if not keep_vectors:
            return _made("embedded", *weights)
        from rearank_agent.policies.embedded.vector_store import vector_store

        return _made("embedded", *weights, store=vector_store())
    except ImportError as error:
        if error.name not in ("numpy", "onnxruntime", "tokenizers"):
            raise
        from rearank_agent.policies.fallback import Fallback

        reason = f"the embedded policy needs {error.name}: pip install onnxruntime tokenizers"
        return Fallback(_made("lexical"), f"lexical ranks instead; {reason}")


def policy(
    name: str = DEFAULT,
    wrap: Callable[[Policy], Policy] | None = None,
    *,
    keep_vectors: bool = False,
    **options: Any,
) -> Policy:
    """The policy of a name, also of one made of several (see `composed.compose`).

    Args:
        name: "embedded", "lexical", "first-stage", "embedded:NAME" for other weights (one of
            `shipped_weights`, or a folder), "cross-encoder:NAME" and "encoder:NAME" for a
            repository of the hub or a folder, "rerank:NAME" for a server that reranks (also
            "cohere:", "jina:", "voyage:"), "likelihood:vllm:NAME" for the query's probability
            by a language model, or one that answers as "provider:model": "vllm:NAME" for one
            behind vLLM, "anthropic:NAME", "openai:NAME" and all others that pydantic-ai knows.
        wrap: put around each policy that is asked: a cache, votes.
        keep_vectors: whether "embedded" keeps the vectors of passages in the user's cache folder.
        options: of a language model: the keywords of `llm.policy.LLM`, as in `think=False`; of
            a likelihood its `prompt`. Of several policies each gets those of its kind.

    Raises:
        InputError: no policy has this name, or it takes no options.
        SetupError: it is known, but something it needs is missing or damaged.
    """
    taken: set[str] = set()
    models: list[str] = []

    def make(one: str) -> Policy:
        if _is_model(one) or _is_likelihood(one):
            models.append(one)
        own = {option: value for option, value in options.items() if _takes(one, option)}
        taken.update(own)
        made = _single(one, own, keep_vectors)
        return wrap(made) if wrap else made

    made = compose(name, make, POLICIES)
    if left := [option for option in options if option not in taken]:
        why = "has no such option" if models else _NO_MODEL
        raise InputError(f"the policy {name} {why}: {', '.join(left)}")
    return made


def is_local(name: str) -> bool:
    """Whether it ranks in this process alone: neither a language model nor a server is asked."""
    kinds = (one.partition(":")[0] for one in single_names(name, POLICIES))
    return all(kind in POLICIES or kind in PRETRAINED for kind in kinds)


def takes_option(name: str, option: str) -> bool:
    """Whether a policy, or one of those it is made of, takes an option."""
    return any(_takes(one, option) for one in single_names(name, POLICIES))


def _takes(name: str, option: str) -> bool:
    """Whether an option is for a policy: likelihoods have a prompt, language models the others."""
    return _is_likelihood(name) if option == "prompt" else _is_model(name)


def _is_model(name: str) -> bool:
    """Whether a name is of a language model."""
    provider, _, rest = name.partition(":")
    other = provider in POLICIES or provider in PRETRAINED or provider == LIKELIHOOD
    return bool(provider and rest) and not other and not _is_rerank_server(name)


def _is_likelihood(name: str) -> bool:
    provider, _, model = name.partition(":")
    return provider == LIKELIHOOD and bool(model)


def _is_rerank_server(name: str) -> bool:
    """Whether a name is of a rerank endpoint; Cohere serves language models too."""
    provider, _, model = name.partition(":")
    known = provider in RERANK_SERVERS and (provider != "cohere" or model.startswith("rerank"))
    return known and bool(model)


def _single(name: str, options: Mapping[str, Any], keep_vectors: bool) -> Policy:
    """The policy of a plain name."""
    provider, _, rest = name.partition(":")
    if _is_model(name) or _is_likelihood(name) or _is_rerank_server(name):
        try:
            require(f"the policy {name}", "llm", "pydantic_ai", "httpx2")
            return _asked_over_http(name, options)
        except SetupError as error:
            if isinstance(error, UnsetError) or not (meant := _meant(name)):
                raise
            raise InputError(f"no policy is called {name!r}; is it {meant}?") from None
    if name not in POLICIES and not (provider in ("embedded", *PRETRAINED) and rest):
        raise InputError(
            f"no policy is called {name!r}; there are: {', '.join(POLICIES)}, "
            "cross-encoder:NAME, encoder:NAME, rerank:NAME, likelihood:vllm:NAME, "
            "and models as vllm:NAME, openai:NAME, ..."
        )
    weights = [rest] if rest else []
    if provider == "embedded":
        return _embedded(*weights, keep_vectors=keep_vectors)
    return _made(provider, *weights)


def _asked_over_http(name: str, options: Mapping[str, Any]) -> Policy:
    """The policy of a server; each is imported when it is made, which takes most of a second."""
    kind, _, model = name.partition(":")
    if _is_likelihood(name):
        from rearank_agent.policies.likelihood import Likelihood

        return Likelihood(model, **options)
    if _is_rerank_server(name):
        from rearank_agent.policies.rerank_server import RerankServer

        return RerankServer(kind, model)
    from rearank_agent.llm.policy import LLM

    return LLM(name, **options)


def _meant(name: str) -> str:
    """The name that one with a provider nobody knows is nearly; "" if there is none."""
    kind, _, model = name.partition(":")
    kinds = (*POLICIES, *PRETRAINED, *RERANK_SERVERS, LIKELIHOOD)
    near = get_close_matches(kind, kinds, 1, _NEAR)
    return f"{near[0]}:{model}" if near and near[0] != kind else ""
