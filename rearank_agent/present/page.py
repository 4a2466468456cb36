"""A ranking as one page of HTML that needs nothing else: no script, no font, no network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from rearank_agent import __version__
from rearank_agent.policies.votes import voted
from rearank_agent.present.bump_chart import TOP, WIDTH, bump_chart
from rearank_agent.present.excerpt import Segment, excerpt, fair_share, html_bytes
from rearank_agent.present.markup import load_template
from rearank_agent.present.replay import replay
from rearank_agent.text import shorten
from rearank_agent.types import Fault, Quote, Ranked, Ranking, Step

__all__ = ["html_page"]

# Bytes of a page of up to a hundred passages; more passages have more, up to four times as much.
_TEXTS = 190_000
_WORDS = 40_000
_THOUGHTS = 80_000
_MOST_TIMES = 4
_UNFOLDED = 20  # passages that stand open; of more the top alone
_MEMBERS = 100  # of a window, with their names
_NAME = 60
_IDS = 6  # of a fault
_TERMS = 12
_MENTION = re.compile(r"(\[\d{1,4}\])")

_HOW = {
    "whole": "all passages in one window",
    "sliding": "one window after the other, from the tail of the list to its head",
    "tournament": "groups at once; the better half of each goes on, until one group is left",
    "topdown": "the head gives a yardstick; what beats it elsewhere meets the head again",
    "groups": "all windows at once, then one order by score",
    "batches": "one window a turn, then one order by score",
}


@dataclass(frozen=True, slots=True)
class Word:
    """A stretch of what a judge said; where it names a passage by its number, that one's rank."""

    text: str
    rank: int | None = None
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Card:
    """A passage as it is shown.

    Attributes:
        name: in so few words that it fits beside a line.
        text: the passage's, cut at its quotes.
        words: the judge's about it.
        spoken: the number of the window in which they fell; 0 where there are none.
        url: whether its place is an address to follow.
        unfolded: whether it stands open.
        faults: those that name it.
        seen: the windows it was in: their number, its place there before and after, from 1.
    """

    ranked: Ranked
    name: str
    text: list[Segment]
    words: list[Word]
    spoken: int
    url: bool
    unfolded: bool
    faults: list[Fault]
    seen: list[tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Member:
    """A passage in a window: its final rank, its number there, its score if it has one."""

    rank: int
    number: int
    score: float | None


@dataclass(frozen=True, slots=True)
class Window:
    """A window as it is shown: its number over all turns, who was in it, best first."""

    number: int
    step: Step
    members: list[Member]
    thought: list[Word]


def html_page(ranking: Ranking) -> str:
    """The whole document: the order, the reasons for it, and how it came about."""
    told = replay(ranking)
    cards, windows = _cards(ranking), _windows(ranking)
    return _template()(
        ranking=ranking,
        how=_HOW.get(ranking.schedule.split(":")[0], ""),
        told=told,
        chart=bump_chart(told) if len(cards) > 1 else None,
        cards=cards,
        windows=windows,
        cuts=_cuts(cards, windows),
        rank_of={ranked.id: ranked.rank for ranked in ranking.passages},
        scored=all(ranked.scored for ranked in ranking.passages),
        limits={"top": TOP, "width": WIDTH, "members": _MEMBERS, "ids": _IDS, "terms": _TERMS},
        version=__version__,
    )


@cache
def _template() -> Callable[..., str]:
    return load_template(
        "rearank_agent.present", "page.html.j2", {"count": "{:,}".format, "score": _score}
    )


def _score(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100_000 else f"{value:.3g}"


def _cards(ranking: Ranking) -> list[Card]:
    ranked = ranking.passages
    said = [one.rationale.text if one.rationale else "" for one in ranked]
    most = fair_share((html_bytes(one.text) for one in ranked), _budget(_TEXTS, ranking))
    most_words = fair_share(map(html_bytes, said), _budget(_WORDS, ranking))
    seen, numbers, faults = _seen(ranking.steps), _numbers(ranking), _faults(ranking)
    spoke = {at: number for number, step in enumerate(ranking.steps, 1)
             if step.reply.rationales for at in step.window}  # fmt: skip
    return [
        Card(
            ranked=one,
            name=shorten(one.passage.title or one.passage.place or one.text, _NAME) or one.id,
            text=excerpt(one.text, one.rationale.quotes if one.rationale else (), most),
            words=_linked(excerpt(about, most=most_words), numbers[spoke.get(one.was - 1, 0) - 1]),
            spoken=spoke.get(one.was - 1, 0),
            url=_is_url(one.passage.place),
            unfolded=one.rank <= TOP or len(ranked) <= _UNFOLDED,
            faults=faults.get(one.id, []),
            seen=seen.get(one.was - 1, []),
        )
        for one, about in zip(ranked, said, strict=True)
    ]


def _faults(ranking: Ranking) -> dict[str, list[Fault]]:
    """The faults of every passage that has some."""
    named: dict[str, list[Fault]] = {}
    for fault in ranking.faults:
        for one in fault.ids:
            named.setdefault(one, []).append(fault)
    return named


def _seen(steps: Sequence[Step]) -> dict[int, list[tuple[int, int, int]]]:
    """The windows of every position."""
    seen: dict[int, list[tuple[int, int, int]]] = {}
    for number, step in enumerate(steps, 1):
        for after, local in enumerate(step.reply.order, 1):
            seen.setdefault(step.window[local], []).append((number, local + 1, after))
    return seen


def _numbers(ranking: Ranking) -> list[tuple[int, ...]]:
    """For each window the final ranks of those whom the judge called [1], [2], ...; then nobody.

    Votes see a window in other orders than it is recorded in: whom their numbers mean is unknown.
    """
    rank = {ranked.was - 1: ranked.rank for ranked in ranking.passages}
    known = not voted(ranking)
    return [*(tuple(rank[at] for at in step.window if known) for step in ranking.steps), ()]


def _windows(ranking: Ranking) -> list[Window]:
    rank = {ranked.was - 1: ranked.rank for ranked in ranking.passages}
    weights = [html_bytes(step.reply.reasoning) for step in ranking.steps]
    most = fair_share(weights, _budget(_THOUGHTS, ranking))
    return [
        Window(
            number=number,
            step=step,
            members=list(_members(step, rank)),
            thought=_linked(_thought(step.reply.reasoning, most), named),
        )
        for number, (step, named) in enumerate(
            zip(ranking.steps, _numbers(ranking), strict=False), 1
        )
    ]


def _members(step: Step, rank: Mapping[int, int]) -> Iterator[Member]:
    scores = step.reply.scores
    for local in step.reply.order:
        yield Member(rank[step.window[local]], local + 1, scores[local] if scores else None)


def _thought(text: str, most: int) -> list[Segment]:
    """A thought; of one that is too long its end, where it comes to a conclusion, and its head."""
    end = (Quote(len(text) - most // 3, len(text)),) if html_bytes(text) > most else ()
    return excerpt(text, end, most)


def _linked(pieces: Iterable[Segment], named: Sequence[int]) -> list[Word]:
    """The pieces with each passage known where it is first named."""
    words: list[Word] = []
    linked: set[int] = set()
    for piece in pieces:
        if piece.left_out:
            words.append(Word("", left_out=piece.left_out))
        for part in filter(None, _MENTION.split(piece.text)):
            number = int(part[1:-1]) if _MENTION.fullmatch(part) else 0
            first = 1 <= number <= len(named) and number not in linked
            linked.add(number)
            words.append(Word(part, named[number - 1] if first else None))
    return words


def _budget(of: int, ranking: Ranking) -> int:
    return int(of * min(max(1.0, len(ranking.passages) / 100), _MOST_TIMES))


def _cuts(cards: Sequence[Card], windows: Sequence[Window]) -> list[tuple[str, int, int]]:
    """What is not on the page: of what, of how many of them, and how many characters."""
    every: dict[str, Sequence[Sequence[Segment | Word]]] = {
        "passages' texts": [card.text for card in cards],
        "words about passages": [card.words for card in cards],
        "thoughts": [window.thought for window in windows],
    }
    gaps = {what: [sum(p.left_out for p in one) for one in said] for what, said in every.items()}
    return [(what, sum(map(bool, cut)), sum(cut)) for what, cut in gaps.items() if any(cut)]


def _is_url(place: str) -> bool:
    """Whether a browser may follow a place."""
    try:
        parts = urlsplit(place)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and place.isprintable()
