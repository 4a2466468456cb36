"""What stands behind the tools: one reranker, one library, the kept runs, and their limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from rearank_agent.errors import BusyError, InputError, SetupError
from rearank_agent.present.answer import RerankAnswer, SearchAnswer
from rearank_agent.present.explanation import Explanation, explain_part
from rearank_agent.present.faults import fault_line
from rearank_agent.present.truncate import check_budget, rerank_answer, search_answer
from rearank_agent.reranker import Reranker
from rearank_agent.search.find import Progress, find
from rearank_agent.store import Store
from rearank_agent.types import Fault, Passage, Ranking, as_passages

if TYPE_CHECKING:
    from rearank_agent.search.library import Library

__all__ = ["DEADLINE", "MAX_BYTES", "MAX_PASSAGES", "Service"]

DEADLINE = 50.0
"""Seconds for a request, unless told otherwise: hosts commonly give up after 60."""

MAX_PASSAGES = 1_000
MAX_BYTES = 4 * 1024 * 1024
MAX_QUERY = 20_000  # characters
MAX_LINES = 1_000
MAX_CONCURRENT = 8  # requests at work; the others wait, so that some end in time rather than none
_LEAST = 0.5  # seconds in which something can still be judged

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass
class Service:
    """Answers requests, each within its deadline.

    Attributes:
        reranker: who ranks; its deadline, if it has one, is the requests'.
        roots: the folders and files that may be searched.
        kept: rankings for `explain`, by run.
        max_tokens: of an answer, text and structured form together.
    """

    reranker: Reranker
    roots: Sequence[Path]
    kept: Store
    max_tokens: int = 4_000
    _library: Library | None = None
    _keeper: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "runs"))
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CONCURRENT))

    def __post_init__(self) -> None:
        check_budget(self.max_tokens)

    @property
    def deadline(self) -> float:
        """Seconds for a request, waiting included."""
        return self.reranker.deadline or DEADLINE

    async def rank(
        self,
        query: str,
        passages: Sequence[Passage | str],
        instruction: str,
        progress: Progress | None = None,
        *,
        blend: float = 0.0,
        spent: float = 0.0,
    ) -> Ranking:
        """The passages in order, kept for `explain`.

        Args:
            blend: how much the given order counts.
            spent: seconds of the deadline that are over already.

        Raises:
            InputError: nothing to rank, or more than is ranked in one request.
            BusyError: too many other requests were first.
        """
        passages = as_passages(passages)
        _check(query, instruction, passages)
        title = f"ranking {len(passages)} passages"
        if progress:
            progress(title, 0, 0)
        async with self._place(spent) as left:
            ranking = await self.reranker.rerank(
                query,
                passages,
                instruction=instruction,
                blend=blend,
                deadline=left,
                progress=progress and partial(progress, f"{title}: turn"),
            )
        return await self._keep(ranking)

    async def rerank(
        self,
        query: str,
        passages: Sequence[str],
        instruction: str,
        top_k: int,
        rationale: bool,
        progress: Progress | None = None,
    ) -> RerankAnswer:
        """What an agent is told of the passages in order.

        Raises:
            InputError: nothing to rank, or more than is ranked in one request.
            BusyError: too many other requests were first.
        """
        _check_lines(top_k)
        ranking = await self.rank(query, passages, instruction, progress)
        return await asyncio.to_thread(rerank_answer, ranking, top_k, rationale, self.max_tokens)

    async def search(
        self,
        query: str,
        path: str,
        instruction: str,
        top_k: int,
        rationale: bool,
        progress: Progress | None = None,
    ) -> SearchAnswer:
        """The parts of files that answer a query, in order.

        Raises:
            InputError: an empty query, or a path outside the roots.
            BusyError: too many other requests were first, or the files are still being read.
        """
        _check_lines(top_k)
        _check(query, instruction)
        if progress:
            progress("looking at the files", 0, 0)
        async with self._place() as left:
            ranking = await find(
                self.reranker,
                self._files(),
                query,
                within=path.strip(),
                instruction=instruction,
                deadline=left,
                progress=progress,
            )
        ranking = await self._keep(ranking)
        return await asyncio.to_thread(search_answer, ranking, top_k, rationale, self.max_tokens)

    async def explain(self, run: str, passage: str, part: int) -> Explanation:
        """What is known of an earlier run, or of one passage in it.

        Raises:
            InputError: the run is not kept, the passage not in it, or there is no such part.
            SetupError: the store cannot be read.
            BusyError: another process writes to it for long.
        """
        return await self._aside(5.0, self._explained, run.strip(), passage.strip(), part)

    def _explained(self, run: str, passage: str, part: int) -> Explanation:
        text = self.kept.get(run)
        if text is None:
            raise InputError(f"no run {run!r:.40} is kept (any more); rank again")
        return explain_part(Ranking.from_json(text), passage, part, self.max_tokens)

    def _files(self) -> Library:
        if not self.roots:
            raise InputError("no folder was named for search: start the server with --root FOLDER")
        if self._library is None:
            from rearank_agent.search.library import (
                Library,  # a third of a second, for who searches
            )

            self._library = Library(self.roots)
        return self._library

    @asynccontextmanager
    async def _place(self, spent: float = 0.0) -> AsyncIterator[float]:
        """A place among those at work; gives the seconds that are left then."""
        start = perf_counter() - spent
        try:
            async with asyncio.timeout(max(_LEAST, self.deadline - spent - _LEAST)):
                await self._places.acquire()
        except TimeoutError:
            raise BusyError("too many requests are being ranked; ask again in a moment") from None
        try:
            yield max(_LEAST, self.deadline - (perf_counter() - start))
        finally:
            self._places.release()

    async def _keep(self, ranking: Ranking) -> Ranking:
        """Put the ranking into the store; a store that fails is a fault, not the end.

        Clients may not show what went wrong; the log does.
        """
        if ranking.partial:
            ended = (fault_line(f) for f in ranking.faults if f.kind in ("deadline", "failed"))
            _log.warning("run %s is partial: %s", ranking.run, "; ".join(ended))
        try:
            await self._aside(1.0, lambda: self.kept.put(ranking.run, ranking.to_json()))
        except (SetupError, BusyError) as error:
            fault = Fault("unkept", (), f"explain will not find this run: {error}")
            return replace(ranking, faults=(*ranking.faults, fault))
        return ranking

    async def _aside(self, seconds: float, work: Callable[..., T], *arguments: object) -> T:
        """Work with the store on its own thread; the request does not wait longer than this."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await loop.run_in_executor(self._keeper, work, *arguments)
        except TimeoutError:
            raise BusyError("the store of runs is in use; ask again in a moment") from None


def _check(query: str, instruction: str, passages: Sequence[Passage] = ()) -> None:
    for name, text in (("query", query), ("instruction", instruction)):
        if len(text) > MAX_QUERY:
            raise InputError(f"the {name} has {len(text):,} characters; {MAX_QUERY:,} at most")
    if len(passages) > MAX_PASSAGES:
        raise InputError(
            f"{len(passages):,} passages are too many for one request: give the best "
            f"{MAX_PASSAGES:,} of a first stage, or use search over files"
        )
    if (size := sum(len(passage.content.encode()) for passage in passages)) > MAX_BYTES:
        raise InputError(f"the passages have {size:,} bytes; {MAX_BYTES:,} at most")


def _check_lines(top_k: int) -> None:
    if not 1 <= top_k <= MAX_LINES:
        raise InputError(f"top_k must be from 1 to {MAX_LINES:,}, not {top_k}")
