"""`mcp proxy`: another MCP server, with the results of some of its tools reranked."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

import typer

from rearank_agent.cli.options import with_options
from rearank_agent.cli.policy_options import RerankerOptions
from rearank_agent.present.truncate import MIN_TOKENS
from rearank_mcp.cli.serve import make_service, stdio_to_host

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
@with_options
def proxy(
    command: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND", help="Starts the server.", show_default=False),
    ],
    *,
    rerank: Annotated[
        list[str],
        typer.Option(
            metavar="TOOL", help="A tool whose results to rerank; repeatable.", show_default=False
        ),
    ],
    query_arg: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The argument with the query.  \\[query, q, ..., or the only text]",
            show_default=False,
        ),
    ] = "",
    top_k: Annotated[int, typer.Option(min=1, help="How many results to keep.")] = 10,
    instruction: Annotated[
        str, typer.Option(help="One sentence on what relevant means here.", show_default=False)
    ] = "",
    max_tokens: Annotated[
        int, typer.Option(min=MIN_TOKENS, help="Maximum tokens of the reasons.")
    ] = 2_000,
    options: RerankerOptions,
) -> None:
    """Run another MCP server, and rerank the results of its tools.

    All else that the server offers stays as it is; the results of the named
    tools come back best first, only the best, with the reasons:

        rearank-agent mcp proxy --rerank search -- some-server ~/notes

    For a server that is in a host's configuration already:

        rearank-agent mcp install --client cursor --proxy SERVER -- --rerank TOOL
    """
    from rearank_mcp.pipes import Lines, exit_now, until_signal

    async def relay() -> None:
        server = start()  # first: it takes a second, and so do the imports below
        from rearank_mcp.proxy.relay import Relay
        from rearank_mcp.proxy.results import ResultReranker

        try:
            reranker = ResultReranker(
                make_service(options, (), max_tokens), top_k, query_arg, instruction
            )
        except BaseException:
            server.kill()
            raise
        await Relay(host, start, rerank, reranker).run(server)

    host = Lines(*stdio_to_host())
    from rearank_mcp.logs import to_stderr
    from rearank_mcp.proxy.child import ChildServer

    to_stderr()
    start = partial(ChildServer, command)
    asyncio.run(until_signal(relay()))
    exit_now()
