"""A model behind vLLM as it was trained: its template, form, window, cut and budget."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rearank_agent.cli.console import print_note
from rearank_agent.errors import InputError, PolicyError

if TYPE_CHECKING:
    from rearank_agent.llm.policy import LLM

__all__ = ["as_trained", "read_template"]


def read_template(source: str) -> dict[str, Any]:
    """A packaged template, one in a file, a likelihood's prompt, or a checkpoint's settings."""
    from rearank_agent.listwise.template import Template
    from rearank_agent.llm.checkpoint import CONFIG_FILE, PromptConfig
    from rearank_agent.llm.likelihood_prompt import read_likelihood_prompt

    if source in Template.names():
        return {"template": Template.load(source)}
    path = Path(source)
    path = path / CONFIG_FILE if path.is_dir() else path
    if path.suffix == ".json":
        return PromptConfig.read(path).options()
    if prompt := read_likelihood_prompt(path):
        return {"prompt": prompt}
    return {"template": Template.load(path)}


def as_trained(model: LLM, overrides: dict[str, Any], seconds: float) -> LLM:
    """A model prompted as its checkpoint says, where that can be read here; options win."""
    from rearank_agent.llm.checkpoint import CONFIG_FILE, PromptConfig, describe
    from rearank_agent.llm.policy import LLM

    root = _model_root(model, seconds)
    if (trained := PromptConfig.load(root)) is None:
        return model
    wrong = trained.mismatch(
        overrides.get("template", trained.template), overrides.get("form", trained.form)
    )
    if wrong:
        raise InputError(
            f"{wrong}; leave out --template and --format, or serve a copy without {CONFIG_FILE} "
            "to try it"
        )
    current = model.config.options()
    own = {k: v for k, v in trained.options().items() if k not in overrides and v != current[k]}
    if not own:
        return model
    print_note(f"note: {model.name} is asked as it was trained: {describe(own)}")
    return LLM(model.name, **overrides, **own)


def _model_root(model: LLM, seconds: float) -> str:
    """The path the model's server loaded it from; "" where that is unknown within these seconds."""
    from rearank_agent.reranker import run_sync

    async def root() -> str:
        try:
            if not await model.chat.endpoint():
                return ""  # only vLLM tells, so no other server is asked
            async with asyncio.timeout(seconds):
                served = await model.chat.check_served()
        except TimeoutError:
            address = model.chat.first_model.base_url
            print_note(
                f"note: {address} did not say within {seconds:g} s how {model.name} was trained; "
                "it is asked as the options say"
            )
            return ""
        except PolicyError:
            return ""  # the ranking itself will report it
        finally:
            await model.chat.close()
        return served.root if served else ""

    return run_sync(root())
