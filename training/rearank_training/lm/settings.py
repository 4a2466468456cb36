"""The settings of training a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from rearank_agent.cli.complete import templates
from rearank_agent.errors import InputError
from rearank_agent.listwise.template import Template
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_training.lm.trl_table import read_pairs, write_pairs
from rearank_training.rows.rewards import reward_by_name

__all__ = ["TRACKERS", "GRPOSettings", "PromptOptions", "SFTSettings"]

TRACKERS = ("none", "tensorboard", "trackio", "wandb")
"""Where else a run can be logged: names of the packages that do it."""


def _with_recipe(context: typer.Context, given: list[str] | None) -> list[str]:
    """The recipe's settings of TRL, and in their place those given."""
    recipe = (context.default_map or {}).get("trl", [])
    return write_pairs(read_pairs([*recipe, *(given or ())]))


@dataclass(frozen=True)
class Common:
    """The settings of both phases.

    Raises:
        InputError: a setting is out of its range.
    """

    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-5
    at_once: Annotated[
        int, typer.Option(min=1, help="Replies per forward and backward pass, on a device.")
    ] = 8
    lora: Annotated[
        int, typer.Option(min=0, metavar="RANK", help="Train adapters of this rank.  \\[0: all]")
    ] = 0
    qlora: Annotated[
        bool, typer.Option("--qlora", help="With --lora: the frozen weights in 4 bits.")
    ] = False
    dtype: Annotated[
        str,
        typer.Option(
            help="Type of computation, and of frozen weights: float32, bfloat16; auto: bfloat16 "
            "on GPUs.  Trained weights are float32."
        ),
    ] = "auto"
    dev_queries: Annotated[
        int, typer.Option(min=1, help="Queries of each dev collection, drawn at random.")
    ] = 25
    dev_depth: Annotated[int, typer.Option(min=2, help="Candidates of a dev query.")] = 20
    every: Annotated[int, typer.Option(min=1, help="Steps between evaluations on dev.")] = 50
    patience: Annotated[
        int, typer.Option(min=0, help="Evaluations without gain before it ends; 0: never.")
    ] = 0
    minutes: Annotated[
        float,
        typer.Option(
            min=0,
            help="End after so long, with an evaluation; --resume goes on.  \\[0: no limit]",
            show_default=False,
        ),
    ] = 0.0
    evaluate_first: Annotated[bool, typer.Option(help="Evaluate on dev before the first step.")] = (
        True
    )
    prompt_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens of a prompt, at most; longer ones are left out.")
    ] = 3072
    trl: Annotated[
        list[str] | None,
        typer.Option(
            callback=_with_recipe,
            metavar="NAME=VALUE",
            help="A setting of TRL's config, such as loss_type=dapo; repeatable.",
            show_default=False,
        ),
    ] = None
    report_to: Annotated[
        str, typer.Option(help="Also log to: none, tensorboard, trackio or wandb.")
    ] = "none"
    seed: Annotated[int, typer.Option(help="Of all random draws.")] = 0
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise InputError("a learning rate must be above 0")
        if self.report_to not in TRACKERS:
            raise InputError(f"--report-to has {', '.join(TRACKERS)}, not {self.report_to!r}")
        if self.dtype not in ("auto", "float32", "bfloat16"):
            raise InputError(f"--dtype must be auto, float32 or bfloat16, not {self.dtype!r}")
        if self.qlora and not self.lora:
            raise InputError("--qlora trains adapters: give --lora RANK with it")


@dataclass(frozen=True)
class SFTSettings(Common):
    """The settings of imitation."""

    steps: Annotated[int, typer.Option(min=1, help="Steps, at most.")] = 1000
    batch: Annotated[int, typer.Option(min=1, help="Replies per step.")] = 32
    held_out: Annotated[
        int, typer.Option(min=1, help="Replies that the held-out loss is of, at most.")
    ] = 256
    every: Annotated[int, typer.Option(min=1, help="Steps between evaluations on dev.")] = 100
    patience: Annotated[
        int, typer.Option(min=0, help="Evaluations without gain before it ends; 0: never.")
    ] = 3


