"""How far a judge's reasons can be trusted: measures of what it said about the passages.

What is counted is a passage in a window, as in `Step`: a thought is about one window, and what
it leaves out there no other window mends. A passage judged in two windows counts twice, and
counts are pooled over all windows of all rankings (a micro average). A window without rationales,
because the policy gives none or its call failed, is left out.

A rationale's text is read clause by clause. A clause is about the passages it names, by
identifier or number, and without a name about those of the clause before it. Quotes are compared
by their `evidence.words`: without case, spaces, punctuation and brackets.
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

_SHORTEST = 3  # words of a span that claims to be a quote; shorter ones are terms
_REACH = 5  # words in front of a judging word that can grade or turn it

_GAP = "\0"  # stands where a quoted span stood
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

_JUDGING = {
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
_TURN = frozenset(("although", "and", "because", "but", "so", "though", "which", "yet"))
_COMPARES = frozenset(("compared", "like", "than", "unlike", "versus", "vs"))
_TOKEN = re.compile(r"not (?:only|just|merely)\b|off[- ]topic\b|[a-z]+(?:'[a-z]+)?|[^\sa-z-]")


@dataclass(frozen=True, slots=True)
class RationaleMeasures:
    """What a policy's reasons come to: shares from 0 to 1, or None where nothing can be said.

    Attributes:
        coverage: of the passages, how many are spoken of: by words beside the passage's name, by
            a quote, or by the query's terms it has or lacks.
        groundedness: of the quoted spans, how many stand in the passage.
        agreement: of the pairs of a window with different stated levels, how many the reply's
            order puts right.
    """

    coverage: float | None
    groundedness: float | None
    agreement: float | None


def rationale_measures(rankings: Iterable[Ranking]) -> RationaleMeasures:
    """The measures over all windows of all rankings, which are read once, one after the other.

    The time is linear in what was said, and a quoted span adds that of a search in its passage.
    """
    spoken, grounded, agreed = Counter[bool](), Counter[bool](), Counter[bool]()
    for ranking in rankings:
        passages = {ranked.was - 1: ranked.passage for ranked in ranking.passages}
        asked = f"{ranking.query} {ranking.instruction}"
        for step in ranking.steps:
            said = [tuple(_clauses(r.text, at)) for at, r in enumerate(step.reply.rationales)]
            spoken.update(map(_speaks, step.reply.rationales, said))
            grounded.update(_grounded(step, said, passages, asked))
            agreed += _agreed(step.reply, said)
    return RationaleMeasures(_share(spoken), _share(grounded), _share(agreed))


def _share(counted: Counter[bool]) -> float | None:
    return counted[True] / counted.total() if counted.total() else None


@dataclass(frozen=True, slots=True)
class _Clause:
    """A part of a rationale's text.

    Attributes:
        about: positions in the window.
        shared: whether what it says holds for all of them: they are named in one list.
        words: what it says, without names and quoted spans.
        quoted: the spans in quotation marks.
    """

    about: frozenset[int]
    shared: bool
    words: str
    quoted: tuple[str, ...]


def _clauses(text: str, position: int) -> Iterator[_Clause]:
    """The clauses of the rationale of the passage at this position of its window."""
    text = " ".join(text.replace("**", "").replace(_GAP, " ").split())
    quotes = iter(_QUOTED.findall(text))
    about, lists = frozenset({position}), 1
    for clause in _CLAUSE_END.split(_QUOTED.sub(_gap, text)):
        if named := _LIST.findall(clause):
            numbers = _NUMBER.findall(" ".join(named))
            about, lists = frozenset(int(number) - 1 for number in numbers), len(named)
        rest = _LIST.sub(" ", clause).lower()
        compares = lists > 1 or not _COMPARES.isdisjoint(rest.split())
        quoted = tuple(next(quotes) for _ in range(clause.count(_GAP)))
        yield _Clause(about, len(about) == 1 or not compares, rest, quoted)


def _gap(quoted: re.Match[str]) -> str:
    """A full stop inside the quotation marks ends the clause outside them too."""
    return f"{_GAP}." if quoted[0][-2] in ".!?" else _GAP


def _speaks(rationale: Rationale, said: Sequence[_Clause]) -> bool:
    if rationale.quotes or rationale.has or rationale.lacks:
        return True
    return any(clause.quoted or any(map(str.isalnum, clause.words)) for clause in said)


def _grounded(
    step: Step, said: Sequence[Sequence[_Clause]], passages: Mapping[int, Passage], asked: str
) -> Iterator[bool]:
    """For every quoted span of a window whether it stands in the passage.

    The query's own words are no quote. In a clause that names several passages nobody can tell
    whose words are quoted: each will do, and the span counts once.
    """
    window = [passages[position] for position in step.window]
    for passage, rationale in zip(window, step.reply.rationales, strict=False):
        for quote in rationale.quotes:
            inside = 0 <= quote.start < quote.end <= len(passage.text)
            yield inside and not passage.text[quote.start : quote.end].isspace()
    for about, parts in _claims(said):
        if not _stand(parts, asked):
            named = (window[at] for at in about if 0 <= at < len(window))
            yield any(_stand(parts, passage.content) for passage in named)


def _claims(
    said: Sequence[Sequence[_Clause]],
) -> dict[tuple[frozenset[int], tuple[str, ...]], None]:
    """Which passages, and what is said to stand in one of them; each once, in order."""
    return {
        (clause.about, parts): None
        for at, clauses in enumerate(said)
        for clause in clauses
        if at in clause.about
        for parts in map(_parts, clause.quoted)
        if sum(part.count(" ") - 1 for part in parts) >= _SHORTEST
    }


def _parts(quoted: str) -> tuple[str, ...]:
    """What stands between the ellipses of a quoted span, each as `_phrase` gives it."""
    return tuple(phrase for part in _ELLIPSIS.split(quoted) if (phrase := _phrase(part)).strip())


def _phrase(text: str) -> str:
    """The words of a text with one space around each: what stands in it as words is found."""
    return f" {' '.join(words(_plain(text)))} "


_known = lru_cache(maxsize=256)(_phrase)  # windows overlap, and a passage is quoted more than once


def _plain(text: str) -> str:
    return text.replace("’", "'")


def _stand(parts: Sequence[str], text: str) -> bool:
    """Whether a text holds these phrases, one after the other."""
    known, end = _known(text), 0
    for part in parts:
        if (start := known.find(part, end)) < 0:
            return False
        end = start + len(part) - 1
    return True


def _agreed(reply: Reply, said: Sequence[Sequence[_Clause]]) -> Counter[bool]:
    """How many pairs with different levels stand right in the reply's order, and how many not."""
    levels = {at: level for at, s in enumerate(said) if (level := _level(s, at)) is not None}
    pairs, above = Counter[bool](), Counter[int]()
    for at in reply.order:
        if at in levels:
            for level, passages in above.items():
                if level != levels[at]:
                    pairs[level > levels[at]] += passages
            above[levels[at]] += 1
    return pairs


def _level(said: Sequence[_Clause], at: int) -> int | None:
    """The level stated last: a thought may come to think better of a passage, or worse."""
    clear = (clause for clause in said if clause.shared and at in clause.about)
    stated = [level for clause in clear for level in _levels(clause.words)]
    return stated[-1] if stated else None


def _levels(said: str) -> Iterator[int]:
    """The levels stated in a clause: each judging word, as the words in front of it grade it."""
    tokens = _TOKEN.findall(_plain(said))
    for at, token in enumerate(tokens):
        if (level := _JUDGING.get(token)) is None:
            continue
        near = set(takewhile(_goes_on, reversed(tokens[max(0, at - _REACH) : at])))
        strong = not near.isdisjoint(_STRONG)
        if any(word in _NOT or word.endswith("n't") for word in near):
            yield 1 if strong or not level else 0
        elif not near.isdisjoint(_WEAK):
            yield 1
        else:
            yield level + 1 if strong and level else level


def _goes_on(token: str) -> bool:
    return token[0].isalpha() and token not in _TURN
