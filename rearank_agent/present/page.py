"""A ranking as one self-contained HTML page: no script, no font, no network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
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

# Bytes for up to a hundred passages; more passages have more, up to _MAX_FACTOR times as much.
_TEXTS = 190_000
_RATIONALES = 40_000
_REASONING = 80_000
_MAX_FACTOR = 4
_MAX_OPEN = 20  # passages that are all shown open; of more only the top
_MAX_LISTED = 100  # passages listed for a window
_MAX_NAME = 60  # characters
_MAX_IDS, _MAX_TERMS = 6, 12  # of a fault; of a rationale
_MENTION = re.compile(r"(\[\d{1,4}\])")

_SCHEDULES = {
    "whole": "all passages in one window",
    "sliding": "one window after the other, from the tail of the list to its head",
    "tournament": "groups at once; the better half of each goes on, until one group is left",
    "topdown": "the head gives a pivot; what beats it elsewhere is ranked with the head again",
    "groups": "all windows at once, then one order by score",
    "batches": "one window a turn, then one order by score",
}


@dataclass(frozen=True, slots=True)
class LinkedSpan:
    """A span of a rationale or of reasoning; where it names a passage by number, its rank."""

    text: str
    rank: int | None = None
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Card:
    """A passage as shown on the page.

    Attributes:
        name: short enough to fit beside a line of the chart.
        text: the passage's text, split at its quotes.
        rationale: the policy's text about it.
        rationale_window: the number of the window it is from; 0 where there is none.
        is_url: whether its place is a web address.
        is_open: whether it is shown open.
        faults: those that name it.
        windows: those it was in: number, and its rank there before and after, from 1.
    """

    ranked: Ranked
    name: str
    text: list[Segment]
    rationale: list[LinkedSpan]
    rationale_window: int
    is_url: bool
    is_open: bool
    faults: list[Fault]
    windows: list[tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class WindowPassage:
    """A passage in a window: its final rank, its number there, its score if it has one."""

    rank: int
    number: int
    score: float | None


@dataclass(frozen=True, slots=True)
class WindowView:
    """A window as shown on the page: its number over all turns, its passages best first."""

    number: int
    step: Step
    passages: list[WindowPassage]
    reasoning: list[LinkedSpan]


def html_page(ranking: Ranking) -> str:
    """The HTML document: the order, the reasons for it, and the orders of the turns."""
    history = replay(ranking)
    cards, windows = _cards(ranking), _windows(ranking)
    limits = {"top": TOP, "width": WIDTH, "listed": _MAX_LISTED, "ids": _MAX_IDS,
              "terms": _MAX_TERMS}  # fmt: skip
    return _template()(
        ranking=ranking,
        schedule=_SCHEDULES.get(ranking.schedule.split(":")[0], ""),
        history=history,
        chart=bump_chart(history) if len(cards) > 1 else None,
        cards=cards,
        windows=windows,
        left_out=_gaps(cards, windows),
        rank_of={ranked.id: ranked.rank for ranked in ranking.passages},
        limits=limits,
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
    rationales = [one.rationale.text if one.rationale else "" for one in ranked]
    max_text = fair_share((html_bytes(one.text) for one in ranked), _budget(_TEXTS, ranking))
    max_rationale = fair_share(map(html_bytes, rationales), _budget(_RATIONALES, ranking))
    windows, numbered, faults = _windows_of(ranking.steps), _numbered(ranking), _faults(ranking)
    source = {at: number for number, step in enumerate(ranking.steps, 1)
              if step.reply.rationales for at in step.window}  # fmt: skip
    sources = [source.get(one.was - 1, 0) for one in ranked]
    return [
        Card(
            ranked=one,
            name=shorten(one.passage.title or one.passage.place or one.text, _MAX_NAME) or one.id,
            text=excerpt(one.text, one.rationale.quotes if one.rationale else (), max_text),
            rationale=_linked(excerpt(rationale, max_bytes=max_rationale), numbered[number - 1]),
            rationale_window=number,
            is_url=_is_url(one.passage.place),
            is_open=one.rank <= TOP or len(ranked) <= _MAX_OPEN,
            faults=faults.get(one.id, []),
            windows=windows.get(one.was - 1, []),
        )
        for one, rationale, number in zip(ranked, rationales, sources, strict=True)
    ]


def _faults(ranking: Ranking) -> dict[str, list[Fault]]:
    """The faults of every passage that is named in one."""
    named: dict[str, list[Fault]] = {}
    for fault in ranking.faults:
        for one in fault.ids:
            named.setdefault(one, []).append(fault)
    return named


def _windows_of(steps: Sequence[Step]) -> dict[int, list[tuple[int, int, int]]]:
    """The windows of every position: number, and its rank there before and after."""
    windows: dict[int, list[tuple[int, int, int]]] = {}
    for number, step in enumerate(steps, 1):
        for after, local in enumerate(step.reply.order, 1):
            windows.setdefault(step.window[local], []).append((number, local + 1, after))
    return windows


def _numbered(ranking: Ranking) -> list[tuple[int, ...]]:
    """For each window the final ranks of the passages numbered [1], [2], ...; last, an empty one.

    Votes shuffle the recorded window: which passages their numbers mean is unknown.
    """
    rank = {ranked.was - 1: ranked.rank for ranked in ranking.passages}
    known = not voted(ranking)
    return [*(tuple(rank[at] for at in step.window if known) for step in ranking.steps), ()]


def _windows(ranking: Ranking) -> list[WindowView]:
    rank = {ranked.was - 1: ranked.rank for ranked in ranking.passages}
    sizes = [html_bytes(step.reply.reasoning) for step in ranking.steps]
    max_bytes = fair_share(sizes, _budget(_REASONING, ranking))
    return [
        WindowView(
            number=number,
            step=step,
            passages=list(_window_passages(step, rank)),
            reasoning=_linked(_reasoning(step.reply.reasoning, max_bytes), ranks),
        )
        for number, step, ranks in zip(count(1), ranking.steps, _numbered(ranking), strict=False)
    ]


def _window_passages(step: Step, rank: Mapping[int, int]) -> Iterator[WindowPassage]:
    scores = step.reply.scores
    for local in step.reply.order:
        yield WindowPassage(rank[step.window[local]], local + 1, scores[local] if scores else None)


def _reasoning(text: str, max_bytes: int) -> list[Segment]:
    """The reasoning; if it is too long, its end, which holds the conclusion, and its beginning."""
    end = (Quote(len(text) - max_bytes // 3, len(text)),) if html_bytes(text) > max_bytes else ()
    return excerpt(text, end, max_bytes)


def _linked(segments: Iterable[Segment], ranks: Sequence[int]) -> list[LinkedSpan]:
    """The segments, with a link to each passage where its number is first mentioned."""
    spans: list[LinkedSpan] = []
    linked: set[int] = set()
    for segment in segments:
        if segment.left_out:
            spans.append(LinkedSpan("", left_out=segment.left_out))
        for part in filter(None, _MENTION.split(segment.text)):
            number = int(part[1:-1]) if _MENTION.fullmatch(part) else 0
            first = 1 <= number <= len(ranks) and number not in linked
            linked.add(number)
            spans.append(LinkedSpan(part, ranks[number - 1] if first else None))
    return spans


def _budget(size: int, ranking: Ranking) -> int:
    return int(size * min(max(1.0, len(ranking.passages) / 100), _MAX_FACTOR))


def _gaps(cards: Sequence[Card], windows: Sequence[WindowView]) -> list[tuple[str, int, int]]:
    """What is not on the page: the kind of text, in how many of them, how many characters."""
    texts: dict[str, Sequence[Sequence[Segment | LinkedSpan]]] = {
        "passages' texts": [card.text for card in cards],
        "rationales": [card.rationale for card in cards],
        "reasoning texts": [window.reasoning for window in windows],
    }
    gaps = {kind: [sum(s.left_out for s in one) for one in all_] for kind, all_ in texts.items()}
    return [(kind, sum(map(bool, gap)), sum(gap)) for kind, gap in gaps.items() if any(gap)]


def _is_url(place: str) -> bool:
    """Whether a place is a web address."""
    try:
        parts = urlsplit(place)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and place.isprintable()
