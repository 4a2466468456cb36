"""The options that say who judges and how: the same for every command that ranks."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rearank_agent.cli.complete import policies, schedules
from rearank_agent.errors import InputError, PolicyError

if TYPE_CHECKING:
    from rearank_agent.llm.policy import LLM
    from rearank_agent.policies.protocol import Policy
    from rearank_agent.reranker import Reranker

MODELS = "For models (vllm:NAME, openai:NAME, ...)"


class Effort(StrEnum):
    """How hard a model thinks that has such a setting."""

    minimal = "minimal"
    low = "low"
    medium = "medium"
    high = "high"


class Form(StrEnum):
    """What a model is asked for."""

    order = "order"
    scores = "scores"


def _model(*names: str, help: str, **more: Any) -> Any:  # noqa: A002
    shown: dict[str, Any] = {"rich_help_panel": MODELS, "show_default": False}
    return typer.Option(*names, help=help, **shown | more)


@dataclass(frozen=True)
class PolicyOptions:
    """How a policy is asked, and until when."""

    schedule: Annotated[
        str,
        typer.Option(
            help="Who is shown together: auto, whole, sliding:20:10, tournament:20, ... "
            "(see: rearank-agent plan)",
            autocompletion=schedules,
        ),
    ] = "auto"
    deadline: Annotated[
        float | None,
        typer.Option(
            help="Seconds until the best order so far is given.  "
            "[REARANK_DEADLINE, else none; mcp: 50]",
            show_default=False,
        ),
    ] = None
    no_think: Annotated[
        bool, _model("--no-think", help="Ask for the answer alone, without reasons: faster.")
    ] = False
    effort: Annotated[
        Effort | None,
        _model(
            metavar="LEVEL", help="How hard to think where a model can: minimal, low, medium, high."
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
            help="Other words than our own, for a model trained with them; or its rearank.json."
        ),
    ] = None
    votes: Annotated[
        int | None, _model(min=2, help="Ask so many times in other orders, and merge.")
    ] = None
    cache: Annotated[
        bool,
        _model("--cache/--no-cache", help="Keep replies, and use kept ones.  \\[default: keep]"),
    ] = True
    replay: Annotated[
        bool, _model("--replay", help="Use kept replies alone; fail where there is none.")
    ] = False

    def judge(self, name: str) -> Policy:
        """The policy of a name, asked and kept as these options want it; raises as `asked`."""
        from rearank_agent.policies.cached import Cached
        from rearank_agent.policies.votes import Votes
        from rearank_agent.store import reply_store

        judge = self.asked(name)
        if self.replay or (self.cache and judge.window):
            judge = Cached(judge, reply_store(), replay=self.replay)
        return Votes(judge, self.votes) if self.votes else judge

    def asked(self, name: str) -> Policy:
        """The policy of a name, asked as these options say, else as it was trained.

        Raises:
            InputError: options that do not go together, or not with how a model was trained.
            SetupError: something is missing, or the file of a checkpoint is damaged.
        """
        from rearank_agent.policies.registry import policy

        asking = self._asking()
        judge = policy(name, **asking)
        return _as_trained(cast("LLM", judge), asking) if name.startswith("vllm:") else judge

    def _asking(self) -> dict[str, Any]:
        asking = _words(self.template) if self.template else {}
        if self.no_think:
            asking["think"] = False
        if self.effort:
            asking["effort"] = self.effort.value
        if self.form:
            form = self.form.value
            if asking.setdefault("form", form) != form:
                raise InputError(
                    f"{self.template} is of a model that gives {asking['form']}, not {form}; "
                    "leave out --format"
                )
        return asking


def _words(path: Path) -> dict[str, Any]:
    """How a file says to ask: the words of a template, or all that a checkpoint says."""
    from rearank_agent.listwise.template import Template
    from rearank_agent.llm.checkpoint import CONFIG_FILE, PromptConfig

    path = path / CONFIG_FILE if path.is_dir() else path
    if path.suffix == ".json":
        return PromptConfig.read(path).asking()
    return {"template": Template.load(path)}


def _as_trained(judge: LLM, asking: dict[str, Any]) -> LLM:
    """A model asked as its checkpoint says, where that can be read here; options win."""
    from rearank_agent.llm.checkpoint import CONFIG_FILE, PromptConfig, describe
    from rearank_agent.llm.policy import LLM

    root = _root(judge)
    if (trained := PromptConfig.load(root)) is None:
        return judge
    wrong = trained.mismatch(
        asking.get("template", trained.template), asking.get("form", trained.form)
    )
    if wrong:
        raise InputError(
            f"{wrong}; leave out --template and --format, or serve a copy without {CONFIG_FILE} "
            "to try it"
        )
    now = judge.config.asking()
    own = {k: v for k, v in trained.asking().items() if k not in asking and v != now[k]}
    if not own:
        return judge
    print(f"note: {judge.name} is asked as it was trained: {describe(own)}", file=sys.stderr)
    return LLM(judge.name, **asking, **own)


def _root(judge: LLM) -> str:
    """Where the model's server loaded it from; "" while nobody can say."""
    from rearank_agent.reranker import run_sync

    async def root() -> str:
        try:
            served = await judge.chat.serving()
        except PolicyError:
            return ""  # who asks for the ranking will hear it
        finally:
            await judge.chat.close()
        return served.root if served else ""

    return run_sync(root())


@dataclass(frozen=True)
class RerankerOptions(PolicyOptions):
    """Who judges, how it is asked, and until when."""

    policy: Annotated[
        str | None,
        typer.Option(
            help="Who judges: embedded, embedded:FOLDER, lexical, first-stage, "
            "or a model as vllm:NAME, openai:NAME, anthropic:NAME, ...  "
            "[REARANK_POLICY, else embedded]",
            autocompletion=policies,
            show_default=False,
        ),
    ] = None

    def reranker(self) -> Reranker:
        """A reranker as these options and the environment want it.

        Raises:
            InputError: options that do not go together.
            SetupError: something is missing: a package, a key, a server's address.
        """
        from rearank_agent.reranker import Reranker
        from rearank_agent.settings import settings

        told = settings()
        limit = told.deadline if self.deadline is None else self.deadline
        judge = self.judge(self.policy or told.policy)
        return Reranker(judge, schedule=self.schedule, deadline=limit)
