"""The options of `eval`: systems, queries and candidates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rearank_agent.cli.complete import policies, schedules
from rearank_agent.cli.console import print_note, progress_bar
from rearank_agent.cli.list_options import ListOptions
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
    """The options of the policies that are measured."""

    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="A policy; repeatable: embedded, embedded:FOLDER, "
            "lexical, cross-encoder:NAME, rerank:NAME, vllm:NAME, openai:NAME, ...  "
            "[REARANK_POLICY, else embedded]; "
            "first-stage is always measured.",
            autocompletion=policies,
            show_default=False,
        ),
    ] = None
    schedule: Annotated[
        str,
        typer.Option(
            help="How passages are grouped into windows.  \\[sliding:20:10 for models that "
            "order, in proportion for those with another window, else as auto]",
            autocompletion=schedules,
            show_default=False,
        ),
    ] = ""
    deadline: Annotated[
        float | None,
        typer.Option(help="Time limit of a query in seconds.  \\[none]", show_default=False),
    ] = None
    cache: Annotated[
        bool,
        typer.Option(
            "--cache/--no-cache",
            help="Use cached replies: they cost nothing, so costs are no longer comparable.",
            rich_help_panel=MODELS,
        ),
    ] = False

    def make_policy(self, name: str) -> Policy:
        """The policy of a name; beside others, local ones have neither cache nor votes."""
        from rearank_agent.policies.registry import is_local, policy

        if is_local(name) and not all(map(is_local, self.policy or [name])):
            return policy(name)
        return super().make_policy(name)

    def _options_of(self, name: str) -> dict[str, Any]:
        """An option is for the policies that take it; if none does, all refuse it."""
        from rearank_agent.policies.registry import takes_option

        names = self.policy or [name]
        return {
            option: value
            for option, value in super()._options_of(name).items()
            if takes_option(name, option) or not any(takes_option(one, option) for one in names)
        }

    def systems(self, blend: float | None, baseline: str) -> list[System]:
        """The systems that are measured; the first is the first stage itself.

        Raises:
            InputError: a policy is named twice, or the baseline is none of the systems.
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
            one = self.make_policy(name)
            schedule = self.schedule or _default_schedule(one)
            reranker = Reranker(one, schedule=schedule, deadline=self.deadline)
            systems.append(System(name, reranker, one.blend if blend is None else blend))
        return systems


def _default_schedule(policy: Policy) -> str:
    """For a policy that orders the paper's: windows of its size, a stride of half of it."""
    if policy.scores or policy.window is None:
        return "auto"
    from rearank_agent.schedules import half_sliding

    return half_sliding(policy.window).name


@dataclass(frozen=True)
class CollectionOptions(ListOptions):
    """The options of queries and candidates."""

    depth: Annotated[int, typer.Option(min=1, help="Candidates per query.")] = 100
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only the first N queries.", show_default=False),
    ] = None
    bm25: Annotated[
        str | None,
        typer.Option(
            metavar="LANGUAGE",
            help="Use BM25 as the first stage, in a language: english, german, ..., none.",
            show_default=False,
        ),
    ] = None

    def collections(self, names: list[str]) -> Iterator[tuple[Collection, FirstStage]]:
        """The named collections with the selected queries, and their first-stage lists."""
        from rearank_agent.data.first_stage import first_stage, run_of_each
        from rearank_agent.data.load import load_collections, read_query_ids, select_queries

        if self.first_stage and self.bm25:
            raise InputError("give --first-stage or --bm25, not both")
        with progress_bar("reading the collections"):
            found = load_collections(names)
        runs = run_of_each(found, self.first_stage or [])
        wanted = read_query_ids(self.queries) if self.queries else None
        chosen = [select_queries(one, self.limit, wanted) for one in found]
        for one, run in zip(chosen, runs, strict=True):
            with progress_bar(f"the first stage of {one.name}"):
                first = first_stage(one, self.depth, run=run, language=self.bm25, warn=print_note)
            yield one, first
