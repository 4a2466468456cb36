"""Measures of rationales: coverage, groundedness of quotes, agreement with the order.

The unit is a passage in a window, as in `Step`: reasoning is about one window, and another window
does not make up for what it omits. A passage judged in two windows counts twice, and counts are
pooled over all windows of all rankings (a micro average). A window without rationales, because the
policy gives none or its call failed, is left out.

A rationale's text is read clause by clause. A clause is about the passages it names, by
identifier or number, and without a name about those of the clause before it. Quotes are compared
by their `text.words`: without case, spaces, punctuation and brackets.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from rearank_agent.text import words
from rearank_agent.types import Passage, Ranking, Rationale, Reply, Step

__all__ = ["RationaleMeasures", "rationale_measures"]

_MIN_QUOTE = 3  # words of a quoted span; shorter ones are terms
_REACH = 5  # words in front of a level word that can qualify or negate it

_PLACEHOLDER = "\0"  # of a quoted span
_QUOTED = re.compile(
    r'(?<!\w)"(?! )[^"]*+(?<! )"(?!\w)|“[^“”]*+”|„[^„“”]*+[“”]|«[^«»]*+»|「[^「」]*+」'
)
_ELLIPSIS = re.compile(r"\.{3,}|…")
_NAME = r"(?:\[ ?[0-9]{1,6} ?\]|\b[Pp]assages? [0-9]{1,6}\b)"
_LIST = re.compile(rf"{_NAME}(?:,? ?(?:(?:and|or|&) )?{_NAME})*")
_NUMBER = re.compile("[0-9]+")
_CLAUSE_END = re.compile(
    rf"[.!?;](?= |$)|[。！？；]|(?<= )[-*•](?= )|\b(?:while|whereas|but)\b(?= {_NAME})"
)

_LEVEL_WORDS = {
    "irrelevant": 0, "unrelated": 0, "off-topic": 0, "off topic": 0, "related": 1,
    "relevant": 2, "pertinent": 2, "useful": 2, "helpful": 2, "answer": 2, "answers": 2,
}  # fmt: skip
"""The stated levels: 0 irrelevant, 1 partly relevant, 2 relevant, 3 highly relevant. English."""
_WEAK = frozenset(
    ("indirectly", "least", "less", "loosely", "marginally", "moderately", "only", "partial",
     "partially", "partly", "slightly", "somewhat", "tangentially")
)  # fmt: skip
_STRONG = frozenset(
    ("clearly", "completely", "direct", "directly", "entirely", "exact", "exactly", "extremely",
     "fully", "highly", "most", "particularly", "perfectly", "very")
)  # fmt: skip
_NOT = frozenset(
    ("cannot", "fails", "hardly", "lacks", "neither", "never", "no", "non", "nor", "not", "without")
)
_CONJUNCTIONS = frozenset(("although", "and", "because", "but", "so", "though", "which", "yet"))
_COMPARES = frozenset(("compared", "like", "than", "unlike", "versus", "vs"))
_TOKEN = re.compile(r"not (?:only|just|merely)\b|off[- ]topic\b|[a-z]+(?:'[a-z]+)?|[^\sa-z-]")


@dataclass(frozen=True, slots=True)
class RationaleMeasures:
    """Measures of a policy's rationales: shares from 0 to 1, None where there is nothing to count.

    Attributes:
        coverage: the share of passages that are mentioned: by words beside the passage's name, by
            a quote, or by query terms it has or lacks.
        groundedness: the share of quoted spans that are in the passage.
        agreement: the share of pairs of a window with different stated levels that the reply's
            order ranks correctly.
    """

    coverage: float | None
    groundedness: float | None
    agreement: float | None


def rationale_measures(rankings: Iterable[Ranking]) -> RationaleMeasures:
    """The measures over all windows of all rankings, which are read once, one after the other.

    The time is linear in the length of the rationales; a quoted span adds a search in its passage.
    """
    covered, grounded, agreed = Counter[bool](), Counter[bool](), Counter[bool]()
    for ranking in rankings:
        passages = {ranked.was - 1: ranked.passage for ranked in ranking.passages}
        question = f"{ranking.query} {ranking.instruction}"
        for step in ranking.steps:
            clauses = [tuple(_clauses(r.text, at)) for at, r in enumerate(step.reply.rationales)]
            covered.update(map(_is_covered, step.reply.rationales, clauses))
            grounded.update(_grounded(step, clauses, passages, question))
            agreed += _agreed(step.reply, clauses)
    return RationaleMeasures(_share(covered), _share(grounded), _share(agreed))


def _share(counted: Counter[bool]) -> float | None:
    return counted[True] / counted.total() if counted.total() else None


@dataclass(frozen=True, slots=True)
class _Clause:
    """A part of a rationale's text.

    Attributes:
        positions: in the window, of the passages it is about.
        shared: whether it applies to all of them: they are named in one list.
        text: in lower case, without names and quoted spans.
        quoted: the spans in quotation marks.
    """

    positions: frozenset[int]
    shared: bool
    text: str
    quoted: tuple[str, ...]


def _clauses(text: str, position: int) -> Iterator[_Clause]:
    """The clauses of the rationale of the passage at this position of its window."""
    text = " ".join(text.replace("**", "").replace(_PLACEHOLDER, " ").split())
    quotes = iter(_QUOTED.findall(text))
    positions, lists = frozenset({position}), 1
    for clause in _CLAUSE_END.split(_QUOTED.sub(_placeholder, text)):
        if named := _LIST.findall(clause):
            numbers = _NUMBER.findall(" ".join(named))
            positions, lists = frozenset(int(number) - 1 for number in numbers), len(named)
        rest = _LIST.sub(" ", clause).lower()
        compares = lists > 1 or not _COMPARES.isdisjoint(rest.split())
        quoted = tuple(next(quotes) for _ in range(clause.count(_PLACEHOLDER)))
        yield _Clause(positions, len(positions) == 1 or not compares, rest, quoted)


def _placeholder(quoted: re.Match[str]) -> str:
    """A full stop inside the quotation marks ends the clause outside them too."""
    return f"{_PLACEHOLDER}." if quoted[0][-2] in ".!?" else _PLACEHOLDER


def _is_covered(rationale: Rationale, clauses: Sequence[_Clause]) -> bool:
    if rationale.quotes or rationale.has or rationale.lacks:
        return True
    return any(clause.quoted or any(map(str.isalnum, clause.text)) for clause in clauses)


def _grounded(
    step: Step,
    clauses: Sequence[Sequence[_Clause]],
    passages: Mapping[int, Passage],
    question: str,
) -> Iterator[bool]:
    """For every quoted span of a window whether it is in the passage.

    Words of the query are not a quote. In a clause that names several passages it is unknown which
    one is quoted: any of them will do, and the span counts once.
    """
    window = [passages[position] for position in step.window]
    for passage, rationale in zip(window, step.reply.rationales, strict=False):
        for quote in rationale.quotes:
            inside = 0 <= quote.start < quote.end <= len(passage.text)
            yield inside and not passage.text[quote.start : quote.end].isspace()
    for positions, parts in _quoted_spans(clauses):
        if not _contains(question, parts):
            named = (window[at] for at in positions if 0 <= at < len(window))
            yield any(_contains(passage.content, parts) for passage in named)


def _quoted_spans(
    clauses: Sequence[Sequence[_Clause]],
) -> dict[tuple[frozenset[int], tuple[str, ...]], None]:
    """Positions of passages, and a span quoted from one of them; each once, in order."""
    return {
        (clause.positions, parts): None
        for at, of_passage in enumerate(clauses)
        for clause in of_passage
        if at in clause.positions
        for parts in map(_parts, clause.quoted)
        if sum(part.count(" ") - 1 for part in parts) >= _MIN_QUOTE
    }


def _parts(quoted: str) -> tuple[str, ...]:
    """The parts between the ellipses of a quoted span, each as `_phrase` returns it."""
    return tuple(phrase for part in _ELLIPSIS.split(quoted) if (phrase := _phrase(part)).strip())


def _phrase(text: str) -> str:
    """The words of a text with one space around each, so that only whole words match."""
    return f" {' '.join(words(_plain(text)))} "


_cached_phrase = lru_cache(maxsize=256)(_phrase)  # windows overlap; passages are quoted often


def _plain(text: str) -> str:
    return text.replace("’", "'")


def _contains(text: str, parts: Sequence[str]) -> bool:
    """Whether a text contains these phrases, one after the other."""
    phrase, end = _cached_phrase(text), 0
    for part in parts:
        if (start := phrase.find(part, end)) < 0:
            return False
        end = start + len(part) - 1
    return True


def _agreed(reply: Reply, clauses: Sequence[Sequence[_Clause]]) -> Counter[bool]:
    """How many pairs with different levels the reply's order ranks correctly, and how many not."""
    levels = {at: level for at, c in enumerate(clauses) if (level := _level(c, at)) is not None}
    pairs, above = Counter[bool](), Counter[int]()
    for at in reply.order:
        if at in levels:
            for level, passages in above.items():
                if level != levels[at]:
                    pairs[level > levels[at]] += passages
            above[levels[at]] += 1
    return pairs


def _level(clauses: Sequence[_Clause], at: int) -> int | None:
    """The level stated last: reasoning may revise its judgement of a passage."""
    clear = (clause for clause in clauses if clause.shared and at in clause.positions)
    stated = [level for clause in clear for level in _levels(clause.text)]
    return stated[-1] if stated else None


def _levels(text: str) -> Iterator[int]:
    """The levels stated in a clause: each level word, qualified by the words in front of it."""
    tokens = _TOKEN.findall(_plain(text))
    for at, token in enumerate(tokens):
        if (level := _LEVEL_WORDS.get(token)) is None:
            continue
        near = set(takewhile(_same_phrase, reversed(tokens[max(0, at - _REACH) : at])))
        strong = not near.isdisjoint(_STRONG)
        if any(word in _NOT or word.endswith("n't") for word in near):
            yield 1 if strong or not level else 0
        elif not near.isdisjoint(_WEAK):
            yield 1
        else:
            yield level + 1 if strong and level else level


def _same_phrase(token: str) -> bool:
    return token[0].isalpha() and token not in _CONJUNCTIONS
