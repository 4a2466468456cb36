"""`search`: the parts of files that answer a query."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
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
from rearank_agent.errors import InputError

_INDEX_ADVICE = "rearank-agent index PATH... makes the vectors of all"

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
@with_options
def search(
    query: Query,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders or files.  \\[the current folder]", show_default=False),
    ] = None,
    *,
    instruction: Instruction = "",
    depth: Annotated[int, typer.Option(min=1, help="Passages handed to the policy.")] = 50,
    blend: Annotated[
        float | None,
        typer.Option(min=0, help="Weight of BM25's scores.  \\[as the policy recommends]"),
    ] = None,
    top: Top = None,
    min_score: MinScore = None,
    as_json: Json = False,
    html: Html = None,
    options: RerankerOptions,
) -> None:
    r"""Search the files under folders, and rerank what is found.

    Text, Markdown, code, notebooks, HTML and JSON Lines; PDF and Office
    files with the extra: pip install 'rearank-agent\[docs]'. Honours .gitignore.
    Found by words, and by meaning as far as passages have vectors (see: index).

        rearank-agent search 'where is the timeout set' src docs
    """
    from rearank_agent.cli.output import print_faults, print_ranking
    from rearank_agent.present.threshold import check_min_score
    from rearank_agent.search.find import share_fault
    from rearank_agent.search.library import Library

    if not query.strip():
        raise InputError("the query is empty")
    reranker = options.reranker()
    check_min_score(reranker.policy, min_score)
    library = Library(paths or [Path()], by_meaning=options.cache)
    with progress_bar("reading files") as show:
        found = library.search(query, depth, progress=show)
    if not found.passages:
        print_faults(found.faults)
        raise InputError(f"no file holds a word of the query {query!r:.80} or is near it")
    with progress_bar(f"ranking {len(found.passages)} passages") as show:
        ranking = reranker.rerank_sync(
            query,
            found.passages,
            instruction=instruction,
            blend=reranker.policy.blend * found.words_weight if blend is None else blend,
            blend_by="score",
            progress=show,
        )
    unmade = share_fault(found, _INDEX_ADVICE) if options.cache else ()
    ranking = replace(ranking, faults=(*found.faults, *unmade, *ranking.faults))
    print_ranking(ranking, top, as_json, html, min_score)
