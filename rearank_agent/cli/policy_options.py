"""The options of a policy, a schedule and a deadline: the same for every command that ranks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rearank_agent.cli.complete import policies, schedules
from rearank_agent.cli.console import print_note
from rearank_agent.errors import InputError, PolicyError

if TYPE_CHECKING:
    from rearank_agent.llm.policy import LLM
    from rearank_agent.policies.protocol import Policy
    from rearank_agent.reranker import Reranker

_ASK = 2.0  # seconds; a healthy server lists its models in milliseconds
MODELS = "For models (vllm:NAME, openai:NAME, ...)"


class Effort(StrEnum):
    """The reasoning effort of a model that has such a setting."""

    minimal = "minimal"
    low = "low"
    medium = "medium"
    high = "high"


class Form(StrEnum):
    """What a model is asked to reply with."""

    order = "order"
    scores = "scores"


def _model(*names: str, help: str, **more: Any) -> Any:  # noqa: A002
    shown: dict[str, Any] = {"rich_help_panel": MODELS, "show_default": False}
    return typer.Option(*names, help=help, **shown | more)


@dataclass(frozen=True)
class PolicyOptions:
    """How a policy is set up, how it is scheduled, and its deadline."""

    schedule: Annotated[
        str,
        typer.Option(
            help="How windows are formed: auto, whole, sliding:20:10, tournament:20, ... "
            "(see: rearank-agent plan)",
            autocompletion=schedules,
        ),
    ] = "auto"
    deadline: Annotated[
        float | None,
        typer.Option(
            help="Seconds until the best order so far is returned.  "
            "[REARANK_DEADLINE, else none; mcp: 50]",
            show_default=False,
        ),
    ] = None
    no_think: Annotated[
        bool, _model("--no-think", help="Ask for the answer alone, without reasoning: faster.")
    ] = False
    effort: Annotated[
        Effort | None,
        _model(
            metavar="LEVEL",
            help="Reasoning effort, where a model has it: minimal, low, medium, high.",
        ),
    ] = None
    form: Annotated[
        Form | None,
        _model(
            "--format",
            help="Ask for an order, or for scores of 0 to 10 in one turn.  "
            "\\[as it was trained, else order]",
        ),
    ] = None
    template: Annotated[
        Path | None,
        _model(
            help="Prompt template of a model trained with another than ours; or its rearank.json."
        ),
    ] = None
    votes: Annotated[
        int | None, _model(min=2, help="Ask this many times, with passages shuffled, and merge.")
    ] = None
    cache: Annotated[
        bool,
        _model("--cache/--no-cache", help="Cache replies, and use them.  \\[default: cache]"),
    ] = True
    replay: Annotated[
        bool, _model("--replay", help="Use cached replies only; fail where there is none.")
    ] = False

    def make_policy(self, name: str) -> Policy:
        """The policy of that name, with cache and votes; raises as `make_uncached_policy`."""
        from rearank_agent.policies.cached import Cached
        from rearank_agent.policies.votes import Votes
        from rearank_agent.store import reply_store

        policy = self.make_uncached_policy(name)
        if self.replay or (self.cache and policy.window):
            policy = Cached(policy, reply_store(), replay=self.replay)
        return Votes(policy, self.votes) if self.votes else policy

    def make_uncached_policy(self, name: str) -> Policy:
        """The policy of that name, prompted as these options say, else as it was trained.

        Raises:
            InputError: options that contradict each other or how the model was trained.
            SetupError: something is missing, or the file of a checkpoint is damaged.
        """
        from rearank_agent.policies.registry import policy

        overrides = self._overrides()
        made = policy(name, **overrides)
        if not name.startswith("vllm:"):
            return made
        return _as_trained(cast("LLM", made), overrides, self._seconds_to_ask())

    def _seconds_to_ask(self) -> float:
        """Seconds a server may take to say how its model was trained: part of the deadline."""
        from rearank_agent.settings import settings

        deadline = self.deadline or settings().deadline
        return min(_ASK, deadline / 4) if deadline else _ASK

    def _overrides(self) -> dict[str, Any]:
        overrides = _read_template(self.template) if self.template else {}
        if self.no_think:
            overrides["think"] = False
        if self.effort:
            overrides["effort"] = self.effort.value
        if self.form:
            form = self.form.value
            if overrides.setdefault("form", form) != form:
                raise InputError(
                    f"{self.template} is of a model that gives {overrides['form']}, not {form}; "
                    "leave out --format"
                )
        return overrides


def _read_template(path: Path) -> dict[str, Any]:
    """The template in a file, or every prompt setting of a checkpoint."""
    from rearank_agent.listwise.template import Template
    from rearank_agent.llm.checkpoint import CONFIG_FILE, PromptConfig

    path = path / CONFIG_FILE if path.is_dir() else path
    if path.suffix == ".json":
        return PromptConfig.read(path).options()
    return {"template": Template.load(path)}


def _as_trained(model: LLM, overrides: dict[str, Any], seconds: float) -> LLM:
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


@dataclass(frozen=True)
class RerankerOptions(PolicyOptions):
    """The policy, how it is set up and scheduled, and its deadline."""

    policy: Annotated[
        str | None,
        typer.Option(
            help="Policy: embedded, embedded:FOLDER, lexical, first-stage, "
            "or a model as vllm:NAME, openai:NAME, anthropic:NAME, ...  "
            "[REARANK_POLICY, else embedded]",
            autocompletion=policies,
            show_default=False,
        ),
    ] = None

    def reranker(self) -> Reranker:
        """The reranker these options and the environment describe.

        Raises:
            InputError: options that contradict each other.
            SetupError: something is missing: a package, a key, a server's address.
        """
        from rearank_agent.reranker import Reranker
        from rearank_agent.settings import settings

        defaults = settings()
        deadline = defaults.deadline if self.deadline is None else self.deadline
        policy = self.make_policy(self.policy or defaults.policy)
        return Reranker(policy, schedule=self.schedule, deadline=deadline)
