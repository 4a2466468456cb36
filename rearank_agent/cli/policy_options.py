"""The options of a policy, a schedule and a deadline: the same for every command that ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rearank_agent.cli.complete import policies, schedules, templates
from rearank_agent.cli.trained_model import as_trained, read_template
from rearank_agent.errors import InputError

if TYPE_CHECKING:
    from rearank_agent.llm.policy import LLM
    from rearank_agent.policies.protocol import Policy
    from rearank_agent.reranker import Reranker

_ASK = 2.0  # seconds; a healthy server lists its models in milliseconds
_KEEP = 20  # passages: a window of a language model
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
        str | None,
        _model(
            metavar="NAME|FILE",
            help="Prompt template of a model trained with another than ours: rearank-7b, a file, "
            "or its rearank.json.",
            autocompletion=templates,
        ),
    ] = None
    window: Annotated[
        int | None, _model(min=2, help="Passages of a window.  \\[as it was trained, else 20]")
    ] = None
    cut: Annotated[
        int | None,
        _model(min=40, help="Characters of a passage.  \\[as it was trained, else 1200]"),
    ] = None
    budget: Annotated[
        int | None,
        _model(min=1, help="Tokens of a reply.  \\[as it was trained, else 2048]"),
    ] = None
    votes: Annotated[
        int | None, _model(min=2, help="Ask this many times, with passages shuffled, and merge.")
    ] = None
    cache: Annotated[
        bool,
        typer.Option(
            "--cache/--no-cache",
            help="Keep replies of models and vectors of passages, and use them.  "
            "\\[default: cache]",
            show_default=False,
        ),
    ] = True
    replay: Annotated[
        bool, _model("--replay", help="Use cached replies only; fail where there is none.")
    ] = False

    def make_policy(self, name: str) -> Policy:
        """The policy of that name, with cache and votes; raises as `make_uncached_policy`."""
        from rearank_agent.policies.cached import Cached
        from rearank_agent.policies.votes import Votes
        from rearank_agent.store import reply_store

        def wrapped(one: Policy) -> Policy:
            # Of several policies those that rank whole requests take neither.
            fits = bool(one.window) or one.name == name
            if (self.replay and fits) or (self.cache and one.window):
                one = Cached(one, reply_store(), replay=self.replay)
            return Votes(one, self.votes) if self.votes and fits else one

        return self._make(name, wrapped, keep_vectors=self.cache)

    def make_uncached_policy(self, name: str) -> Policy:
        """The policy of that name, prompted as these options say, else as it was trained.

        Raises:
            InputError: options that contradict each other or how the model was trained.
            SetupError: something is missing, or the file of a checkpoint is damaged.
        """
        return self._make(name, lambda one: one)

    def _make(
        self, name: str, wrap: Callable[[Policy], Policy], keep_vectors: bool = False
    ) -> Policy:
        from rearank_agent.policies.registry import policy

        overrides = self._options_of(name)

        def trained(one: Policy) -> Policy:
            if one.name.startswith("vllm:"):
                one = as_trained(cast("LLM", one), overrides, self._seconds_to_ask())
            return wrap(one)

        return policy(name, wrap=trained, keep_vectors=keep_vectors, **overrides)

    def _options_of(self, name: str) -> dict[str, Any]:
        """The options for a policy, which refuses those that it does not take."""
        del name
        return self._overrides()

    def _seconds_to_ask(self) -> float:
        """Seconds a server may take to say how its model was trained: part of the deadline."""
        from rearank_agent.settings import settings

        deadline = self.deadline or settings().deadline
        return min(_ASK, deadline / 4) if deadline else _ASK

    def _overrides(self) -> dict[str, Any]:
        overrides = read_template(self.template) if self.template else {}
        if self.no_think:
            overrides["think"] = False
        if self.effort:
            overrides["effort"] = self.effort.value
        sizes = {"window": self.window, "cut": self.cut, "budget": self.budget}
        overrides |= {name: size for name, size in sizes.items() if size is not None}
        if self.form:
            form = self.form.value
            if overrides.setdefault("form", form) != form:
                raise InputError(
                    f"{self.template} is of a model that gives {overrides['form']}, not {form}; "
                    "leave out --format"
                )
        return overrides


@dataclass(frozen=True)
class RerankerOptions(PolicyOptions):
    """The policy, how it is set up and scheduled, and its deadline."""

    policy: Annotated[
        str | None,
        typer.Option(
            help="Policy: embedded, embedded:FOLDER, lexical, first-stage, cross-encoder:NAME, "
            "encoder:NAME, rerank:NAME, likelihood:vllm:NAME, or a model as vllm:NAME, "
            "openai:NAME, anthropic:NAME, ...  "
            "[REARANK_POLICY, else embedded]",
            autocompletion=policies,
            show_default=False,
        ),
    ] = None
    then: Annotated[
        list[str] | None,
        typer.Option(
            help="A policy for the best of --policy, --keep of them; may be repeated.",
            autocompletion=policies,
            show_default=False,
        ),
    ] = None
    keep: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="How many passages --then ranks.  \\[default: 20]", show_default=False
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
        policy = self.make_policy(self._cascade(self.policy or defaults.policy))
        return Reranker(policy, schedule=self.schedule, deadline=deadline)

    def _cascade(self, first: str) -> str:
        """The name of the policy with the stages that follow it."""
        from rearank_agent.schedules.composed import cascade_name

        then, keep = self.then or [], self.keep or []
        if keep and not then:
            raise InputError("--keep is for --then: a policy that ranks the best of --policy")
        keep = keep or [_KEEP] * len(then)
        if len(keep) != len(then):
            raise InputError(f"--keep is needed once for each --then: {len(keep)} of {len(then)}")
        return cascade_name([first, *then], keep)
