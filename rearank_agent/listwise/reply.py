"""Which replies of a language model are accepted, and the order or scores in them.

Training, serving and evaluation all read replies here, so that what is rewarded is what is served
and what is measured (REARANK, arXiv 2505.20046, section 3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rearank_agent.listwise.answer_format import BEST_SCORE, TAG, Format
from rearank_agent.text import sentences
from rearank_agent.types import Fault, Rationale

__all__ = ["ParsedReply", "parse_reply"]

_IDENTIFIER = re.compile(r"\[\s*([0-9]+)\s*\]")
_SCORED = re.compile(r"\[\s*([0-9]+)\s*\]\s*[:=]?\s*([0-9]+(?:\.[0-9]+)?)")
_CHAIN: dict[Format, re.Pattern[str]] = {
    "order": re.compile(r"\s*(?:\[\s*[0-9]+\s*\]\s*+[>,]?\s*+)+"),
    "scores": re.compile(
        r"\s*(?:\[\s*[0-9]+\s*\]\s*+[:=]?\s*+[0-9]++(?:\.[0-9]++)?\s*+[,;]?\s*+)+"
    ),
}
_MENTION = re.compile(r"\[\s*([0-9]{1,6})\s*\]|\b[Pp]assages? ([0-9]{1,6})\b")
_NO_RATIONALE = Rationale()


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

    The answer is the last complete `<answer>` outside the reasoning or, where there are no tags
    at all, a bare chain of identifiers that is the whole reply. Reasoning without an end is no
    answer. Only bracketed identifiers count.

    Args:
        text: the reply, unchanged.
        n: the number of passages in the window.
        form: the format asked for.
        ids: the passages' own ids, to name them in faults.
    """
    reasoning, answer = _split(text, form)
    rationales = _rationales(reasoning, n)
    items = _SCORED.findall(answer) if form == "scores" else _IDENTIFIER.findall(answer)
    found: dict[int, float] = {}
    foreign: list[str] = []
    repeated: list[int] = []
    for item in items:
        number, score = item if isinstance(item, tuple) else (item, "0")
        position = int(number) - 1 if len(number) <= 6 else -1
        if not 0 <= position < n or float(score[:9]) > BEST_SCORE:
            foreign.append(f"[{number:.9}]")
        elif position in found:
            repeated.append(position)
        else:
            found[position] = float(score)
    missing = [position for position in range(n) if position not in found]
    if not found and n:
        detail = "no answer could be read; the window keeps its order"
        unreadable = Fault("unreadable", tuple(ids), detail)
        return ParsedReply(tuple(range(n)), None, False, reasoning, rationales, (unreadable,))

    faults = tuple(_repairs(missing, repeated, foreign, ids))
    if form == "order":
        return ParsedReply((*found, *missing), None, True, reasoning, rationales, faults)
    scores = tuple(found.get(position, 0.0) for position in range(n))
    order = sorted(range(n), key=lambda position: (position not in found, -scores[position]))
    return ParsedReply(tuple(order), scores, True, reasoning, rationales, faults)


def _split(text: str, form: Format) -> tuple[str, str]:
    """Reasoning and answer; an empty answer where none can be trusted."""
    tags = [(t[1] + t[2].lower(), t.start(), t.end()) for t in TAG.finditer(text)]
    if not tags:
        return "", text if _CHAIN[form].fullmatch(text) else ""
    closed = next((tag for tag in reversed(tags) if tag[0] == "/think"), None)
    reasoning, start = (text[: closed[1]], closed[2]) if closed else ("", 0)
    unclosed = next((tag for tag in tags if tag[0] == "think" and tag[1] >= start), None)
    end = unclosed[1] if unclosed else len(text)
    if unclosed:
        reasoning += text[unclosed[2] :]
    opened, answer = -1, ""
    for name, at, after in tags:
        if start <= at < end:
            if name == "answer":
                opened = after
            elif name == "/answer" and opened >= 0:
                opened, answer = -1, text[opened:at]
    return TAG.sub("", reasoning).strip(), answer


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
        yield Fault("foreign", (), f"{len(foreign)} not of this window or scale: {listed}")


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
