"""The reranker inside pydantic-ai agents: a toolset, a capability, and a wrapper of other tools.

agent = Agent("openai:gpt-5", capabilities=[Rerank(Reranker(), Library([Path("docs")]))])
agent = Agent("openai:gpt-5", toolsets=[Reranked(their_search, tool="search", query_arg="query")])
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

from pydantic import Field
from pydantic_ai import FunctionToolset, ModelRetry, RunContext, ToolReturn
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.tools import AgentDepsT
from pydantic_ai.toolsets import ToolsetTool, WrapperToolset
from pydantic_ai.usage import RunUsage

from rearank_agent.answer import RerankAnswer, SearchAnswer, noted, rerank_answer, search_answer
from rearank_agent.errors import BusyError, InputError, RearankError, SetupError
from rearank_agent.find import find
from rearank_agent.library import EmptyError, Library
from rearank_agent.listlike import listlike
from rearank_agent.passage import Ranking, Usage
from rearank_agent.reranker import Reranker

__all__ = ["Rerank", "Reranked", "rerank_toolset"]

_INSTRUCTIONS = "When you hold many candidate passages, rerank them and read the best ones first."
_SEARCHING = "To find out what is in the files, search them; the result is already ranked."
_RETRIES = 3

TopK = Annotated[int, Field(ge=1, le=1000)]


def rerank_toolset(
    reranker: Reranker, library: Library | None = None, *, max_tokens: int = 4_000
) -> FunctionToolset[Any]:
    """The tools `rerank` and, with a library, `search`, for an agent with any dependencies.

    What the model can mend (an empty query, a path outside the library) it is asked to; what it
    cannot (a policy that failed, a deadline) is a result with notes. The whole `Ranking` is the
    tool return's metadata, and its cost is added to the run's usage: a reranker's model calls
    count as requests of the run.

    Args:
        reranker: shared as you like; all share the process's cap on model calls.
        library: the files that `search` looks through.
        max_tokens: the most a result may have.
    """
    tools = _Tools(reranker, library, max_tokens)
    offered: list[Any] = [tools.rerank, tools.search] if library else [tools.rerank]
    return FunctionToolset[Any](offered, id="rearank-agent", max_retries=_RETRIES)


@dataclass(frozen=True)
class _Tools:
    """Names, docstrings and parameters are what a model is shown."""

    reranker: Reranker
    library: Library | None
    max_tokens: int

    async def rerank(
        self,
        ctx: RunContext[Any],
        query: str,
        passages: list[str],
        instruction: str = "",
        top_k: TopK = 10,
    ) -> ToolReturn[RerankAnswer]:
        """Put passages you hold in order of relevance to a query.

        Args:
            ctx: the run.
            query: What you want to know, in words.
            passages: Texts to rank, in any order; the result names them by number, from 1.
            instruction: One sentence on what relevant means here.
            top_k: How many to give back, best first.
        """
        with _mendable():
            ranking = await self.reranker.rerank(query, passages, instruction=instruction)
        _spend(ctx, ranking.usage)
        answer = rerank_answer(ranking, top_k, True, self.max_tokens)
        return ToolReturn(answer, metadata=ranking)

    async def search(
        self,
        ctx: RunContext[Any],
        query: str,
        path: str = "",
        instruction: str = "",
        top_k: TopK = 10,
    ) -> ToolReturn[SearchAnswer]:
        """Find the parts of files that answer a query, best first.

        Args:
            ctx: the run.
            query: What you want to know, in words.
            path: Folder or file to search; empty for all.
            instruction: One sentence on what relevant means here.
            top_k: How many to give back, best first.
        """
        assert self.library is not None  # noqa: S101 - it is offered only where there is one
        ask = partial(find, self.reranker, self.library, query, within=path)
        try:
            with _mendable():
                ranking = await ask(instruction=instruction, deadline=self.reranker.deadline)
        except (BusyError, EmptyError) as error:
            return ToolReturn(SearchAnswer("", 0, False, True, (str(error),), ()))
        _spend(ctx, ranking.usage)
        answer = search_answer(ranking, top_k, True, self.max_tokens)
        return ToolReturn(answer, metadata=ranking)


@dataclass
class Rerank(AbstractCapability[Any]):
    """The toolset, and the instructions that tell an agent when to use it."""

    reranker: Reranker = field(default_factory=Reranker)
    library: Library | None = None
    max_tokens: int = 4_000

    def get_instructions(self) -> str:
        """When to use the tools."""
        return f"{_INSTRUCTIONS} {_SEARCHING}" if self.library else _INSTRUCTIONS

    def get_toolset(self) -> FunctionToolset[Any]:
        """The tools."""
        return rerank_toolset(self.reranker, self.library, max_tokens=self.max_tokens)


@dataclass
class Reranked(WrapperToolset[AgentDepsT]):
    """Another toolset, with the results of one of its tools reranked by the query of the call.

    The results keep their form and each item stays as it is; the best come first, and at most
    `top_k` of them. What has no list in it passes through untouched. The model is told what was
    cut and what could not be done; the `Ranking` stands under "rerank" in the tool return's
    metadata, and its cost is added to the run's usage.

    Attributes:
        tool: whose results are reranked.
        query_arg: the argument of a call that holds the query.
        reranker: who ranks.
        top_k: the most items to keep.
        instruction: one sentence on what relevant means here.
    """

    tool: str = "search"
    query_arg: str = "query"
    reranker: Reranker = field(default_factory=Reranker)
    top_k: int = 10
    instruction: str = ""

    async def get_tools(self, ctx: RunContext[AgentDepsT]) -> dict[str, ToolsetTool[AgentDepsT]]:
        """The wrapped tools.

        Raises:
            SetupError: the one to rerank is not among them, or has no such argument.
        """
        tools = await self.wrapped.get_tools(ctx)
        if self.tool not in tools:
            offered = ", ".join(tools) or "none"
            raise SetupError(f"there is no tool {self.tool!r} to rerank; there is {offered}")
        schema = tools[self.tool].tool_def.parameters_json_schema
        arguments = schema.get("properties", {})
        if self.query_arg not in arguments:
            offered = ", ".join(arguments) or "none"
            raise SetupError(f"{self.tool} has no argument {self.query_arg!r}; it has {offered}")
        return tools

    async def call_tool(
        self,
        name: str,
        tool_args: dict[str, Any],
        ctx: RunContext[AgentDepsT],
        tool: ToolsetTool[AgentDepsT],
    ) -> Any:
        """The result of the call, reranked if it is the tool's."""
        result = await self.wrapped.call_tool(name, tool_args, ctx, tool)
        if name != self.tool:
            return result
        whole = result if isinstance(result, ToolReturn) else ToolReturn(result)
        query = tool_args.get(self.query_arg)
        items = listlike(whole.return_value)
        if items is None or not isinstance(query, str) or not query.strip():
            why = "it holds no list" if items is None else f"{self.query_arg} is empty"
            return self._told(whole, f"{name}'s result is as it came, not reranked: {why}", why)
        try:
            ranking = await self.reranker.rerank(
                query,
                items.passages,
                instruction=self.instruction,
                blend=self.reranker.policy.blend,
            )
        except RearankError as error:
            return self._told(whole, f"{name}'s result is as it came, not reranked: {error}", error)
        _spend(ctx, ranking.usage)
        best = [one.was - 1 for one in ranking.passages[: self.top_k]]
        whole = replace(whole, return_value=items.arranged(best))
        return self._told(whole, self._note(name, ranking), ranking)

    def _note(self, name: str, ranking: Ranking) -> str:
        """What the model should know of the order; nothing if there is nothing odd about it."""
        n, notes = len(ranking.passages), []
        if n > self.top_k:
            notes.append(f"the best {self.top_k} of {n} results of {name} by {self.query_arg}")
        if ranking.partial:
            notes += [noted(fault) for fault in ranking.faults[:2]]
        return "; ".join(notes)

    def _told(self, whole: ToolReturn[Any], note: str, about: object) -> ToolReturn[Any]:
        """The return with a note for the model, and for the program what it is about."""
        said = whole.content
        if note:
            said = note if said is None else [*([said] if isinstance(said, str) else said), note]
        kept = whole.metadata
        if kept is not None and not isinstance(kept, Mapping):
            kept = {"original": kept}
        about = about if isinstance(about, Ranking) else str(about)
        return replace(whole, content=said, metadata={**(kept or {}), "rerank": about})


@contextmanager
def _mendable() -> Iterator[None]:
    """What is wrong with the model's arguments, it is asked to mend."""
    try:
        yield
    except EmptyError:
        raise
    except InputError as error:
        raise ModelRetry(str(error)) from None


def _spend(ctx: RunContext[Any], usage: Usage) -> None:
    """Add a reranking's cost to the run's; a policy without tokens makes no requests."""
    output = usage.thought_tokens + usage.answer_tokens
    ctx.usage.incr(
        RunUsage(
            requests=usage.calls if usage.prompt_tokens else 0,
            input_tokens=usage.prompt_tokens,
            cache_read_tokens=usage.cached_tokens,
            output_tokens=output,
        )
    )