@dataclass(frozen=True)
class GRPOSettings(Common):
    """The settings of reinforcement: the defaults are REARANK's except the size of a step.

    Raises:
        InputError: a setting is out of its range, or settings do not go together.
    """

    steps: Annotated[int, typer.Option(min=1, help="Rounds of rollouts.")] = 160
    prompts: Annotated[int, typer.Option(min=1, help="Prompts per step.")] = 8
    rollouts: Annotated[int, typer.Option(min=2, help="Replies per prompt.")] = 32
    updates: Annotated[int, typer.Option(min=1, help="Weight updates per step.")] = 1
    rate: Annotated[float, typer.Option(help="Learning rate, constant.")] = 1e-6
    kl: Annotated[float, typer.Option(min=0, help="Weight of the KL to the initial policy.")] = 0.01
    clip: Annotated[
        float, typer.Option(min=0, max=1, help="Clip range of the probability ratio.")
    ] = 0.2
    temperature: Annotated[float, typer.Option(help="Sampling temperature of the rollouts.")] = 1.0
    reward: Annotated[str, typer.Option(help="Reward of a reply: rearank, reasonrank, ...")] = (
        "rearank"
    )
    goal: Annotated[
        str, typer.Option(help="What is rewarded: the order of a window, or of the list.")
    ] = "window"
    vllm: Annotated[
        bool, typer.Option(help="Sample with vLLM in the same process; on GPUs only.")
    ] = False
    vllm_memory: Annotated[
        float,
        typer.Option(min=0.05, max=0.95, help="Share of a GPU's memory for vLLM in its process."),
    ] = 0.3
    vllm_server: Annotated[
        str,
        typer.Option(
            metavar="URL",
            show_default=False,
            help="Sample with the vLLM at this address instead, on other GPUs: trl vllm-serve.",
        ),
    ] = ""
    correction: Annotated[
        str,
        typer.Option(
            help="Weights of rollouts that vLLM sampled with slightly other probabilities: by "
            "token, truncated; by sequence, where the ratios of a long reply multiply; none."
        ),
    ] = "token"
    every: Annotated[int, typer.Option(min=1, help="Steps between evaluations on dev.")] = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        reward_by_name(self.reward)
        if self.correction not in ("token", "sequence", "none"):
            raise InputError(
                f"the correction must be token, sequence or none, not {self.correction!r}"
            )
        if self.qlora and self.samples_with_vllm:
            raise InputError("vLLM cannot take over weights of 4 bits: leave out --qlora or vLLM")
        if self.temperature <= 0:
            raise InputError("the temperature must be above 0: equal replies give no signal")
        if self.goal not in ("window", "list"):
            raise InputError(f"the goal must be window or list, not {self.goal!r}")
        if self.goal == "list" and self.reward != "rearank":
            raise InputError("--goal list works with --reward rearank only")
        if self.prompts * self.rollouts % self.updates:
            raise InputError(
                f"{self.prompts} prompts with {self.rollouts} replies do not divide into "
                f"{self.updates} updates"
            )

    @property
    def samples_with_vllm(self) -> bool:
        """Whether vLLM samples the replies, in the same processes or in a server."""
        return self.vllm or bool(self.vllm_server)


@dataclass(frozen=True)
class PromptOptions:
    """How a model without a prompt config is prompted; one that a model carries stays."""

    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A prompt template other than the default: rearank-7b, or a file.",
            autocompletion=templates,
            show_default=False,
        ),
    ] = None
    window: Annotated[
        int | None, typer.Option(min=2, help="Passages per window.  \\[20]", show_default=False)
    ] = None
    cut: Annotated[
        int | None,
        typer.Option(
            min=40, help="Characters of a passage before it is truncated.  \\[1200]",
            show_default=False,
        ),
    ] = None  # fmt: skip
    budget: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of a reply, at most.  \\[2048]", show_default=False),
    ] = None
    think: Annotated[
        bool | None,
        typer.Option(
            "--think/--no-think", help="Whether reasoning is asked for.  \\[think]",
            show_default=False,
        ),
    ] = None  # fmt: skip

    def config_of(self, model: str) -> PromptConfig:
        """The prompt config of a model: the one it carries, else these options.

        Args:
            model: a folder, or the name of a repository.

        Raises:
            InputError: it carries one that differs from the options given.
        """
        given = {name: value for name, value in vars(self).items() if value is not None}
        if self.template:
            given["template"] = Template.load(self.template)
        carried = PromptConfig.load(model)
        if carried is None:
            return PromptConfig.of(**given)
        different = [name for name, value in given.items() if getattr(carried, name) != value]
        if different:
            raise InputError(
                f"{model} was trained with another prompt config: leave out "
                f"{', '.join(f'--{name}' for name in different)}"
            )
        return carried
