"""`train nano`: make a tiny language model with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rearank_agent.cli.console import print_note
from rearank_agent.errors import InputError
from rearank_training.cli.lm_options import Rows
from rearank_training.cli.lm_setup import read_examples, require_extra

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_MAX_ROWS = 3000
"""Rows that the tokenizer is trained on."""


@app.command(no_args_is_help=True)
def nano(
    rows: Rows,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The model's folder.")],
    size: Annotated[
        int, typer.Option(min=32, max=512, help="Width of a hidden state, a multiple of 32.")
    ] = 96,
    layers: Annotated[int, typer.Option(min=1, max=12, help="Layers.")] = 3,
    vocabulary: Annotated[
        int, typer.Option(min=512, max=16384, help="Tokens of the vocabulary.")
    ] = 1024,
    seed: Annotated[int, typer.Option(help="Seed of the random weights.")] = 0,
) -> None:
    """Make a tiny language model with random weights, to train on a laptop.

    A Qwen2 with a tokenizer trained on the rows, and a prompt template of its
    own. It tests the training and serving of large models; it is not meant
    for use.

        rearank-agent train nano runs/rows --out runs/nano
    """
    require_extra()
    from rearank_agent.policies.registry import policy
    from rearank_training.lm.demonstrations import policy_demonstrations
    from rearank_training.lm.model import quiet
    from rearank_training.lm.nano import make

    if size % 32:
        raise InputError(f"the size must be a multiple of 32, not {size}")
    quiet(1)
    examples = read_examples(rows)
    examples = examples[:: max(1, len(examples) // _MAX_ROWS)]
    texts = policy_demonstrations(examples, policy("lexical"), quotes=False)
    count = make(out, texts, size, layers, vocabulary, seed)
    print_note(f"{count:,} random parameters in {out}; train it with train sft")
