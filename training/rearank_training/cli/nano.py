"""`train nano`: a language model made from nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rearank_agent.errors import InputError
from rearank_training.cli.lm_options import Rows
from rearank_training.cli.lm_setup import read_examples, require_extra

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_READ = 3000
"""Rows whose words the tokenizer is made of."""


@app.command(no_args_is_help=True)
def nano(
    rows: Rows,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The model's folder.")],
    size: Annotated[
        int, typer.Option(min=32, max=512, help="Of a hidden state, a multiple of 32.")
    ] = 96,
    layers: Annotated[int, typer.Option(min=1, max=12)] = 3,
    vocabulary: Annotated[int, typer.Option(min=512, max=16384, help="Tokens.")] = 1024,
    seed: Annotated[int, typer.Option(help="Of the weights.")] = 0,
) -> None:
    """Make a language model from nothing: small enough to train on a laptop.

    A Qwen2 with random weights, a tokenizer of the rows' words, and words of
    its own to be asked with. It shows that all that trains and serves large
    models works; it is no model to use.

        rearank-agent train nano runs/rows --out runs/nano
    """
    require_extra()
    from rearank_agent.policies.registry import policy
    from rearank_training.lm.demonstrations import of_policy
    from rearank_training.lm.model import quiet
    from rearank_training.lm.nano import make

    if size % 32:
        raise InputError(f"the size must be a multiple of 32, not {size}")
    quiet(1)
    some = read_examples(rows)
    some = some[:: max(1, len(some) // _READ)]
    count = make(out, of_policy(some, policy("lexical"), False), size, layers, vocabulary, seed)
    print(f"{count:,} parameters in {out}; it knows nothing yet", file=sys.stderr)
