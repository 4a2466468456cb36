"""The MCP server: the tools, their descriptions, calls, errors and progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from inspect import cleandoc
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field, TypeAdapter, ValidationError

import rearank_agent
from rearank_agent.errors import RearankError
from rearank_agent.present.answer import RerankAnswer, SearchAnswer, as_text
from rearank_agent.present.explanation import Explanation
from rearank_agent.present.faults import Told
from rearank_agent.present.reading import AROUND, ReadAnswer, read_text
from rearank_agent.search.find import Progress
from rearank_agent.text import shorten
from rearank_mcp.arguments import lenient
from rearank_mcp.compact_schema import compact_schema, without_none
from rearank_mcp.error_text import error_message, validation_message
from rearank_mcp.service import Service

__all__ = ["Server", "make_server"]

_INSTRUCTIONS = """\
Ranks text by how well it answers a question, with reasons.
- search: the answer is in files. One call finds and ranks them; the texts stay out of your context.
- rerank: you already hold candidate passages (search results, chunks) and want the best first.
- read: a hit with the lines around it, when its snippet is not enough; any file that search reads.
- explain: why a passage stands where it does, after search or rerank, by their run.
Ask in full sentences, and say what counts as relevant in `instruction` if it is not obvious.
A result marked partial is the best order so far, not an error."""

_READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

Query = Annotated[str, Field(description="What you want to know, in words.")]
Instruction = Annotated[str, Field(description="One sentence on what relevant means here.")]
TopK = Annotated[int, Field(description="How many to give back, best first.", ge=1, le=1000)]
Rationale = Annotated[bool, Field(description="Whether to say why.")]
MinScore = Annotated[float, Field(description="Leave out what scores less.", ge=0, le=1)]
Caller = Context[Any, Any]


def make_server(service: Service) -> Server:
    """An MCP server with the tools rerank, search, read and explain."""
    mcp = Server(
        "rearank-agent",
        title="Reasoning reranker",
        instructions=_INSTRUCTIONS,
        version=rearank_agent.__version__,
        log_level="WARNING",
        subscriptions=False,
    )
    tools = _Tools(service)
    mcp.register("Rerank passages", tools.rerank, RerankAnswer)
    mcp.register("Search files", tools.search, SearchAnswer)
    mcp.register("Read a file", tools.read, ReadAnswer)
    mcp.register("Explain a ranking", tools.explain, Explanation)
    return mcp


@dataclass(frozen=True)
class _Tools:
    """The tools; models see their names, docstrings and parameters."""

    service: Service
    _told: Told = field(default_factory=Told)
    _told_over_http: WeakKeyDictionary[Any, Told] = field(default_factory=WeakKeyDictionary)

    def _session(self, ctx: Caller) -> Told:
        """What the client of a call was told; one without a session over HTTP is told each time."""
        if ctx.headers is None:  # stdio has one client
            return self._told
        connection = getattr(ctx.session, "_connection", ctx.session)
        return self._told_over_http.setdefault(connection, Told())

    async def rerank(
        self,
        ctx: Caller,
        query: Query,
        passages: Annotated[list[str], Field(description="Texts to rank, in any order.")],
        instruction: Instruction = "",
        top_k: TopK = 10,
        rationale: Rationale = True,
        min_score: MinScore = 0.0,
    ) -> CallToolResult:
        """Put passages you hold in order of relevance to a query.

        Gives lines `rank. [number] score reason`; number is the place in your list, from 1.
        """
        async with _reporting_progress(ctx) as progress:
            answer = await self.service.rerank(
                query, passages, instruction, top_k, rationale, progress, min_score or None
            )
        return _result(as_text(answer), answer)

    async def search(
        self,
        ctx: Caller,
        query: Query,
        path: Annotated[str, Field(description="Folder or file to search; empty: all.")] = "",
        instruction: Instruction = "",
        top_k: TopK = 10,
        rationale: Rationale = True,
        min_score: MinScore = 0.0,
    ) -> CallToolResult:
        """Find the parts of files that answer a query, best first.

        Gives `rank. path:lines score` and a snippet; `read` has the text around it.
        """
        async with _reporting_progress(ctx) as progress:
            answer = await self.service.search(
                query,
                path,
                instruction,
                top_k,
                rationale,
                progress,
                min_score or None,
                self._session(ctx),
            )
        return _result(as_text(answer), answer)

    async def read(
        self,
        place: Annotated[str, Field(description="path:lines as search gives it, or a path alone.")],
        run: Annotated[str, Field(description="With a search's run, place may be a rank.")] = "",
        around: Annotated[int, Field(description="Lines on each side.", ge=0, le=1000)] = AROUND,
        part: Annotated[int, Field(description="Of a long answer, from 1.", ge=1)] = 1,
    ) -> CallToolResult:
        """Read what a search found, and the lines around it: `number: line`."""
        answer = await self.service.read(place, run, around, part)
        return _result(read_text(answer), answer)

    async def explain(
        self,
        run: Annotated[str, Field(description="The run that rerank or search named.")],
        passage: Annotated[
            str, Field(description="Its number in your list, or rank in a search; empty: all.")
        ] = "",
        part: Annotated[int, Field(description="Of a long answer, from 1.", ge=1)] = 1,
    ) -> CallToolResult:
        """Tell why: reasoning, windows, evidence and faults of an earlier run."""
        answer = await self.service.explain(run, passage, part)
        return _result(answer.text, answer)


class Server(MCPServer[Any]):
    """An MCP server that has tools alone, and whose errors say how to fix them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        handlers = self._lowlevel_server._request_handlers
        for method in [name for name in handlers if name.startswith(("prompts/", "resources/"))]:
            del handlers[method]  # what has a handler is advertised, and hosts show it

    def register(self, title: str, tool: Callable[..., Any], answer: type) -> None:
        """Add a tool, with compact schemas of its arguments and its answer."""
        description = cleandoc(tool.__doc__ or "")
        self.add_tool(tool, title=title, description=description, annotations=_READ_ONLY)
        added = self._tool_manager.list_tools()[-1]
        added.parameters = compact_schema(added.parameters)
        added.fn_metadata.arg_model = lenient(added.fn_metadata.arg_model)
        added.fn_metadata.output_schema = compact_schema(TypeAdapter(answer).json_schema())

    async def serve(self, incoming: Any, outgoing: Any) -> None:
        """Serve MCP over two streams until the incoming one ends."""
        options = self._lowlevel_server.create_initialization_options()
        await self._lowlevel_server.run(incoming, outgoing, options)

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Caller | None = None
    ) -> Any:
        """Call a tool; unknown arguments are an error, not ignored."""
        arguments_of = {
            tool.name: tool.parameters["properties"] for tool in self._tool_manager.list_tools()
        }
        if name not in arguments_of:
            raise ToolError(f"there is no tool {name!r:.60}; there are {', '.join(arguments_of)}")
        if unknown := sorted(set(arguments) - set(arguments_of[name])):
            has = ", ".join(arguments_of[name])
            raise ToolError(
                f"{name} has no argument {shorten(', '.join(unknown), 100)}; it has {has}"
            )
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, RearankError):
                raise ToolError(error_message(error.__cause__)) from None
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(f"{name}: {validation_message(error.__cause__)}") from None
            raise ToolError(error_message(error)) from error


def _result(text: str, answer: Any) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=text)],
        structured_content=asdict(answer, dict_factory=without_none),
    )


@asynccontextmanager
async def _reporting_progress(ctx: Caller) -> AsyncIterator[Progress]:
    """A callback for progress, which reaches the client in order, and only rising."""
    steps: asyncio.Queue[tuple[str, int, int] | None] = asyncio.Queue()

    async def report() -> None:
        offset, last, phase = 0, -1, ""
        while step := await steps.get():
            what, done, total = step
            if what != phase:  # continue the count of the last phase
                offset, phase = max(last, 0), what
            if offset + done > last:
                last = offset + done
                message = f"{what} {done} of {total}" if total else what
                await ctx.report_progress(last, offset + total or None, message)

    reporting = asyncio.create_task(report())
    try:
        yield lambda *step: steps.put_nowait(step)
    finally:
        steps.put_nowait(None)
        await asyncio.gather(reporting, return_exceptions=True)
