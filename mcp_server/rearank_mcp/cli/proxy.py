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
        typer.Argument(metavar="COMMAND", help="What starts the server.", show_default=False),
    ],
    *,
    rerank: Annotated[
        list[str],
        typer.Option(
            metavar="TOOL", help="Whose results to rerank; repeatable.", show_default=False
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
        int, typer.Option(min=MIN_TOKENS, help="The most tokens the reasons may have.")
    ] = 2_000,
    judging: RerankerOptions,
) -> None:
    """Stand between a host and another MCP server, and rerank what it finds.

    All that the server offers stays as it is; the results of the named tools
    come back best first, cut to the best, with the reasons:

        rearank-agent mcp proxy --rerank search -- some-server ~/notes

    A host that knows the server is told by:

        rearank-agent mcp install --client cursor --proxy SERVER -- --rerank TOOL
    """
    from rearank_mcp.pipes import Lines, exit_now, until_signal

    async def relay() -> None:
        server = start()  # what follows takes a second, and so does its start
        from rearank_mcp.proxy.relay import Relay
        from rearank_mcp.proxy.results import ResultReranker

        try:
            sorter = ResultReranker(
                make_service(judging, (), max_tokens), top_k, query_arg, instruction
            )
        except BaseException:
            server.kill()
            raise
        await Relay(host, start, rerank, sorter).run(server)

    host = Lines(*stdio_to_host())
    from rearank_mcp.logs import to_stderr
    from rearank_mcp.proxy.child import ChildServer

    to_stderr()
    start = partial(ChildServer, command)
    asyncio.run(until_signal(relay()))
    exit_now()
