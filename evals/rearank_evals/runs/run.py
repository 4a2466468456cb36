"""Rank every query of a collection, write one record per query, and resume after a crash."""

from __future__ import annotations

import asyncio
import platform
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from typing import Any

from rearank_agent.data.collection import Collection
from rearank_agent.data.first_stage import FirstStage
from rearank_agent.errors import PolicyError, RearankError
from rearank_agent.policies.cached import Cached
from rearank_agent.reranker import Reranker
from rearank_agent.types import Fault, Passage, Ranking
from rearank_evals.runs.run_folder import ReportEntry, RunFolder

__all__ = ["System", "Trial", "run"]

OnRecord = Callable[[Ranking, bool], None]
"""Called with every record, and whether it was there before this run."""

_MAX_FAILURES = 5  # queries in a row, or all, whose windows all failed: the policy is unavailable
_PACKAGES = (
    "rearank-agent", "onnxruntime", "tokenizers", "numpy", "bm25s", "PyStemmer", "pydantic-ai-slim",
)  # fmt: skip


@dataclass(frozen=True)
class System:
    """A policy with its schedule and blend.

    Attributes:
        name: the policy's name as given: "embedded", "vllm:NAME".
        reranker: the policy with its schedule.
        blend: the weight of the first stage's rank, 0 or more.
    """

    name: str
    reranker: Reranker
    blend: float


@dataclass(frozen=True)
class Trial:
    """One system on one collection.

    Attributes:
        entry: its names in the report, and its folder.
        shuffle: 0 for candidates in the first stage's order, else the number of the shuffle.
    """

    system: System
    collection: Collection
    first_stage: FirstStage
    entry: ReportEntry
    shuffle: int = 0

    @property
    def saved(self) -> RunFolder:
        """The folder of its records."""
        return self.entry.saved.shuffle(self.shuffle) if self.shuffle else self.entry.saved

    @property
    def manifest(self) -> dict[str, Any]:
        """All that the records depend on; template and sampling are in the policy's fingerprint."""
        reranker, queries = self.system.reranker, "\n".join(self.collection.queries)
        packages = dict(_installed(_PACKAGES))
        return {
            "version": 1,
            "collection": {
                "hash": self.collection.hash,
                "queries": len(self.collection.queries),
                "queries hash": sha256(queries.encode()).hexdigest(),
                "instruction": self.collection.instruction,
            },
            "first stage": {
                "name": self.first_stage.name,
                "hash": self.first_stage.hash,
                "depth": self.first_stage.depth,
                "shuffle": self.shuffle,
            },
            "system": {
                "policy": reranker.policy.fingerprint,
                "schedule": reranker.plan(self.first_stage.depth).name,
                "blend": self.system.blend,
                "deadline": reranker.deadline,
                "kept replies": isinstance(reranker.policy, Cached),
            },
            "versions": {"python": ".".join(platform.python_version_tuple()[:2]), **packages},
        }

    def candidates(self, query: str) -> list[Passage]:
        """The passages of a query, in the order in which they are reranked."""
        ids = list(self.first_stage.lists.get(query, ()))
        if self.shuffle:
            random.Random(f"{self.shuffle} {query}").shuffle(ids)  # noqa: S311
        return [self.collection.corpus[name] for name in ids]

    async def ranking(self, query: str) -> Ranking:
        """The ranking of a query; its `run` is the query's id."""
        text, reranker = self.collection.queries[query], self.system.reranker
        instruction = self.collection.instruction
        candidates = self.candidates(query)
        if not candidates:
            faults = (Fault("nothing", (), "the first stage has no candidates"),)
            policy = reranker.policy.fingerprint
            return Ranking(query, text, instruction, policy, "", (), faults=faults)
        ranking = await reranker.rerank(
            text, candidates, instruction=instruction, blend=self.system.blend
        )
        return replace(ranking, run=query)


