"""The settings of training the embedded policy: one flat dataclass, which is also `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from rearank_agent.errors import InputError

__all__ = ["EmbeddedSettings"]


@dataclass(frozen=True)
class EmbeddedSettings:
    """How the embedded policy is trained: a supervised start, then reinforcement.

    Raises:
        InputError: a setting makes no sense.
    """

    warm_steps: Annotated[int, typer.Option(min=0, help="Steps of the supervised start.")] = 800
    warm_queries: Annotated[
        int, typer.Option(min=2, help="Queries of a step there, of one collection.")
    ] = 32
    warm_passages: Annotated[
        int, typer.Option(min=2, help="Passages of a query there; all queries see them all.")
    ] = 2
    warm_rate: Annotated[float, typer.Option(help="Learning rate there.")] = 4e-5
    loss: Annotated[str, typer.Option(help="Of the supervised start: listwise or listmle.")] = (
        "listwise"
    )
    steps: Annotated[int, typer.Option(min=0, help="Steps of reinforcement.")] = 400
    windows: Annotated[int, typer.Option(min=1, help="Windows of a step there.")] = 4
    passages: Annotated[int, typer.Option(min=2, help="Passages of a window there, at most.")] = 20
    samples: Annotated[int, typer.Option(min=2, help="Orders sampled of a window.")] = 32
    places: Annotated[int, typer.Option(min=1, help="Of an order, that are learned from.")] = 10
    reward: Annotated[str, typer.Option(help="Of an order: relative_ndcg, ndcg, recall, rbo.")] = (
        "relative_ndcg"
    )
    kl: Annotated[float, typer.Option(min=0, help="Weight of the KL to the start.")] = 0.01
    rate: Annotated[float, typer.Option(help="Learning rate of reinforcement.")] = 2e-5
    tokens: Annotated[int, typer.Option(min=8, help="Of a text that are read to learn.")] = 96
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Weight of the likeness of parts in a score.")
    ] = 0.5
    moved: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="How far from a phase's start to its mean weights what is served is."
        ),
    ] = 0.5
    blend: Annotated[float, typer.Option(min=0, help="Of the first stage's rank, on dev.")] = 0.3
    dev_queries: Annotated[
        int, typer.Option(min=1, help="Queries of each dev collection, drawn at random.")
    ] = 25
    every: Annotated[int, typer.Option(min=1, help="Steps between two looks at dev.")] = 200
    patience: Annotated[
        int, typer.Option(min=1, help="Looks without a better one before a phase ends.")
    ] = 4
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0
    threads: Annotated[int, typer.Option(min=1, help="Fixed, so that a run can be repeated.")] = 2

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.warm_rate <= 0:
            raise InputError("a learning rate must be above 0")
        if not self.warm_steps and not self.steps:
            raise InputError("there must be steps, of one phase or the other")
