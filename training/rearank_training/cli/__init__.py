"""The command `train`: rows, and the trainers of the embedded policy and of language models."""

import typer

from rearank_agent.cli.lazy import Command, lazy_group

__all__ = ["COMMANDS", "app"]

COMMANDS = {
    "rows": Command(
        "rearank_training.cli.rows",
        "Draw small sets of passages from judged queries' lists, to train on.",
    ),
    "embedded": Command(
        "rearank_training.cli.embedded",
        "Train the embedded policy: a supervised start, then reinforcement.",
    ),
    "nano": Command(
        "rearank_training.cli.nano",
        "Make a language model from nothing: small enough to train on a laptop.",
    ),
    "sft": Command(
        "rearank_training.cli.sft",
        "A cold start: imitate another policy, until held-out replies get no likelier.",
    ),
    "grpo": Command(
        "rearank_training.cli.grpo",
        "Reinforce a language model on what its orders are worth, as REARANK does.",
    ),
}

app = typer.Typer(
    cls=lazy_group(COMMANDS),
    help="Make policies from judged queries.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.callback()
def _train() -> None: ...
