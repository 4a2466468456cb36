"""What the shell offers after the options that take a name."""

from __future__ import annotations


def policies(begun: str) -> list[str]:
    """The names of policies that begin so."""
    from rearank_agent.policies.registry import POLICIES

    models = ("vllm:", "openai:", "anthropic:", "google:", "ollama:")
    return [name for name in (*POLICIES, *models) if name.startswith(begun)]


def schedules(begun: str) -> list[str]:
    """The names of schedules that begin so."""
    from rearank_agent.schedules import SCHEDULES

    return [name for name in ("auto", *SCHEDULES) if name.startswith(begun)]
