"""The command group `train`: rows, and the trainers of the embedded policy and language models."""

import typer

from rearank_agent.cli.lazy import Command, lazy_group

__all__ = ["COMMANDS", "app"]

COMMANDS = {
    "rows": Command(
        "rearank_training.cli.rows",
        "Draw training rows: small sets of passages from judged queries' lists.",
    ),
    "embedded": Command(
        "rearank_training.cli.embedded",
        "Train the embedded policy: a supervised start, then reinforcement.",
    ),
    "nano": Command(
        "rearank_training.cli.nano",
        "Make a tiny language model with random weights, to train on a laptop.",
    ),
    "sft": Command(
        "rearank_training.cli.sft",
        "Fine-tune a language model to imitate another policy's replies.",
    ),
    "grpo": Command(
        "rearank_training.cli.grpo",
        "Reinforce a language model with rewards for its orders, as REARANK does.",
    ),
    "show": Command(
        "rearank_training.cli.show",
        "Show how a run goes: its last steps and evaluations, and replies to read.",
    ),
    "push": Command(
        "rearank_training.cli.push",
        "Upload a trained model to a hub, with a card made from its run.",
    ),
}

app = typer.Typer(
    cls=lazy_group(COMMANDS),
    help="Train policies on judged queries.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.callback()
def _train() -> None: ...
