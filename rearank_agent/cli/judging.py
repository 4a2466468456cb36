"""The options that say who judges and how: the same for every command that ranks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from rearank_agent.cli.complete import policies, schedules

if TYPE_CHECKING:
    from rearank_agent.policies import Policy
    from rearank_agent.reranker import Reranker

_MODELS = "For models (vllm:NAME, openai:NAME, ...)"


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
    shown: dict[str, Any] = {"rich_help_panel": _MODELS, "show_default": False}
    return typer.Option(*names, help=help, **shown | more)


@dataclass(frozen=True)
class Judging:
    """Who judges, how it is asked, and until when."""

    policy: Annotated[
        str | None,
        typer.Option(
            help="Who judges: embedded, lexical, first-stage, or a model as vllm:NAME, "
            "openai:NAME, anthropic:NAME, ...  [REARANK_POLICY, else embedded]",
            autocompletion=policies,
            show_default=False,
        ),
    ] = None
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


def with_judging(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Judging`; it is called with their value as `judging`."""
    hints = get_type_hints(Judging, include_extras=True)
    own = inspect.signature(command, eval_str=True).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter(f.name, keyword, default=f.default, annotation=hints[f.name])
        for f in fields(Judging)
    ]
    named = {f.name for f in fields(Judging)}

    @wraps(command)
    def run(**told: Any) -> None:
        options = Judging(**{name: told.pop(name) for name in named})
        command(judging=options, **told)

    before = [p for p in own if p.default is p.empty and p.name != "judging"]
    after = [p for p in own if p.default is not p.empty]
    parameters = [p.replace(kind=keyword) for p in (*before, *after)]
    run.__signature__ = inspect.Signature([*parameters, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {}
    return run
