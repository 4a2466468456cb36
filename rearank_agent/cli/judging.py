"""The options that say who judges and how: the same for every command that ranks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rearank_agent.cli.complete import policies, schedules

if TYPE_CHECKING:
    from rearank_agent.policies import Policy
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
class Asking:
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
        Form, _model("--format", help="Ask for an order, or for scores of 0 to 10 in one turn.",
                     show_default=True),
    ] = Form.order  # fmt: skip
    template: Annotated[
        Path | None, _model(help="Other words than our own, for a model trained with them.")
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
        """The policy of a name, asked and kept as these options want it."""
        from rearank_agent.policies import policy
        from rearank_agent.settings import cache_folder
        from rearank_agent.store import Store
        from rearank_agent.wrap import Cached, Votes

        judge = policy(name, **self._asking())
        if self.replay or (self.cache and judge.window):
            store = Store(cache_folder() / "replies.sqlite")
            judge = Cached(judge, store, replay=self.replay)
        return Votes(judge, self.votes) if self.votes else judge

    def _asking(self) -> dict[str, Any]:
        from rearank_agent.template import Template

        asking: dict[str, Any] = {}
        if self.no_think:
            asking["think"] = False
        if self.effort:
            asking["effort"] = self.effort.value
        if self.form is not Form.order:
            asking["form"] = self.form.value
        if self.template:
            asking["template"] = Template.load(self.template)
        return asking


@dataclass(frozen=True)
class Judging(Asking):
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
