"""The options of `eval`: which systems are measured, on which queries and candidates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rearank_agent.cli.complete import policies, schedules
from rearank_agent.cli.policy_options import MODELS, PolicyOptions
from rearank_agent.errors import InputError

if TYPE_CHECKING:
    from rearank_agent.data.collection import Collection
    from rearank_agent.data.first_stage import FirstStage
    from rearank_agent.policies.protocol import Policy
    from rearank_evals.runs.run import System

__all__ = ["FIRST", "CollectionOptions", "SystemOptions"]

FIRST = "first-stage"


@dataclass(frozen=True)
class SystemOptions(PolicyOptions):
    """Which policies are measured, and how they are asked."""

    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="Who judges; may be given several times: embedded, embedded:FOLDER, "
            "lexical, vllm:NAME, openai:NAME, ...  [REARANK_POLICY, else embedded]; "
            "first-stage is always measured.",
            autocompletion=policies,
            show_default=False,
        ),
    ] = None
    schedule: Annotated[
        str,
        typer.Option(
            help="Who is shown together.  \\[sliding:20:10 for models that order, in proportion "
            "for those with another window, else as auto]",
            autocompletion=schedules,
            show_default=False,
        ),
    ] = ""
    deadline: Annotated[
        float | None,
        typer.Option(help="Seconds a query may take.  \\[no limit]", show_default=False),
    ] = None
    cache: Annotated[
        bool,
        typer.Option(
            "--cache/--no-cache",
            help="Use kept replies: they cost nothing, so costs are no longer comparable.",
            rich_help_panel=MODELS,
        ),
    ] = False

    def judge(self, name: str) -> Policy:
        """The policy of a name; what concerns models is not told the others beside them."""
        from rearank_agent.policies.registry import policy

        beside = any(":" in other for other in self.policy or ())
        return policy(name) if beside and ":" not in name else super().judge(name)

    def systems(self, blend: float | None, baseline: str) -> list[System]:
        """The systems that are measured, the first stage before all.

        Raises:
            InputError: a policy is named twice, or the baseline is none of them.
        """
        from rearank_agent.policies.registry import policy
        from rearank_agent.reranker import Reranker
        from rearank_agent.settings import settings
        from rearank_evals.runs.run import System

        if blend is not None and not blend < inf:
            raise InputError(f"the blend must be a number, 0 or more: {blend}")
        names = self.policy or [settings().policy]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"the policy {twice[0]} is named twice")
        if baseline not in (known := dict.fromkeys([FIRST, *names])):
            raise InputError(f"the baseline must be one of the systems: {', '.join(known)}")
        systems = [System(FIRST, Reranker(policy(FIRST)), 0.0)]
        for name in [name for name in names if name != FIRST]:
            judge = self.judge(name)
            schedule = self.schedule or _usual(judge)
            reranker = Reranker(judge, schedule=schedule, deadline=self.deadline)
            systems.append(System(name, reranker, judge.blend if blend is None else blend))
        return systems


def _usual(judge: Policy) -> str:
    """The paper's schedule for a policy that orders: its windows, a half of one further each."""
    if judge.scores or judge.window is None:
        return "auto"
    from rearank_agent.schedules import half_sliding

    return half_sliding(judge.window).name


@dataclass(frozen=True)
class CollectionOptions:
    """Which queries are ranked, and which candidates they have."""

    depth: Annotated[int, typer.Option(min=1, help="Candidates of a query.")] = 100
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many queries.", show_default=False)
    ] = None
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Only the queries whose ids stand here, one a line.",
            show_default=False,
        ),
    ] = None
    first_stage: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A TREC run to rerank.  \\[the collection's own, else BM25]",
            show_default=False,
        ),
    ] = None
    bm25: Annotated[
        str | None,
        typer.Option(
            metavar="LANGUAGE",
            help="Make the first stage by BM25 in this language: english, german, ..., none.",
            show_default=False,
        ),
    ] = None

    def collections(self, names: list[str]) -> Iterator[tuple[Collection, FirstStage]]:
        """The collections of these names with the queries that are wanted, and their candidates."""
        from rearank_agent.cli.output import progress_bar
        from rearank_agent.data.first_stage import first_stage
        from rearank_agent.data.load import load_collections, select_queries

        if self.first_stage and self.bm25:
            raise InputError("the first stage is a TREC run or BM25's, not both")
        with progress_bar("reading the collections"):
            found = load_collections(names)
        if self.first_stage and len(found) > 1:
            raise InputError("a TREC run is of one collection; name one")
        wanted = self._wanted() if self.queries else None
        for one in [select_queries(one, self.limit, wanted) for one in found]:
            with progress_bar(f"the first stage of {one.name}"):
                first = first_stage(one, self.depth, run=self.first_stage, language=self.bm25)
            yield one, first

    def _wanted(self) -> list[str]:
        from rearank_agent.data.trec import read_text

        assert self.queries  # noqa: S101
        lines = read_text(self.queries).split("\n")
        return [line.split("\t")[0].strip() for line in lines if line.strip()]
