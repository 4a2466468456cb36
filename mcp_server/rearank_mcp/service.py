"""The service behind the tools: one reranker, one library, the store of runs, and the limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rearank_agent.errors import BusyError, InputError, SetupError
from rearank_agent.intake.passages import as_passages
from rearank_agent.present.answer import RerankAnswer, SearchAnswer
from rearank_agent.present.explanation import Explanation, explain_part, find_passage
from rearank_agent.present.faults import Told, fault_line
from rearank_agent.present.reading import ReadAnswer, read_answer
from rearank_agent.present.threshold import check_min_score
from rearank_agent.present.truncate import check_budget, rerank_answer, search_answer
from rearank_agent.reranker import Reranker
from rearank_agent.search.find import Progress, find
from rearank_agent.search.read import read
from rearank_agent.store import Store
from rearank_agent.types import Fault, Passage, Ranking
from rearank_mcp.request_limits import check_lines, check_request

if TYPE_CHECKING:
    from rearank_agent.search.library import Library

__all__ = ["DEADLINE", "Service"]

DEADLINE = 50.0
"""Default seconds for a request: hosts commonly give up after 60."""

_MIN_SECONDS = 0.5  # in which something can still be ranked

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass
class Service:
    """Answers requests, each within its deadline.

    Attributes:
        reranker: ranks; its deadline, if it has one, holds for each request.
        roots: the folders and files that may be searched.
        runs: the store of rankings, by run, for `explain` and `read`.
        max_tokens: maximum of an answer, text and structured form together.
        by_meaning: whether the files are searched by vectors too, which are kept.
    """

    reranker: Reranker
    roots: Sequence[Path]
    runs: Store
    max_tokens: int = 4_000
    by_meaning: bool = True
    _library: Library | None = None
    _store_thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "runs"))

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
        """The passages in order; stored for `explain`.

        Args:
            blend: weight of the given order; 0 ignores it.
            spent: seconds of the deadline already used.

        Raises:
            InputError: nothing to rank, or more than is ranked in one request.
            BusyError: too many other requests were first.
        """
        passages = as_passages(passages)
        check_request(query, instruction, passages)
        title = f"ranking {len(passages)} passages"
        if progress:
            progress(title, 0, 0)
        ranking = await self.reranker.rerank(
            query,
            passages,
            instruction=instruction,
            blend=blend,
            deadline=max(_MIN_SECONDS, self.deadline - spent),
            progress=progress and partial(progress, f"{title}: turn"),
        )
        return await self._store_run(ranking)

    async def rerank(
        self,
        query: str,
        passages: Sequence[str],
        instruction: str,
        top_k: int,
        rationale: bool,
        progress: Progress | None = None,
        min_score: float | None = None,
    ) -> RerankAnswer:
        """The answer to an agent: the passages in order, by number.

        Raises:
            InputError: nothing to rank, or more than is ranked in one request.
            BusyError: too many other requests were first.
        """
        check_lines(top_k)
        check_min_score(self.reranker.policy, min_score)
        ranking = await self.rank(query, passages, instruction, progress)
        make = partial(rerank_answer, ranking, top_k, rationale, self.max_tokens, min_score)
        return await asyncio.to_thread(make)

    async def search(
        self,
        query: str,
        path: str,
        instruction: str,
        top_k: int,
        rationale: bool,
        progress: Progress | None = None,
        min_score: float | None = None,
        told: Told | None = None,
    ) -> SearchAnswer:
        """The parts of files that answer a query, in order.

        Args:
            told: what the session was told before; the run that is kept has all faults.

        Raises:
            InputError: an empty query, or a path outside the roots.
            BusyError: too many other requests were first, or the files are still being read.
        """
        check_lines(top_k)
        check_min_score(self.reranker.policy, min_score)
        check_request(query, instruction)
        if progress:
            progress("looking at the files", 0, 0)
        ranking = await find(
            self.reranker,
            self._get_library(),
            query,
            within=path.strip(),
            instruction=instruction,
            deadline=self.deadline,
            progress=progress,
        )
        ranking = await self._store_run(ranking)
        ranking = told.fresh(ranking) if told else ranking
        make = partial(search_answer, ranking, top_k, rationale, self.max_tokens, min_score)
        return await asyncio.to_thread(make)

    async def explain(self, run: str, passage: str, part: int) -> Explanation:
        """The explanation of an earlier run, or of one passage in it.

        Raises:
            InputError: the store has no such run, or the run no such passage or part.
            SetupError: the store cannot be read.
            BusyError: another process writes to it for long.
        """
        return await self._with_store(5.0, self._explain_part, run.strip(), passage.strip(), part)

    async def read(self, place: str, run: str, around: int, part: int) -> ReadAnswer:
        """The lines of a file that a place names, or those of a hit of an earlier run.

        Raises:
            InputError: nothing of that name is searched, or the store has no such run.
            SetupError: the store cannot be read.
            BusyError: the store, or the files, are in use for long.
        """
        place, run = place.strip(), run.strip()
        hit = await self._with_store(5.0, self._hit, run, place) if run else None
        reading = await read(self._get_library(), place, hit, self.deadline)
        return await asyncio.to_thread(read_answer, reading, around, part, self.max_tokens)

    def _explain_part(self, run: str, passage: str, part: int) -> Explanation:
        return explain_part(self._kept(run), passage, part, self.max_tokens)

    def _hit(self, run: str, place: str) -> Passage:
        return find_passage(self._kept(run), place).passage

    def _kept(self, run: str) -> Ranking:
        text = self.runs.get(run)
        if text is None:
            raise InputError(f"no run {run!r:.40} is kept (any more); rank again")
        return Ranking.from_json(text)

    def _get_library(self) -> Library:
        if not self.roots:
            raise InputError("no folder was named for search: start the server with --root FOLDER")
        if self._library is None:
            from rearank_agent.search.library import Library  # slow to import: 0.3 s

            self._library = Library(self.roots, by_meaning=self.by_meaning)
        return self._library

    async def _store_run(self, ranking: Ranking) -> Ranking:
        """Put the ranking into the store; a failure of the store is a fault, not an error.

        Clients may not show faults; the log does.

        Raises:
            BusyError: nothing was ranked, since other requests were always first.
        """
        if any(fault.kind == "busy" for fault in ranking.faults):
            raise BusyError("too many requests are being ranked; ask again in a moment")
        if ranking.partial:
            ended = (fault_line(f) for f in ranking.faults if f.kind in ("deadline", "failed"))
            _log.warning("run %s is partial: %s", ranking.run, "; ".join(ended))
        try:
            await self._with_store(1.0, lambda: self.runs.put(ranking.run, ranking.to_json()))
        except (SetupError, BusyError) as error:
            fault = Fault("unkept", (), f"explain and read will not find this run: {error}")
            return replace(ranking, faults=(*ranking.faults, fault))
        return ranking

    async def _with_store(self, seconds: float, work: Callable[..., T], *arguments: object) -> T:
        """Run the work on the store's thread; raises BusyError after these seconds."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await loop.run_in_executor(self._store_thread, work, *arguments)
        except TimeoutError:
            raise BusyError("the store of runs is in use; ask again in a moment") from None
