"""The settings of training a language model, and the recipes they are named by."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from rearank_agent.errors import InputError
from rearank_agent.listwise.template import Template
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_training.rows.rewards import reward_by_name as named_reward

__all__ = ["GRPOSettings", "PromptOptions", "SFTSettings", "recipe_by_name"]

_FOLDER = Path(__file__).parents[1] / "recipes"


@dataclass(frozen=True)
class Common:
    """What both phases have."""

    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-5
    at_once: Annotated[
        int, typer.Option(min=1, help="Replies in a forward and backward pass, on a device.")
    ] = 8
    lora: Annotated[
        int, typer.Option(min=0, metavar="RANK", help="Train adapters of this rank.  \\[0: all]")
    ] = 0
    dev_queries: Annotated[
        int, typer.Option(min=1, help="Queries of each dev collection, drawn at random.")
    ] = 25
    dev_depth: Annotated[int, typer.Option(min=2, help="Candidates of a dev query.")] = 20
    every: Annotated[int, typer.Option(min=1, help="Steps between two looks at dev.")] = 50
    patience: Annotated[
        int, typer.Option(min=0, help="Looks without a better one before it ends; 0: never.")
    ] = 0
    prompt_tokens: Annotated[
        int, typer.Option(min=1, help="The most tokens of a prompt; longer ones are left out.")
    ] = 3072
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0
    threads: Annotated[int, typer.Option(min=1, help="On a CPU.")] = 2

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise InputError("a learning rate must be above 0")


@dataclass(frozen=True)
class SFTSettings(Common):
    """How replies are imitated."""

    steps: Annotated[int, typer.Option(min=1, help="Steps, at most.")] = 1000
    batch: Annotated[int, typer.Option(min=1, help="Replies of a step.")] = 32
    every: Annotated[int, typer.Option(min=1, help="Steps between two looks at dev.")] = 100
    patience: Annotated[
        int, typer.Option(min=0, help="Looks without a better one before it ends; 0: never.")
    ] = 3


@dataclass(frozen=True)
class GRPOSettings(Common):
    """How a policy is reinforced: the defaults are REARANK's but for the size of a step.

    Raises:
        InputError: a setting makes no sense.
    """

    steps: Annotated[int, typer.Option(min=1, help="Rounds of rollouts.")] = 160
    prompts: Annotated[int, typer.Option(min=1, help="Prompts of a step.")] = 8
    rollouts: Annotated[int, typer.Option(min=2, help="Replies to a prompt.")] = 32
    updates: Annotated[int, typer.Option(min=1, help="Of the weights, in a step.")] = 1
    rate: Annotated[float, typer.Option(help="Learning rate, constant.")] = 1e-6
    kl: Annotated[float, typer.Option(min=0, help="Weight of the KL to the start.")] = 0.01
    clip: Annotated[float, typer.Option(min=0, max=1, help="Of the probability ratio.")] = 0.2
    temperature: Annotated[float, typer.Option(help="Of the rollouts.")] = 1.0
    reward: Annotated[str, typer.Option(help="Of a reply: rearank, reasonrank, ...")] = "rearank"
    goal: Annotated[
        str, typer.Option(help="What is rewarded: a window's own order, or the whole list's.")
    ] = "window"
    vllm: Annotated[
        bool, typer.Option(help="Sample with vLLM in the same process; on GPUs alone.")
    ] = False
    every: Annotated[int, typer.Option(min=1, help="Steps between two looks at dev.")] = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        named_reward(self.reward)
        if self.temperature <= 0:
            raise InputError("the temperature must be above 0: equal replies teach nothing")
        if self.goal not in ("window", "list"):
            raise InputError(f"the goal must be window or list, not {self.goal!r}")
        if self.goal == "list" and self.reward != "rearank":
            raise InputError("the goal list knows the reward rearank alone")
        if self.prompts * self.rollouts % self.updates:
            raise InputError(
                f"{self.prompts} prompts with {self.rollouts} replies do not divide into "
                f"{self.updates} updates"
            )


@dataclass(frozen=True)
class PromptOptions:
    """How a model without words of its own is asked; those a model carries stay."""

    template: Annotated[
        Path | None, typer.Option(help="Other words than our own.", show_default=False)
    ] = None
    window: Annotated[
        int | None, typer.Option(min=2, help="Passages shown at once.  \\[20]", show_default=False)
    ] = None
    cut: Annotated[
        int | None,
        typer.Option(
            min=40, help="The most characters of a passage that are shown.  \\[1200]",
            show_default=False,
        ),
    ] = None  # fmt: skip
    budget: Annotated[
        int | None,
        typer.Option(min=1, help="The most tokens of a reply.  \\[2048]", show_default=False),
    ] = None
    think: Annotated[
        bool | None,
        typer.Option(
            "--think/--no-think", help="Whether a thought is asked for.  \\[think]",
            show_default=False,
        ),
    ] = None  # fmt: skip

    def of(self, model: str) -> PromptConfig:
        """The words of a model: those it carries, else these.

        Raises:
            InputError: it carries others than were given.
        """
        told = {name: value for name, value in vars(self).items() if value is not None}
        if self.template:
            told["template"] = Template.load(self.template)
        carried = PromptConfig.load(model)
        if carried is None:
            return replace(PromptConfig(), **told)
        odd = [name for name, value in told.items() if getattr(carried, name) != value]
        if odd:
            raise InputError(
                f"{model} was trained with other words than these: leave out "
                f"{', '.join(f'--{name}' for name in odd)}"
            )
        return carried


def recipe_by_name(name: str, phase: str) -> dict[str, Any]:
    """The settings of a recipe: of one of ours by its name, or of a file of the same form.

    Args:
        phase: sft or grpo.

    Raises:
        InputError: there is no such recipe, or it has a setting that is none.
    """
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    if not path.is_file():
        ours = ", ".join(sorted(one.stem for one in _FOLDER.glob("*.toml")))
        raise InputError(f"there is no recipe {name!r}; there are: {ours}, and files: NAME.toml")
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the recipe {path} cannot be used: {error}") from None
    settings: dict[str, Any] = told.get("words", {}) | told.get(phase, {})
    known = {field.name for field in fields(GRPOSettings if phase == "grpo" else SFTSettings)}
    known |= {field.name for field in fields(PromptOptions)}
    if odd := [setting for setting in settings if setting not in known]:
        raise InputError(f"the recipe {path} has settings that are none: {', '.join(odd)}")
    return settings
