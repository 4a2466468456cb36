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
from rearank_agent.present.threshold import check_min_score, from_score
from rearank_agent.reranker import Reranker
from rearank_agent.text import one_line
from rearank_agent.tool_results.lists import find_list
from rearank_agent.tool_results.nothing import too_few
from rearank_agent.types import Ranking, Usage

__all__ = ["Reranked", "add_usage"]


@dataclass
class Reranked(WrapperToolset[AgentDepsT]):
    """Another toolset, with the results of one of its tools reranked by the query of the call.

    The results keep their form and each item is unchanged; the best come first, at most `top_k`
    of them. A result without a list passes through unchanged. A note tells the model how many
    were left out and what failed; the `Ranking` is under "rerank" in the tool return's metadata,
    and its cost is added to the run's usage.

    Attributes:
        tool: the name of the tool whose results are reranked.
        query_arg: the argument of a call that holds the query.
        reranker: ranks them.
        top_k: the maximum number of items to keep.
        instruction: one sentence on what relevant means here.
        min_score: the lowest relevance that is kept, 0 to 1; None for all. See `Ranking.above`.

    Raises:
        InputError: `top_k` or `min_score` is out of range, or the policy gives orders only.
    """

    tool: str = "search"
    query_arg: str = "query"
    reranker: Reranker = field(default_factory=Reranker)
    top_k: int = 10
    instruction: str = ""
    min_score: float | None = None

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise InputError(f"top_k must be at least 1, not {self.top_k}")
        check_min_score(self.reranker.policy, self.min_score)

    async def get_tools(self, ctx: RunContext[AgentDepsT]) -> dict[str, ToolsetTool[AgentDepsT]]:
        """The wrapped tools.

        Warns when the one to rerank is missing: a toolset may add it later.

        Raises:
            SetupError: the tool has no such argument.
        """
        tools = await self.wrapped.get_tools(ctx)
        if self.tool not in tools:
            offered = ", ".join(tools) or "none"
            message = f"there is no tool {self.tool!r} to rerank; there is {offered}"
            warnings.warn(one_line(message), stacklevel=2)
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
        """The result of the call; reranked if it is a call of `tool`."""
        result = await self.wrapped.call_tool(name, tool_args, ctx, tool)
        if name != self.tool:
            return result
        returned = result if isinstance(result, ToolReturn) else ToolReturn(result)
        query = tool_args.get(self.query_arg)
        words = query if isinstance(query, str) else ""
        items = find_list(returned.return_value, words)
        if items is None and too_few(returned.return_value, words):
            return result
        if items is None or not isinstance(query, str) or not query.strip():
            why = "it holds no list" if items is None else f"{self.query_arg} is empty"
            return self._with_note(returned, _unranked(name, why), why)
        try:
            ranking = await self.reranker.rerank(
                query,
                items.passages,
                instruction=self.instruction,
                blend=self.reranker.policy.blend,
            )
        except RearankError as error:
            return self._with_note(returned, _unranked(name, error), error)
        ranking = replace(ranking, faults=(*items.faults, *ranking.faults))
        add_usage(ctx, ranking.usage)
        if why := why_unranked(ranking):
            return self._with_note(returned, _unranked(name, why), ranking)
        shown, below = from_score(ranking, self.min_score)
        best = [one.was - 1 for one in shown[: self.top_k]]
        returned = replace(returned, return_value=items.reordered(best))
        return self._with_note(returned, self._note(name, ranking, len(best), below), ranking)

    def _note(self, name: str, ranking: Ranking, kept: int, below: str) -> str:
        """A note for the model on what was left out or failed; empty if nothing was."""
        n, notes = len(ranking.passages), []
        if n > kept:
            notes.append(f"the best {kept} of {n} results of {name} by {self.query_arg}")
        if below:
            notes.append(below)
        if ranking.partial:
            notes += [fault_line(fault) for fault in ranking.faults[:2]]
        return one_line("; ".join(notes))

    def _with_note(self, returned: ToolReturn[Any], note: str, outcome: object) -> ToolReturn[Any]:
        """The return with a note for the model; the ranking or the reason in its metadata."""
        content = returned.content
        if note:
            before = [content] if isinstance(content, str) else content
            content = note if before is None else [*before, note]
        metadata = returned.metadata
        if metadata is not None and not isinstance(metadata, Mapping):
            metadata = {"original": metadata}
        outcome = outcome if isinstance(outcome, Ranking) else str(outcome)
        return replace(returned, content=content, metadata={**(metadata or {}), "rerank": outcome})


def _unranked(tool: str, why: object) -> str:
    return one_line(f"{tool}'s result is as it came, not reranked: {why}")


def add_usage(ctx: RunContext[Any], usage: Usage) -> None:
    """Add the usage of a rerank to the run's; a policy without tokens counts no requests."""
    output = usage.thought_tokens + usage.answer_tokens
    ctx.usage.incr(
        RunUsage(
            requests=usage.calls if usage.prompt_tokens else 0,
            input_tokens=usage.prompt_tokens,
            cache_read_tokens=usage.cached_tokens,
            output_tokens=output,
        )
    )
