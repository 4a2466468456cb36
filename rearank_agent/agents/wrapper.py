"""Any other toolset, with the results of one of its tools reranked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_ai import RunContext, ToolReturn
from pydantic_ai.tools import AgentDepsT
from pydantic_ai.toolsets import ToolsetTool, WrapperToolset
from pydantic_ai.usage import RunUsage

from rearank_agent.errors import InputError, RearankError, SetupError
from rearank_agent.present.faults import fault_line, why_unranked
from rearank_agent.reranker import Reranker
from rearank_agent.tool_results.lists import find_list, too_few
from rearank_agent.types import Ranking, Usage

__all__ = ["Reranked", "add_usage"]


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

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise InputError(f"top_k must be at least 1, not {self.top_k}")

    async def get_tools(self, ctx: RunContext[AgentDepsT]) -> dict[str, ToolsetTool[AgentDepsT]]:
        """The wrapped tools.

        Warns when the one to rerank is not among them, which may be so for a while.

        Raises:
            SetupError: it has no such argument.
        """
        tools = await self.wrapped.get_tools(ctx)
        if self.tool not in tools:
            offered = ", ".join(tools) or "none"
            said = f"there is no tool {self.tool!r} to rerank; there is {offered}"
            warnings.warn(said, stacklevel=2)
            return tools
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
        items = find_list(whole.return_value)
        if items is None and too_few(whole.return_value):
            return result
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
        add_usage(ctx, ranking.usage)
        if why := why_unranked(ranking):
            return self._told(whole, f"{name}'s result is as it came, not reranked: {why}", ranking)
        best = [one.was - 1 for one in ranking.passages[: self.top_k]]
        whole = replace(whole, return_value=items.arranged(best))
        return self._told(whole, self._note(name, ranking), ranking)

    def _note(self, name: str, ranking: Ranking) -> str:
        """What the model should know of the order; nothing if there is nothing odd about it."""
        n, notes = len(ranking.passages), []
        if n > self.top_k:
            notes.append(f"the best {self.top_k} of {n} results of {name} by {self.query_arg}")
        if ranking.partial:
            notes += [fault_line(fault) for fault in ranking.faults[:2]]
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


def add_usage(ctx: RunContext[Any], usage: Usage) -> None:
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
