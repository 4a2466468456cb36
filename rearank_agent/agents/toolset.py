"""The tools `rerank`, `search` and `read` for pydantic-ai agents: a toolset and a capability."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Annotated, Any

from pydantic import Field
from pydantic_ai import FunctionToolset, ModelRetry, RunContext, Tool, ToolReturn
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ToolReturnPart
from pydantic_ai.tools import ToolDefinition

from rearank_agent.agents.wrapper import add_usage
from rearank_agent.errors import BusyError, InputError
from rearank_agent.present.answer import RerankAnswer, SearchAnswer
from rearank_agent.present.explanation import find_passage
from rearank_agent.present.faults import Told
from rearank_agent.present.reading import AROUND, ReadAnswer, read_answer
from rearank_agent.present.threshold import check_min_score
from rearank_agent.present.truncate import check_budget, rerank_answer, search_answer
from rearank_agent.reranker import Reranker
from rearank_agent.search.find import find
from rearank_agent.search.library import Library
from rearank_agent.search.read import read
from rearank_agent.search.result import EmptyError
from rearank_agent.text import one_line
from rearank_agent.types import Passage, Ranking

__all__ = ["Rerank", "rerank_toolset"]

_INSTRUCTIONS = "When you hold many candidate passages, rerank them and read the best ones first."
_SEARCH_INSTRUCTIONS = (
    "To find out what is in the files, search them; the result is already ranked. "
    "Where a snippet is not enough, read the hit."
)
_RETRIES = 3
_CONVERSATIONS = 1_000  # of which it is remembered what they were told

_NO_RESULT = partial(SearchAnswer, run="", total=0, scored=False, partial=True, ranking=())
TopK = Annotated[int, Field(ge=1, le=1000)]
MinScore = Annotated[float, Field(ge=0, le=1)]
Around = Annotated[int, Field(ge=0, le=1000)]
Part = Annotated[int, Field(ge=1)]


def rerank_toolset(
    reranker: Reranker,
    library: Library | None = None,
    *,
    max_tokens: int = 4_000,
    min_score: float | None = None,
) -> FunctionToolset[Any]:
    """The tools `rerank` and, with a library, `search` and `read`, for an agent with any deps.

    What the model can fix (an empty query, a path outside the library) is a retry; what it cannot
    (a policy that failed, a deadline) is a result with notes. The whole `Ranking` is the
    tool return's metadata, and its cost is added to the run's usage: a reranker's model calls
    count as requests of the run.

    Args:
        reranker: may be shared; all share the process's cap on model calls.
        library: the files of `search` and `read`.
        max_tokens: the limit of a result.
        min_score: the lowest relevance that a result shows, 0 to 1; None for all. The model may
            ask for a higher one where the policy gives scores.

    Raises:
        InputError: too few tokens for an answer, or a minimum that is out of range or that the
            policy cannot serve.
    """
    check_budget(max_tokens)
    check_min_score(reranker.policy, min_score)
    tools = _Tools(reranker, library, max_tokens, min_score or 0.0)
    ranking: list[Any] = [tools.rerank, tools.search] if library else [tools.rerank]
    made: list[Any] = [Tool(function, prepare=tools.as_offered) for function in ranking]
    made += [tools.read] if library else []
    return FunctionToolset[Any](made, id="rearank-agent", max_retries=_RETRIES)


@dataclass(frozen=True)
class _Tools:
    """The tools; the model sees their names, docstrings and parameters."""

    reranker: Reranker
    library: Library | None
    max_tokens: int
    floor: float
    told: Callable[[str | None], Told] = field(
        default_factory=lambda: lru_cache(_CONVERSATIONS)(lambda _: Told())
    )

    async def as_offered(self, _: RunContext[Any], tool: ToolDefinition) -> ToolDefinition:
        """The tool without `min_score` where the policy has no scores to compare."""
        if self.reranker.policy.scores:
            return tool
        schema = deepcopy(tool.parameters_json_schema)
        del schema["properties"]["min_score"]
        return replace(tool, parameters_json_schema=schema)

    def _lowest(self, min_score: float) -> float | None:
        """The minimum of a call: the model's or the program's, whichever is higher.

        Raises:
            InputError: the policy cannot serve it.
        """
        lowest = max(min_score, self.floor) or None
        check_min_score(self.reranker.policy, lowest)
        return lowest

    async def rerank(
        self,
        ctx: RunContext[Any],
        query: str,
        passages: list[str],
        instruction: str = "",
        top_k: TopK = 10,
        min_score: MinScore = 0.0,
    ) -> ToolReturn[RerankAnswer]:
        """Put passages you hold in order of relevance to a query.

        Args:
            ctx: the run.
            query: What you want to know, in words.
            passages: Texts to rank, in any order; the result names them by number, from 1.
            instruction: One sentence on what relevant means here.
            top_k: How many to give back, best first.
            min_score: Leave out what scores less.
        """
        with _retried_by_the_model():
            lowest = self._lowest(min_score)
            ranking = await self.reranker.rerank(query, passages, instruction=instruction)
        add_usage(ctx, ranking.usage)
        answer = rerank_answer(ranking, top_k, True, self.max_tokens, lowest)
        return ToolReturn(answer, metadata=ranking)

    async def search(
        self,
        ctx: RunContext[Any],
        query: str,
        path: str = "",
        instruction: str = "",
        top_k: TopK = 10,
        min_score: MinScore = 0.0,
    ) -> ToolReturn[SearchAnswer]:
        """Find the parts of files that answer a query, best first.

        Args:
            ctx: the run.
            query: What you want to know, in words.
            path: Folder or file to search; empty for all.
            instruction: One sentence on what relevant means here.
            top_k: How many to give back, best first.
            min_score: Leave out what scores less.
        """
        assert self.library is not None  # noqa: S101 - the tool exists only with a library
        ask = partial(find, self.reranker, self.library, query, within=path)
        try:
            with _retried_by_the_model():
                lowest = self._lowest(min_score)
                ranking = await ask(instruction=instruction, deadline=self.reranker.deadline)
        except (BusyError, EmptyError) as error:
            return ToolReturn(_NO_RESULT(notes=(str(error),)))
        add_usage(ctx, ranking.usage)
        fresh = self.told(ctx.conversation_id or ctx.run_id).fresh(ranking)
        answer = search_answer(fresh, top_k, True, self.max_tokens, lowest)
        return ToolReturn(answer, metadata=ranking)

    async def read(
        self,
        ctx: RunContext[Any],
        place: str,
        run: str = "",
        around: Around = AROUND,
        part: Part = 1,
    ) -> ReadAnswer | str:
        """Read what a search found, and the lines around it: each line behind its number.

        Args:
            ctx: the run.
            place: Path and lines as search gives them, or a path alone.
            run: With a search's run, place may be a rank.
            around: Lines on each side.
            part: Of a long answer, from 1.
        """
        assert self.library is not None  # noqa: S101 - as for `search`
        try:
            with _retried_by_the_model():
                hit = _hit(ctx, run, place) if run else None
                reading = await read(self.library, place, hit, self.reranker.deadline)
                make = partial(read_answer, reading, around, part, self.max_tokens)
                return await asyncio.to_thread(make)
        except BusyError as error:
            return str(error)


def _hit(ctx: RunContext[Any], run: str, place: str) -> Passage:
    """A passage of a search, which the messages have as metadata; raises InputError."""
    for message in ctx.messages:
        for part in message.parts:
            found = part.metadata if isinstance(part, ToolReturnPart) else None
            if isinstance(found, Ranking) and found.run == run:
                return find_passage(found, place).passage
    raise InputError(f"no run {run!r:.40} is in this conversation; search again")


@dataclass
class Rerank(AbstractCapability[Any]):
    """The toolset, with instructions on when to use it."""

    reranker: Reranker = field(default_factory=Reranker)
    library: Library | None = None
    max_tokens: int = 4_000
    min_score: float | None = None

    def get_instructions(self) -> str:
        """When to use the tools."""
        return f"{_INSTRUCTIONS} {_SEARCH_INSTRUCTIONS}" if self.library else _INSTRUCTIONS

    def get_toolset(self) -> FunctionToolset[Any]:
        """The tools."""
        return rerank_toolset(
            self.reranker, self.library, max_tokens=self.max_tokens, min_score=self.min_score
        )


@contextmanager
def _retried_by_the_model() -> Iterator[None]:
    """Turn an InputError into a retry, so that the model corrects its arguments."""
    try:
        yield
    except EmptyError:
        raise
    except InputError as error:
        raise ModelRetry(one_line(str(error))) from None
