"""Replies to imitate before reinforcement: what another policy said, or would have said.

The thought names what stands in every passage, the order is the other policy's. Nothing here
looks at grades: what counts is for reinforcement to find out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from random import Random

from rearank_agent.errors import InputError
from rearank_agent.listwise import write_reply
from rearank_agent.policies.protocol import Policy
from rearank_agent.reranker import run_sync
from rearank_agent.types import Passage, Ranking, Rationale, Reply, Step, Task, Window
from rearank_training.lm.prompts import Example

__all__ = ["Demonstration", "of_policy", "of_rankings", "thought"]


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What is shown, and the reply that is learned."""

    shown: Example
    reply: str


def of_policy(
    rows: Iterable[Example], policy: Policy, quotes: bool, seed: int = 0
) -> Iterator[Demonstration]:
    """What a policy that judges without words makes of rows.

    The passages are shuffled: one that agrees with the first stage would teach to change nothing.

    Args:
        quotes: whether the thought quotes the evidence, not just the query's words in it.
        seed: of the order they are shown in.
    """
    for row in rows:
        order = list(range(len(row.passages)))
        Random(f"{seed} {row.name}").shuffle(order)  # noqa: S311 - to be drawn again
        passages = tuple(row.passages[position] for position in order)
        grades = tuple(row.grades[position] for position in order)
        task = Task(row.name, row.query, row.instruction, passages)
        reply = run_sync(policy.judge(task, tuple(range(len(passages)))))
        mixed = replace(row, passages=passages, grades=grades)
        yield Demonstration(mixed, _said(reply, passages, quotes))


def of_rankings(path: Path, window: int, quotes: bool) -> Iterator[Demonstration]:
    """What a policy said of the windows of a run that `eval` kept, where nothing was mended.

    A larger window than ours is several: every so many-th passage of it.

    Args:
        path: of records.jsonl.

    Raises:
        InputError: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        try:
            ranking = Ranking.from_json(line)
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        candidates = [r.passage for r in sorted(ranking.passages, key=lambda r: r.was)]
        for step in ranking.steps:
            if not step.reply.faults:
                yield from _lessons(ranking, candidates, step, window, quotes)


def _lessons(
    ranking: Ranking, candidates: Sequence[Passage], step: Step, window: int, quotes: bool
) -> Iterator[Demonstration]:
    parts = ceil(len(step.window) / window)
    for part in range(parts):
        places = tuple(range(len(step.window)))[part::parts]
        passages = tuple(candidates[step.window[place]] for place in places)
        name = f"{ranking.run}/{step.turn}/{part}"
        shown = Example(name, ranking.query, ranking.instruction, passages)
        if len(passages) > 1:
            yield Demonstration(shown, _said(_part(step.reply, places), passages, quotes))


def _part(reply: Reply, places: Window) -> Reply:
    """What a reply says of some of its passages; its own words only if of all."""
    if len(places) == len(reply.order):
        return reply
    known = {place: number for number, place in enumerate(places)}
    order = tuple(known[place] for place in reply.order if place in known)
    rationales = tuple(reply.rationales[place] for place in places) if reply.rationales else ()
    return replace(reply, order=order, scores=None, rationales=rationales, reasoning="")


def _said(reply: Reply, passages: Sequence[Passage], quotes: bool) -> str:
    own = reply.reasoning or thought(reply.rationales, passages, quotes)
    return write_reply(reply.order, own)


def thought(rationales: Sequence[Rationale], passages: Sequence[Passage], quotes: bool) -> str:
    """A line on every passage: its evidence, and which of the query's words it has."""
    pairs = zip(rationales, passages, strict=False)
    lines = (_line(why, passage, quotes) for why, passage in pairs)
    return "\n".join(f"[{number}] {line}" for number, line in enumerate(lines, 1))


def _line(why: Rationale, passage: Passage, quotes: bool) -> str:
    if why.text:
        return " ".join(why.text.split())
    has = f"has {' '.join(why.has)}." if why.has else "has nothing of the query."
    if not quotes or not why.quotes:
        return has
    quoted = " ".join(passage.text[why.quotes[0].start : why.quotes[0].end].split())
    return f'"{quoted}" {has}'
