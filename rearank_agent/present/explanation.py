"""An earlier run in full: the model's reasoning, the windows, the evidence, the faults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rearank_agent.errors import InputError
from rearank_agent.policies.blend import policy_scores
from rearank_agent.policies.votes import voted
from rearank_agent.present.answer import estimate_tokens
from rearank_agent.text import one_line, printable, shorten
from rearank_agent.types import Fault, Ranked, Ranking, Step, Usage

__all__ = ["Explanation", "explain_part", "explain_text", "find_passage"]

_TOP = 10
_MAX_LINE = 200  # characters
_GOES_ON = "… "


@dataclass(frozen=True, slots=True)
class Explanation:
    """One part of the explanation of a run.

    Attributes:
        run: the id of the run.
        part: from 1.
        parts: how many there are.
        text: for a person or a model.
    """

    run: str
    part: int
    parts: int
    text: str


def explain_text(ranking: Ranking, passage: str) -> str:
    """Everything recorded of a run, or of a passage in it; a model's reasoning is behind `> `.

    Args:
        passage: its id (its number in the list that was given), place or rank; "" for the whole
            run.

    Raises:
        InputError: no such passage.
    """
    lines = _of_passage(ranking, find_passage(ranking, passage)) if passage else _of_run(ranking)
    return "\n".join(map(one_line, lines))


def explain_part(ranking: Ranking, passage: str, part: int, max_tokens: int) -> Explanation:
    """One part of the text of `explain_text`.

    Args:
        passage: as for `explain_text`.
        part: from 1; a text that is too long for the budget has several.
        max_tokens: of a part, for its text and its structured form together.

    Raises:
        InputError: no such passage, or no such part.
    """
    room = max_tokens - _size("", ranking.run) - estimate_tokens(_next(99, 99))
    pieces = _split(explain_text(ranking, passage), room)
    if not 1 <= part <= len(pieces):
        raise InputError(f"there is no part {part}: parts go from 1 to {len(pieces)}")
    text = pieces[part - 1]
    if part < len(pieces):
        text += _next(part, len(pieces))
    return Explanation(ranking.run, part, len(pieces), text)


def _next(part: int, parts: int) -> str:
    return f"\n(part {part} of {parts}; ask explain again with part={part + 1})"


def _size(text: str, run: str) -> int:
    structured = json.dumps(asdict(Explanation(run, 99, 99, text)), ensure_ascii=False)
    return estimate_tokens(text) + estimate_tokens(structured)


def _split(text: str, max_tokens: int) -> list[str]:
    """The text in pieces within the budget, split at line ends where possible.

    A line that is split goes on behind `… `: what is in it must not pass for a line.
    """
    pieces = []
    while text:
        low, high = 1, min(len(text), 3 * max_tokens)
        while low < high:
            middle = (low + high + 1) // 2
            fits = _size(text[:middle], "") <= max_tokens
            low, high = (middle, high) if fits else (low, middle - 1)
        line = text.rfind("\n", low // 2, low) + 1
        start = line if line and low < len(text) else low
        pieces.append(text[:start].rstrip("\n"))
        split = start < len(text) and text[start - 1] != "\n"
        text = f"{_GOES_ON if split else ''}{text[start:]}"
    return pieces


def find_passage(ranking: Ranking, passage: str) -> Ranked:
    """The passage with this id, place or rank; a number is a rank first after a search.

    Raises:
        InputError: there is none.
    """
    for one in ranking.passages:
        if passage in (one.id, str(one.rank) if one.passage.place else ""):
            return one
    for one in ranking.passages:
        if passage in (one.passage.place, str(one.rank)):
            return one
    known = shorten(", ".join(one.id for one in ranking.passages), _MAX_LINE)
    raise InputError(f"no passage {passage!r:.60} in this run; there are {known}")


def _of_run(ranking: Ranking) -> Iterator[str]:
    usage = ranking.usage
    yield f"query: {printable(ranking.query)}"
    if ranking.instruction:
        yield f"instruction: {printable(ranking.instruction)}"
    yield f"policy: {ranking.policy}; schedule: {ranking.schedule or 'none'}"
    spent = usage.prompt_tokens + usage.thought_tokens + usage.answer_tokens
    yield (
        f"cost: turns {usage.turns}, calls {usage.calls}, from the cache {usage.hits}, "
        f"tokens {spent:,}, {usage.seconds:.2f} s{'; partial' if ranking.partial else ''}"
    )
    yield from _judges(ranking)
    yield from map(_fault, ranking.faults)
    yield f"best first, {min(_TOP, len(ranking.passages))} of {len(ranking.passages)}:"
    yield from map(_line, ranking.passages[:_TOP])
    for number, step in enumerate(ranking.steps, 1):
        yield from _window(ranking, step, number)


def _of_passage(ranking: Ranking, ranked: Ranked) -> Iterator[str]:
    n = len(ranking.passages)
    yield f"{_name(ranked)}: rank {ranked.rank} of {n}, was {ranked.was}"
    own = "none of its own" if ranked.relevance is None else f"{ranked.relevance:.4f} of 1"
    order = "" if ranked.relevance == ranked.score else f"; in the order {ranked.score:.4f}"
    yield f"score {own}{order}, {_score_source(ranking, ranked)}"
    if ranked.confidence is not None:
        yield f"confidence {ranked.confidence:.2f}"
    if why := ranked.rationale:
        if why.text:
            yield f"reason: {printable(why.text)}"
        for quote in why.quotes:
            yield f"evidence: “{printable(ranked.text[quote.start : quote.end])}”"
        if why.has:
            yield f"has: {', '.join(why.has)}"
        if why.lacks:
            yield f"lacks: {', '.join(why.lacks)}"
    yield from (_fault(fault) for fault in ranking.faults if ranked.id in fault.ids)
    position = ranked.was - 1
    for number, step in enumerate(ranking.steps, 1):
        if position in step.window:
            yield from _window(ranking, step, number, position)


def _score_source(ranking: Ranking, ranked: Ranked) -> str:
    """What a score was computed from."""
    if not ranked.scored:
        return "not of its own" if ranking.judges else "from its rank alone"
    if not ranking.blend:
        return "from the policy"
    scores = policy_scores(ranking.steps, len(ranking.passages))
    own = f"score {scores[ranked.was - 1]:.4f}" if scores else "order"
    given = f"the {ranking.blend_by} as given"
    return f"of the policy's {own} and, with weight {ranking.blend:g}, {given}"


def _judges(ranking: Ranking) -> Iterator[str]:
    """What each of several policies ranked, and what it cost."""
    for number, name in enumerate(ranking.judges):
        steps = [step for step in ranking.steps if step.judge == number]
        ranked = {position for step in steps for position in step.window}
        used = sum((step.reply.usage for step in steps), Usage())
        tokens = used.prompt_tokens + used.thought_tokens + used.answer_tokens
        cost = f"calls {used.calls}, from the cache {used.hits}, tokens {tokens:,}"
        yield f"policy {number + 1}, {printable(name)}: ranked {len(ranked)} passages; {cost}"


def _line(ranked: Ranked) -> str:
    """A passage in the list of the best."""
    parts = [ranked.passage.title, f"“{ranked.evidence}”" if ranked.evidence else ""]
    about = shorten(": ".join(filter(None, parts)), _MAX_LINE)
    name = f"{ranked.rank}. {_name(ranked)}, was {ranked.was}"
    return f"{name}: {about}" if about else name


def _window(
    ranking: Ranking, step: Step, number: int, position: int | None = None
) -> Iterator[str]:
    """A window and its reply; with a position, where that passage moved in it."""
    names = {one.was - 1: _name(one) for one in ranking.passages}
    size = len(step.window)
    by = f" by {printable(ranking.judges[step.judge])}" if ranking.judges else ""
    head = f"window {number}{by} (turn {step.turn}, {size} passages, {step.seconds:.2f} s)"
    if position is not None:
        local = step.window.index(position)
        head += f": from place {local + 1} to {step.reply.order.index(local) + 1}"
    yield head
    if step.reply.reasoning:
        shown = (f"[{local}] is {names[at]}" for local, at in enumerate(step.window, 1))
        unknown = "each vote has its own order, and so its own numbers"
        yield f"in the reasoning below, {unknown if voted(ranking) else ', '.join(shown)}"
        yield from (f"> {line}".rstrip() for line in step.reply.reasoning.splitlines())
    elif position is None and 1 < size < len(names):
        order = [names[step.window[local]] for local in step.reply.order]
        yield f"order: {', '.join(order[:_TOP])}{', ...' if size > _TOP else ''}"
    yield from map(_fault, step.reply.faults)


def _fault(fault: Fault) -> str:
    ids = f" [{', '.join(fault.ids)}]" if fault.ids else ""
    return f"note: {fault.kind}: {printable(fault.detail)}{ids}"


def _name(ranked: Ranked) -> str:
    return ranked.id if ranked.passage.place else f"passage {ranked.id}"
