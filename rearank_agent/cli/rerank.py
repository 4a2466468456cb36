"""`rerank`: passages from a file or a pipe, best first."""

from __future__ import annotations

from typing import Annotated

import typer

from rearank_agent.cli.console import progress_bar
from rearank_agent.cli.options import (
    Html,
    Instruction,
    Json,
    MinScore,
    Query,
    Top,
    with_options,
)
from rearank_agent.cli.policy_options import RerankerOptions

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
@with_options
def rerank(
    query: Query,
    file: Annotated[
        str,
        typer.Argument(
            help="Passages: JSON Lines or a JSON array (text; id, title, score), or plain lines."
        ),
    ] = "-",
    *,
    instruction: Instruction = "",
    blend: Annotated[
        float, typer.Option(min=0, help="Weight of the given order: 0 none, 0.3 some.")
    ] = 0.0,
    top: Top = None,
    min_score: MinScore = None,
    as_json: Json = False,
    html: Html = None,
    options: RerankerOptions,
) -> None:
    """Rerank passages from a file or a pipe.

    A terminal shows a table; a pipe gets JSON Lines, best first.

        rearank-agent rerank 'how long do fleas live' passages.jsonl

        grep -h flea *.txt | rearank-agent rerank 'how long do fleas live'
    """
    from rearank_agent.cli.output import print_ranking
    from rearank_agent.cli.read_passages import read_passages
    from rearank_agent.present.threshold import check_min_score

    candidates = read_passages(file)
    with progress_bar(f"ranking {len(candidates)} passages") as show:
        reranker = options.reranker()
        check_min_score(reranker.policy, min_score)
        ranking = reranker.rerank_sync(
            query, candidates, instruction=instruction, blend=blend, progress=show
        )
    print_ranking(ranking, top, as_json, html, min_score)