async def run(trial: Trial, at_once: int, on_record: OnRecord) -> list[str]:
    """Rank every query that has no record yet, or whose record has a failed window.

    Args:
        trial: what is run, and the folder of its records.
        at_once: queries in flight at the same time.
        on_record: called with every record, and whether it was there before.

    Returns:
        Notes on what was repaired.

    Raises:
        InputError: the folder holds a run of something else, or a damaged record.
        SetupError: a record cannot be written.
        PolicyError: the policy failed on five queries in a row. All records stay.
    """
    with trial.saved.locked():
        trial.saved.write_manifest(trial.manifest | {"at once": at_once})
        truncated = trial.saved.repair()
        orders = _finished(trial, on_record)
        try:
            await _rank_remaining(trial, orders, at_once, on_record)
        finally:
            await _close(trial.system.reranker.policy)
        run_ = {query: orders[query] for query in trial.collection.queries}
        trial.saved.save_run(run_, trial.system.name)
    return ["the last record was incomplete; its query was ranked again"] if truncated else []


def _finished(trial: Trial, on_record: OnRecord) -> dict[str, tuple[str, ...]]:
    """The orders of the records without a failed window."""
    orders = {}
    for ranking in trial.saved.rankings():
        if not _has_failure(ranking):
            orders[ranking.run] = ranking.ids
            on_record(ranking, True)
    return orders


async def _rank_remaining(
    trial: Trial, orders: dict[str, tuple[str, ...]], at_once: int, on_record: OnRecord
) -> None:
    """Rank the queries that have no order yet."""
    queries = [query for query in trial.collection.queries if query not in orders]
    remaining, failures = deque(enumerate(queries)), [False] * len(queries)
    done, limit = len(orders), min(_MAX_FAILURES, len(trial.collection.queries))

    async def work() -> None:
        nonlocal done
        while remaining:
            position, query = remaining.popleft()
            ranking = await trial.ranking(query)
            trial.saved.append(ranking)
            orders[query] = ranking.ids
            on_record(ranking, False)
            done += not _has_failure(ranking)
            failures[position] = _all_failed(ranking)
            if _failures_in_a_row(failures, position) >= limit:
                raise PolicyError(_unavailable(trial, ranking, limit, done))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())
    except* RearankError as errors:
        raise _first_error(errors) from None


def _failures_in_a_row(failures: Sequence[bool], position: int) -> int:
    """The length of the run of failures that includes this position, 0 for none.

    Positions in the collection, not in time: failures return faster than answers, so a few of
    them would look like a row while other queries are still in flight.
    """
    after = sum(1 for _ in takewhile(bool, failures[position:]))
    before = sum(1 for _ in takewhile(bool, reversed(failures[:position])))
    return before + after if after else 0


def _installed(packages: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Those of the packages that are installed, with their versions."""
    for package in packages:
        with suppress(PackageNotFoundError):
            yield package, version(package)


async def _close(policy: Any) -> None:
    """Close the connections of a model, also of one inside other policies."""
    while inner := getattr(policy, "policy", None):
        policy = inner
    if chat := getattr(policy, "chat", None):
        await chat.close()


def _has_failure(ranking: Ranking) -> bool:
    """Whether a window of it failed."""
    return any(fault.kind == "failed" for fault in ranking.faults)


def _all_failed(ranking: Ranking) -> bool:
    """Whether every window of it failed."""
    steps = ranking.steps
    return bool(steps) and all(any(f.kind == "failed" for f in s.reply.faults) for s in steps)


def _unavailable(trial: Trial, ranking: Ranking, failures: int, done: int) -> str:
    reason = next(fault.detail for fault in ranking.faults if fault.kind == "failed")
    return (
        f"{trial.system.name} failed on {failures} queries in a row ({reason}); {done} of "
        f"{len(trial.collection.queries)} are done; the same command resumes from there"
    )


def _first_error(errors: BaseExceptionGroup[RearankError]) -> RearankError:
    error = errors.exceptions[0]
    return _first_error(error) if isinstance(error, BaseExceptionGroup) else error
