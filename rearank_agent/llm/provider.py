"""Models by name, and which of our settings they take."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.providers import infer_provider_class
from pydantic_ai.settings import ModelSettings

from rearank_agent.errors import SetupError, UnsetError
from rearank_agent.llm.bounded import bounded_provider
from rearank_agent.llm.endpoint import Endpoint
from rearank_agent.llm.vllm import VLLMModel

__all__ = ["model_factory", "supported_settings"]

_RECORDED = {"temperature": "temperature", "seed": "seed", "thinking": "effort"}


def model_factory(name: str) -> Callable[[], Model]:
    """A function that makes the model of a name, "provider:model", as pydantic-ai names them.

    Raises:
        UnsetError: the provider lacks its key or address.
        SetupError: it is not known, or not installed.
    """
    provider, _, model = name.partition(":")

    def make() -> Model:
        if provider == "vllm":
            return VLLMModel(model)
        if provider == "openai-chat" and _own_server():
            return Endpoint(model)
        try:
            if not _is_known(provider):
                return infer_model(name)  # its error names similar ones
            return infer_model(name, bounded_provider)
        except ImportError as error:
            reason = str(error).replace("\n", " ")
            raise SetupError(f"{name} needs a package: {reason}") from None
        except (UserError, ValueError) as error:
            kind = UnsetError if _is_known(provider) else SetupError
            raise kind(f"{name}: {error}") from None

    return make


def _own_server() -> bool:
    """Whether OPENAI_BASE_URL names a server other than OpenAI's.

    OpenAI's own models stay with pydantic-ai, which knows the settings that each of them takes.
    """
    url = os.environ.get("OPENAI_BASE_URL", "").strip()
    host = urlsplit(url).hostname or ""
    return bool(url) and not (host == "openai.com" or host.endswith(".openai.com"))


def _is_known(provider: str) -> bool:
    try:
        infer_provider_class(provider)
    except (ImportError, ValueError):
        return False
    return True


def supported_settings(
    model: Model, settings: ModelSettings
) -> tuple[tuple[str, ...], ModelSettings]:
    """The names of the settings the model does not take, and the settings without them.

    pydantic-ai drops them silently or with a warning, and some providers refuse them.
    """
    refused = _refused(model, settings)
    dropped = tuple(sorted(name for key, name in _RECORDED.items() if key in refused))
    kept = {key: value for key, value in settings.items() if key not in refused}
    return dropped, cast(ModelSettings, kept)


def _refused(model: Model, settings: ModelSettings) -> set[str]:
    try:
        profile: dict[str, Any] = dict(model.profile)
    except NotImplementedError:  # a model made of several has none of its own
        return set()
    thinking = settings.get("thinking")
    refused = set[str](model.unsupported_settings)
    refused |= set(profile.get("openai_unsupported_model_settings") or ())
    always = bool(profile.get("thinking_always_enabled"))
    if isinstance(thinking, str) and not (always or profile.get("supports_thinking")):
        refused.add("thinking")
    thinks = isinstance(thinking, str) or (
        always if thinking is False else bool(profile.get("thinking_enabled_by_default"))
    )
    efforts = profile.get("openai_reasoning_efforts") or ()
    can_disable = "none" in efforts or profile.get("openai_supports_reasoning_effort_none", False)
    if profile.get("openai_supports_reasoning", False) and (thinks or not can_disable):
        refused.add("temperature")
    if profile.get("anthropic_disallows_sampling_settings", False):
        refused.add("temperature")
    if model.system == "anthropic" and isinstance(thinking, str):
        refused.add("temperature")  # Anthropic refuses both together
    return refused
