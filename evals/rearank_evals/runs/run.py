"""Every query of a collection through a reranker, a record each, and on again after a crash."""

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

Watch = Callable[[Ranking, bool], None]
HOPELESS = 5  # queries in a row, or all, of which nothing came: the judge is gone
_PACKAGES = (
    "rearank-agent", "onnxruntime", "tokenizers", "numpy", "bm25s", "PyStemmer", "pydantic-ai-slim",
)  # fmt: skip


@dataclass(frozen=True)
class System:
    """A policy with a schedule and a blend.

    Attributes:
        name: the policy as it was asked for: "embedded", "vllm:NAME".
        reranker: the policy and who it is shown.
        blend: the weight of the first stage's rank.
    """

    name: str
    reranker: Reranker
    blend: float


@dataclass(frozen=True)
class Trial:
    """One system on one collection.

    Attributes:
        entry: as the report names it, and where it is kept.
        shuffle: 0 for candidates as the first stage has them, else the number of the shuffle.
    """

    system: System
    collection: Collection
    first: FirstStage
    entry: ReportEntry
    shuffle: int = 0

    @property
    def saved(self) -> RunFolder:
        """Where its records are kept."""
        return self.entry.saved.shuffle(self.shuffle) if self.shuffle else self.entry.saved

    @property
    def manifest(self) -> dict[str, Any]:
        """All that the records depend on. Words and sampling stand in the policy's fingerprint."""
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
                "name": self.first.name,
                "hash": self.first.hash,
                "depth": self.first.depth,
                "shuffle": self.shuffle,
            },
            "system": {
                "policy": reranker.policy.fingerprint,
                "schedule": reranker.plan(self.first.depth).name,
                "blend": self.system.blend,
                "deadline": reranker.deadline,
                "kept replies": isinstance(reranker.policy, Cached),
            },
            "versions": {"python": ".".join(platform.python_version_tuple()[:2]), **packages},
        }

    def candidates(self, query: str) -> list[Passage]:
        """The passages of a query, in the order in which they are given."""
        ids = list(self.first.lists.get(query, ()))
        if self.shuffle:
            random.Random(f"{self.shuffle} {query}").shuffle(ids)  # noqa: S311
        return [self.collection.corpus[name] for name in ids]

    async def ranking(self, query: str) -> Ranking:
        """The ranking of a query; its `run` is the query's id."""
        text, reranker = self.collection.queries[query], self.system.reranker
        instruction = self.collection.instruction
        candidates = self.candidates(query)
        if not candidates:
            nothing = (Fault("nothing", (), "the first stage has no candidates"),)
            policy = reranker.policy.fingerprint
            return Ranking(query, text, instruction, policy, "", (), faults=nothing)
        ranking = await reranker.rerank(
            text, candidates, instruction=instruction, blend=self.system.blend
        )
        return replace(ranking, run=query)


async def run(trial: Trial, at_once: int, watch: Watch) -> list[str]:
    """Rank every query that has no record yet, or whose record says that it failed.

    Args:
        trial: what is run, and where its records are kept.
        at_once: queries on their way at the same time.
        watch: told of every record, and whether it was there before.

    Returns:
        What was mended, for a person.

    Raises:
        InputError: the folder holds a run of something else, or a damaged record.
        SetupError: a record cannot be written.
        PolicyError: the judge failed on five queries in a row. All records stay.
    """
    trial.saved.claim(trial.manifest | {"at once": at_once})
    with trial.saved.alone():
        cut = trial.saved.mend()
        orders = _kept(trial, watch)
        try:
            await _ask(trial, orders, at_once, watch)
        finally:
            await _close(trial.system.reranker.policy)
        run_ = {query: orders[query] for query in trial.collection.queries}
        trial.saved.save_run(run_, trial.system.name)
    return ["the last record was cut off; its query is asked again"] if cut else []


def _kept(trial: Trial, watch: Watch) -> dict[str, tuple[str, ...]]:
    """The orders of the records that need not be made again."""
    orders = {}
    for ranking in trial.saved.rankings():
        if not failed(ranking):
            orders[ranking.run] = ranking.ids
            watch(ranking, True)
    return orders


async def _ask(
    trial: Trial, orders: dict[str, tuple[str, ...]], at_once: int, watch: Watch
) -> None:
    """Rank the queries that have no order yet."""
    queries = [query for query in trial.collection.queries if query not in orders]
    todo, barren = deque(enumerate(queries)), [False] * len(queries)
    good, most = len(orders), min(HOPELESS, len(trial.collection.queries))

    async def work() -> None:
        nonlocal good
        while todo:
            place, query = todo.popleft()
            ranking = await trial.ranking(query)
            trial.saved.append(ranking)
            orders[query] = ranking.ids
            watch(ranking, False)
            good += not failed(ranking)
            barren[place] = _fruitless(ranking)
            if _in_a_row(barren, place) >= most:
                raise PolicyError(_gone(trial, ranking, most, good))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())
    except* RearankError as errors:
        raise _first(errors) from None


def _in_a_row(barren: Sequence[bool], place: int) -> int:
    """How many neighbours are barren, this one among them.

    Neighbours in the collection: a judge that fails at once would else seem to fail in a row
    while others are still at work.
    """
    after = sum(1 for _ in takewhile(bool, barren[place:]))
    before = sum(1 for _ in takewhile(bool, reversed(barren[:place])))
    return before + after if after else 0


def _installed(packages: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Those of the packages that are installed, with their versions."""
    for package in packages:
        with suppress(PackageNotFoundError):
            yield package, version(package)


async def _close(policy: Any) -> None:
    """Close the connections of a model, also of one that others wrap."""
    while inner := getattr(policy, "policy", None):
        policy = inner
    if chat := getattr(policy, "chat", None):
        await chat.close()


def failed(ranking: Ranking) -> bool:
    """Whether a window of it failed."""
    return any(fault.kind == "failed" for fault in ranking.faults)


def _fruitless(ranking: Ranking) -> bool:
    """Whether every window of it failed."""
    steps = ranking.steps
    return bool(steps) and all(any(f.kind == "failed" for f in s.reply.faults) for s in steps)


def _gone(trial: Trial, ranking: Ranking, row: int, good: int) -> str:
    why = next(fault.detail for fault in ranking.faults if fault.kind == "failed")
    return (
        f"{trial.system.name} failed on {row} queries in a row ({why}); {good} of "
        f"{len(trial.collection.queries)} are done, and the same command goes on from there"
    )


def _first(errors: BaseExceptionGroup[RearankError]) -> RearankError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
