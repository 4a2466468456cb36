"""The settings of training the embedded policy: one flat dataclass, the options of the command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from rearank_agent.errors import InputError

__all__ = ["EmbeddedSettings"]


@dataclass(frozen=True)
class EmbeddedSettings:
    """The settings: of the supervised start, then of reinforcement.

    Raises:
        InputError: a setting is out of its range.
    """

    warm_steps: Annotated[int, typer.Option(min=0, help="Steps of the supervised start.")] = 800
    warm_queries: Annotated[
        int, typer.Option(min=2, help="Queries per step there, of one collection.")
    ] = 32
    warm_passages: Annotated[
        int, typer.Option(min=2, help="Passages per query there, shared by all queries.")
    ] = 2
    warm_rate: Annotated[float, typer.Option(help="Learning rate there.")] = 4e-5
    loss: Annotated[str, typer.Option(help="Loss of the supervised start: listwise, listmle.")] = (
        "listwise"
    )
    steps: Annotated[int, typer.Option(min=0, help="Steps of reinforcement.")] = 400
    windows: Annotated[int, typer.Option(min=1, help="Windows per step, of a teacher too.")] = 4
    passages: Annotated[int, typer.Option(min=2, help="Passages per window there, at most.")] = 20
    samples: Annotated[int, typer.Option(min=2, help="Orders sampled per window.")] = 32
    places: Annotated[int, typer.Option(min=1, help="First places of an order in the loss.")] = 10
    reward: Annotated[str, typer.Option(help="Of an order: relative_ndcg, ndcg, recall, rbo.")] = (
        "relative_ndcg"
    )
    kl: Annotated[float, typer.Option(min=0, help="Weight of the KL to the initial policy.")] = 0.01
    rate: Annotated[float, typer.Option(help="Learning rate of reinforcement.")] = 2e-5
    tokens: Annotated[int, typer.Option(min=8, help="Tokens of a text in training.")] = 96
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Weight of the similarity of spans in a score.")
    ] = 0.5
    moved: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Served weights: 0 the phase's start, 1 the mean of its steps."
        ),
    ] = 0.5
    blend: Annotated[
        float,
        typer.Option(min=0, help="Weight of the first stage's rank, in reinforcement and on dev."),
    ] = 0.3
    dev_queries: Annotated[
        int, typer.Option(min=1, help="Queries of each dev collection, drawn at random.")
    ] = 25
    every: Annotated[int, typer.Option(min=1, help="Steps between evaluations on dev.")] = 200
    patience: Annotated[
        int, typer.Option(min=1, help="Evaluations without gain before a phase ends.")
    ] = 4
    seed: Annotated[int, typer.Option(help="Of all random draws.")] = 0
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads; fixed, for reproducible runs.")
    ] = 2

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.warm_rate <= 0:
            raise InputError("a learning rate must be above 0")
        if not self.warm_steps and not self.steps:
            raise InputError("there must be steps: give --warm-steps or --steps above 0")
