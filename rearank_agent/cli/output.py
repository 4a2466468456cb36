"""A ranking printed for a person, a pipe or a program."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from rearank_agent.cli.console import console, print_json, print_note, styled
from rearank_agent.policies.registry import POLICIES
from rearank_agent.present.faults import why_unranked
from rearank_agent.present.threshold import from_score
from rearank_agent.text import shorten
from rearank_agent.types import Fault, Ranked, Ranking, Usage

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN = 10
_IDS = 3
_WIDTH = 58  # of the last column in a terminal of 80
_MIN_TITLE = 8  # characters


def print_ranking(
    ranking: Ranking,
    top: int | None,
    as_json: bool,
    html: Path | None,
    min_score: float | None = None,
) -> None:
    """Print JSON, a table to a terminal, else JSON Lines; a partial ranking exits with 3.

    JSON is the whole ranking, whatever the minimum score.
    """
    shown, left_out = from_score(ranking, min_score)
    try:
        if as_json:
            print_json(ranking.to_json())
        elif sys.stdout.isatty():
            _print_table(ranking, shown, top or _SHOWN)
        else:
            for ranked in shown[:top]:
                print_json(_line(ranked))
    finally:  # also when the reader has closed stdout
        if html:
            write_page(ranking, html)
    if left_out and not as_json:
        print_note(f"note: {left_out}")
    print_faults(ranking.faults)
    if ranking.partial:
        raise typer.Exit(3)


def write_page(ranking: Ranking, path: Path) -> None:
    """Write the ranking's HTML page, and report the path.

    Raises:
        SetupError: it cannot be written.
    """
    from rearank_agent.files import write_text
    from rearank_agent.present.page import html_page

    write_text(path, html_page(ranking))
    print_note(f"the page is in {path}")


def print_faults(faults: Iterable[Fault]) -> None:
    """One line on stderr for every fault."""
    for fault in faults:
        ids = ", ".join(fault.ids[:_IDS])
        more = f" and {len(fault.ids) - _IDS} more" if len(fault.ids) > _IDS else ""
        where = f" [{ids}{more}]" if ids else ""
        print_note(f"note: {fault.kind}: {' '.join(fault.detail.split())}{where}")


def _line(ranked: Ranked) -> dict[str, Any]:
    passage, why = ranked.passage, ranked.rationale
    line = {
        "rank": ranked.rank,
        "id": passage.id,
        "score": ranked.relevance,
        "was": ranked.was,
        "evidence": ranked.evidence,
        "has": why.has if why else (),
        "lacks": why.lacks if why else (),
        "text": passage.text,
    }
    optional = {"title": passage.title, "place": passage.place, "meta": dict(passage.meta)}
    if ranked.confidence is not None:
        line["confidence"] = ranked.confidence
    return line | {name: value for name, value in optional.items() if value}


def _print_table(ranking: Ranking, shown: Sequence[Ranked], top: int) -> None:
    out = console()
    if why := why_unranked(ranking):
        out.print(styled((f"not ranked, the order is as given: {why}", "bold red")))
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for name in ("rank", "moved", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("passage, and the evidence in it", ratio=1, overflow="fold")
    for ranked in shown[:top]:
        score = "–" if ranked.relevance is None else f"{ranked.relevance:.3f}"
        table.add_row(str(ranked.rank), _rank_change(ranked), score, _passage_cell(ranked))
    out.print(table)
    n = len(ranking.passages)
    more = f"; {len(shown) - top} more with --top {len(shown)}" if len(shown) > top else ""
    blend = f", the ranks as given count {ranking.blend:g}" if ranking.blend else ""
    spent = f"{ranking.usage.seconds:.2f} s{_cost(ranking.usage)}"
    summary = f"{ranking.schedule}, {spent}{blend}{more}"
    out.print(styled((f"{n} passages by {_policy_name(ranking.policy)}, {summary}", "dim")))


def _policy_name(fingerprint: str) -> str:
    first = fingerprint.split()[0]
    provider = first.split(":")[0]
    return provider if provider in POLICIES else first


def _cost(usage: Usage) -> str:
    """What a model cost; nothing for a policy without tokens."""
    tokens = usage.prompt_tokens + usage.thought_tokens + usage.answer_tokens
    hits = f", {usage.hits} from the cache" if usage.hits else ""
    calls = "1 call" if usage.calls == 1 else f"{usage.calls} calls"
    return f", {calls}{hits}, {tokens:,} tokens" if tokens or hits else ""


def _rank_change(ranked: Ranked) -> RenderableType:
    by = ranked.was - ranked.rank
    if by == 0:
        return styled(("=", "dim"))
    return styled((f"▲ {by}", "green") if by > 0 else (f"▼ {-by}", "red"))


def _passage_cell(ranked: Ranked) -> RenderableType:
    passage = ranked.passage
    head = _tail(passage.place or passage.id, _WIDTH)
    room = _WIDTH - len(head) - 1
    if passage.title and room > _MIN_TITLE:
        head += f" {shorten(passage.title, room)}"
    shown = ranked.evidence or passage.text
    lines = [(head, "bold"), (_quoted(shown, bool(ranked.evidence)), "")]
    if ranked.rationale and ranked.rationale.lacks:
        lines.append((f"lacks: {shorten(', '.join(ranked.rationale.lacks), 50)}", "dim"))
    return styled(*lines)


def _quoted(text: str, evidence: bool) -> str:
    line = shorten(text, 150)
    return f"“{line}”" if evidence else line


def _tail(text: str, max_chars: int) -> str:
    """The end of a place: the file and its lines, which matter more than the first folders."""
    return text if len(text) <= max_chars else "…" + text[1 - max_chars :]
