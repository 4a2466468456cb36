"""Which replies of a language model are accepted, and the order or scores in them.

Training, serving and evaluation all read replies here, so that what is rewarded is what is served
and what is measured (REARANK, arXiv 2505.20046, section 3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rearank_agent.listwise.answer_format import BEST_SCORE, TAG, Format
from rearank_agent.listwise.chains import complete_chains, is_chain, is_set_apart, other_names
from rearank_agent.listwise.scores import find_scores, scale_of
from rearank_agent.text import sentences
from rearank_agent.types import Fault, Rationale

__all__ = ["ParsedReply", "parse_reply"]

_IDENTIFIER = re.compile(r"\[\s*([0-9]+)\s*\]")
# A reply that is nothing but its answer; repaired like one in its tags.
_BARE: dict[Format, re.Pattern[str]] = {
    "order": re.compile(r"\s*(?:\[\s*[0-9]+\s*\]\s*+[>,]?\s*+)+"),
    "scores": re.compile(
        r"\s*(?:\[\s*[0-9]+\s*\]\s*+[:=]?\s*+[0-9]++(?:\.[0-9]++)?\s*+[,;]?\s*+)+"
    ),
}
_MENTION = re.compile(r"\[\s*([0-9]{1,6})\s*\]|\b[Pp]assages? ([0-9]{1,6})\b")
_NO_RATIONALE = Rationale()
_FORM = Fault("form", (), "the answer was in another form than asked for")


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """The parsed reply to a window of n passages.

    Attributes:
        order: always a permutation of `range(n)`; unchanged if the reply is not readable.
        scores: n numbers from 0 to 10 when scores were asked for and read; else None.
        readable: whether there was an answer at all.
        reasoning: the text in front of the answer, without its tags.
        rationales: n; the reasoning's sentences about each passage.
        faults: what was repaired.
    """

    order: tuple[int, ...]
    scores: tuple[float, ...] | None
    readable: bool
    reasoning: str
    rationales: tuple[Rationale, ...]
    faults: tuple[Fault, ...]


def parse_reply(text: str, n: int, form: Format = "order", ids: Sequence[str] = ()) -> ParsedReply:
    """Parse a reply; any string gives a permutation.

    The answer is the last complete `<answer>` outside the reasoning. Without one it is the only
    complete chain of identifiers there, whatever is around it, with the fault `form`. Reasoning
    without an end is no answer, and digits in prose never are.

    Args:
        text: the reply, unchanged.
        n: the number of passages in the window.
        form: the format asked for.
        ids: the passages' own ids, to name them in faults.
    """
    reasoning, answer, rest = _split(text)
    if answer is None and rest == text and _is_bare(text, n, form):
        answer = text
    parse = _parse_scores if form == "scores" else _parse_order
    parsed = parse(answer, rest, n, ids) if n else ((), () if form == "scores" else None, ())
    rationales = _rationales(reasoning, n)
    if parsed is None:
        detail = "no answer could be read; the window keeps its order"
        unreadable = Fault("unreadable", tuple(ids), detail)
        return ParsedReply(tuple(range(n)), None, False, reasoning, rationales, (unreadable,))
    order, scores, faults = parsed
    return ParsedReply(order, scores, True, reasoning, rationales, faults)


def _is_bare(text: str, n: int, form: Format) -> bool:
    """Whether a reply without tags is nothing but one answer."""
    several = len({one.order for one in complete_chains(text, n)}) > 1
    return bool(_BARE[form].fullmatch(text)) and not several


def _split(text: str) -> tuple[str, str | None, str]:
    """Reasoning; the answer in its tags, None without one; and all that is not reasoning."""
    tags = [
        (t[1] + t[2].lower().removesuffix("ing"), t.start(), t.end()) for t in TAG.finditer(text)
    ]
    closed = next((tag for tag in reversed(tags) if tag[0] == "/think"), None)
    reasoning, start = (text[: closed[1]], closed[2]) if closed else ("", 0)
    unclosed = next((tag for tag in tags if tag[0] == "think" and tag[1] >= start), None)
    end = unclosed[1] if unclosed else len(text)
    if unclosed:
        reasoning += text[unclosed[2] :]
    opened, answer = -1, None
    for name, at, after in tags:
        if start <= at < end:
            if name == "answer":
                opened = after
            elif name == "/answer" and opened >= 0:
                opened, answer = -1, text[opened:at]
    rest = "" if unclosed else TAG.sub("\n", text[start:end])
    return TAG.sub("", reasoning).strip(), answer, rest


def _tag_name(tag: re.Match[str]) -> str:
    return tag[1] + tag[2].lower().removesuffix("ing")


_Parsed = tuple[tuple[int, ...], tuple[float, ...] | None, tuple[Fault, ...]]


def _parse_order(answer: str | None, rest: str, n: int, ids: Sequence[str]) -> _Parsed | None:
    chains = complete_chains(rest if answer is None else answer, n)
    if answer is None:
        apart = any(is_set_apart(rest, one.start, one.end) for one in chains)
        alike = len({one.order for one in chains}) == 1
        return (chains[0].order, None, (_FORM,)) if n > 1 and apart and alike else None
    found, faults = _repaired([int(one[:7]) for one in _IDENTIFIER.findall(answer)], n, ids)
    order = (*found, *(position for position in range(n) if position not in found))
    if chains and chains[-1].order != order:
        return chains[-1].order, None, (_FORM,)
    if found:
        return order, None, faults
    other = other_names(answer, n)
    return (other, None, (_FORM,)) if other else None


def _parse_scores(answer: str | None, rest: str, n: int, ids: Sequence[str]) -> _Parsed | None:
    scored = find_scores(rest if answer is None else answer)
    repairs: list[Fault] = []
    if answer is None:
        apart = n > 1 and is_chain(rest, scored, n)
        if not apart or not is_set_apart(rest, scored[0].start, scored[-1].end):
            return None
        repairs.append(_FORM)
    if (top := scale_of(scored)) is None:
        return None
    if top != BEST_SCORE:
        detail = f"scores of 0 to {top:g} were rescaled to 0 to {BEST_SCORE:g}"
        repairs.append(Fault("form", (), detail))
    found, faults = _repaired([one.number for one in scored], n, ids)
    if not found:
        return None
    by_position: dict[int, float] = {}
    for one in scored:
        by_position.setdefault(one.number - 1, one.score * BEST_SCORE / top)
    scores = tuple(by_position.get(position, 0.0) for position in range(n))
    order = sorted(range(n), key=lambda position: (position not in found, -scores[position]))
    return tuple(order), scores, (*repairs, *faults)


def _repaired(
    numbers: Iterable[int], n: int, ids: Sequence[str]
) -> tuple[dict[int, None], tuple[Fault, ...]]:
    """The positions named, in order and once each; and what had to be repaired."""
    found: dict[int, None] = {}
    foreign: list[str] = []
    repeated: list[int] = []
    for number in numbers:
        if not 1 <= number <= n:
            foreign.append(f"[{number}]")
        elif number - 1 in found:
            repeated.append(number - 1)
        else:
            found[number - 1] = None
    missing = [position for position in range(n) if position not in found]
    return found, tuple(_repairs(missing, repeated, foreign, ids))


def _repairs(
    missing: list[int], repeated: list[int], foreign: list[str], ids: Sequence[str]
) -> Iterable[Fault]:
    def named(positions: Iterable[int]) -> tuple[str, ...]:
        return tuple(ids[position] for position in dict.fromkeys(positions)) if ids else ()

    if missing:
        yield Fault("missing", named(missing), f"{len(missing)} left out; put last in their order")
    if repeated:
        yield Fault("repeated", named(repeated), f"{len(repeated)} repeats; the first one counts")
    if foreign:
        listed = ", ".join(foreign[:9])
        yield Fault("foreign", (), f"{len(foreign)} not of this window: {listed}")


def _rationales(reasoning: str, n: int) -> tuple[Rationale, ...]:
    """The sentences that name at most three passages, each with those that follow on its line."""
    about: dict[int, list[str]] = {}
    current: list[int] = []
    last_end = 0
    for span in sentences(reasoning):
        sentence = reasoning[span.start : span.end]
        numbers = {int(a or b) - 1 for a, b in _MENTION.findall(sentence)}
        same_line = "\n" not in reasoning[last_end : span.start]
        last_end = span.end
        if numbers:
            current = sorted(numbers) if len(numbers) <= 3 else []
        elif not same_line or len(current) != 1:
            current = []
        for position in current:
            about.setdefault(position, []).append(sentence)
    rationales = {position: Rationale(" ".join(texts)) for position, texts in about.items()}
    return tuple(rationales.get(position, _NO_RATIONALE) for position in range(n))
