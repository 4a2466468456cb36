"""Shell completion for the options that take a name."""

from __future__ import annotations


def policies(prefix: str) -> list[str]:
    """The policies whose names start with `prefix`."""
    from rearank_agent.policies.registry import LIKELIHOOD, POLICIES, PRETRAINED, RERANK_SERVERS

    models = (f"{LIKELIHOOD}:vllm", "vllm", "openai", "anthropic", "google", "ollama")
    kinds = (f"{kind}:" for kind in (*PRETRAINED, *RERANK_SERVERS, *models))
    return [name for name in (*POLICIES, *kinds) if name.startswith(prefix)]


def templates(prefix: str) -> list[str]:
    """The packaged templates whose names start with `prefix`."""
    from rearank_agent.listwise.template import Template

    return [name for name in Template.names() if name.startswith(prefix)]


def schedules(prefix: str) -> list[str]:
    """The schedules whose names start with `prefix`."""
    from rearank_agent.schedules import SCHEDULES

    return [name for name in ("auto", *SCHEDULES) if name.startswith(prefix)]
