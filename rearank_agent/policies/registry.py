"""Policies by name; each imports what it needs when it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rearank_agent.errors import InputError, require
from rearank_agent.policies.protocol import Policy

__all__ = ["DEFAULT", "POLICIES", "policy"]

DEFAULT = "embedded"


def _embedded(top: str | None = None) -> Policy:
    try:
        from rearank_agent.policies.embedded.policy import Embedded
    except ImportError as error:
        if error.name not in ("numpy", "onnxruntime", "tokenizers"):
            raise
        reason = f"the embedded policy needs {error.name}: pip install onnxruntime tokenizers"
        from rearank_agent.policies.fallback import Fallback

        return Fallback(_lexical(), f"lexical ranks instead; {reason}")
    return Embedded(top) if top else Embedded()


def _lexical() -> Policy:
    from rearank_agent.policies.lexical import Lexical

    return Lexical()


def _first_stage() -> Policy:
    from rearank_agent.policies.first_stage import FirstStage

    return FirstStage()


POLICIES: dict[str, Callable[[], Policy]] = {
    "embedded": _embedded,
    "lexical": _lexical,
    "first-stage": _first_stage,
}
"""Every policy by name; each imports what it needs when it is made."""


def policy(name: str = DEFAULT, **asking: Any) -> Policy:
    """The policy of a name.

    Args:
        name: "embedded", "lexical", "first-stage", "embedded:NAME" for other weights (those of
            `embedded.shipped`, or a folder), or a model as "provider:model": "vllm:NAME" for one
            behind vLLM, "anthropic:NAME", "openai:NAME" and all others that pydantic-ai knows.
        asking: how a model is asked: the keywords of `llm.LLM`, as in `think=False`.

    Raises:
        InputError: no policy has this name, or it is not asked in words.
        SetupError: it is known, but something it needs is missing or damaged.
    """
    provider, _, rest = name.partition(":")
    if provider and rest and provider not in POLICIES:
        require(f"the policy {name}", "llm", "pydantic_ai", "httpx2")
        from rearank_agent.llm.policy import LLM  # pydantic-ai takes most of a second to import

        return LLM(name, **asking)
    top = rest if provider == "embedded" else ""
    if name not in POLICIES and not top:
        raise InputError(
            f"no policy is called {name!r}; there are: {', '.join(POLICIES)}, "
            "and models as vllm:NAME, openai:NAME, anthropic:NAME, ..."
        )
    if asking:
        raise InputError(f"the policy {name} is not asked in words: {', '.join(asking)}")
    return _embedded(top) if top else POLICIES[name]()
