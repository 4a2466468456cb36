"""Demonstrations: replies to imitate before reinforcement, in another policy's order or by grade.

The reasoning names the evidence in every passage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from random import Random

from rearank_agent.errors import InputError
from rearank_agent.listwise import write_reply
from rearank_agent.listwise.prompt import shown_text
from rearank_agent.listwise.template import Template
from rearank_agent.policies.protocol import Policy
from rearank_agent.reranker import run_sync
from rearank_agent.types import Passage, Ranking, Rationale, Reply, Step, Task, Window
from rearank_training.lm.prompts import Example

__all__ = ["JUDGEMENTS", "Demonstration", "policy_demonstrations", "record_demonstrations"]

JUDGEMENTS = "judgements"
"""The teacher that orders by grade; its evidence is that of the lexical policy."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """The query and passages of a prompt, and the reply to learn."""

    example: Example
    reply: str


def policy_demonstrations(
    rows: Iterable[Example],
    policy: Policy,
    quotes: bool,
    seed: int = 0,
    *,
    think: bool = True,
    cut: int | None = None,
    template: Template | None = None,
    by_grade: bool = False,
) -> Iterator[Demonstration]:
    """The orders that a policy without a language model gives for rows, written as replies.

    The passages are shuffled: a policy that agrees with the first stage would teach to keep it.

    Args:
        rows: windows, in first-stage order.
        policy: the teacher.
        quotes: whether the reasoning quotes the evidence, not just the query's words in it.
        seed: of the shuffle.
        think: whether the replies have reasoning.
        cut: the characters of a passage that a prompt shows: the teacher reads no more, so that
            no reasoning quotes what is not there; None for all.
        template: of that prompt.
        by_grade: whether the order is by grade, and the policy orders equal grades alone.
    """
    for row in rows:
        order = list(range(len(row.passages)))
        Random(f"{seed} {row.name}").shuffle(order)  # noqa: S311 - reproducible, not secret
        passages = tuple(row.passages[position] for position in order)
        grades = tuple(row.grades[position] for position in order)
        read = passages if cut is None else tuple(_as_shown(one, cut, template) for one in passages)
        task = Task(row.name, row.query, row.instruction, read)
        reply = run_sync(policy.judge(task, tuple(range(len(passages)))))
        if by_grade:
            best = tuple(sorted(reply.order, key=lambda position: -max(grades[position], 0)))
            reply = replace(reply, order=best, scores=None)
        shuffled = replace(row, passages=passages, grades=grades)
        yield Demonstration(shuffled, _reply_text(reply, read, quotes, think))


def _as_shown(passage: Passage, cut: int, template: Template | None) -> Passage:
    """A passage as a prompt shows it: all as text where that is not its title and text whole."""
    shown = shown_text(passage, cut, template)
    whole = shown == passage.content.strip()
    return passage if whole else replace(passage, title="", text=shown)


def record_demonstrations(
    path: Path, window: int, quotes: bool, seed: int = 0, *, think: bool = True
) -> Iterator[Demonstration]:
    """The replies of a policy in a run of `eval`, where nothing was repaired.

    A record's window of more than `window` passages is split with a stride. Passages are shuffled
    as for `policy_demonstrations`, unless the reply has a reasoning of its own: it names numbers.

    Args:
        path: of records.jsonl.
        window: the most passages of a demonstration.
        quotes: whether the reasoning quotes the evidence, where the policy gave none.
        seed: of the shuffle.
        think: whether the replies have reasoning.

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
                shown = step if think else replace(step, reply=replace(step.reply, reasoning=""))
                for example, reply in _step_parts(ranking, candidates, shown, window, seed):
                    text = _reply_text(reply, example.passages, quotes, think)
                    yield Demonstration(example, text)


def _step_parts(
    ranking: Ranking, candidates: Sequence[Passage], step: Step, window: int, seed: int
) -> Iterator[tuple[Example, Reply]]:
    parts = ceil(len(step.window) / window)
    for part in range(parts):
        positions = list(range(len(step.window)))[part::parts]
        name = f"{ranking.run}/{step.turn}/{part}"
        if not step.reply.reasoning:
            Random(f"{seed} {name}").shuffle(positions)  # noqa: S311 - reproducible, not secret
        passages = tuple(candidates[step.window[position]] for position in positions)
        if len(passages) > 1:
            example = Example(name, ranking.query, ranking.instruction, passages)
            yield example, _restrict(step.reply, tuple(positions))


def _restrict(reply: Reply, positions: Window) -> Reply:
    """A reply about some of its passages, or another order; a reasoning needs them as they were."""
    if positions == tuple(range(len(reply.order))):
        return reply
    new = {position: number for number, position in enumerate(positions)}
    order = tuple(new[position] for position in reply.order if position in new)
    rationales = tuple(reply.rationales[p] for p in positions) if reply.rationales else ()
    return replace(reply, order=order, scores=None, rationales=rationales, reasoning="")


def _reply_text(reply: Reply, passages: Sequence[Passage], quotes: bool, think: bool) -> str:
    if not think:
        return write_reply(reply.order)
    reasoning = reply.reasoning or _reasoning(reply.rationales, passages, quotes)
    return write_reply(reply.order, reasoning)


def _reasoning(rationales: Sequence[Rationale], passages: Sequence[Passage], quotes: bool) -> str:
    """A line for every passage: its evidence, and which of the query's words it has."""
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
