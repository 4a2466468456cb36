"""What `train embedded --teacher` learns from: a policy's scores of candidates, or records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from rearank_agent.cli.console import print_note, progress_bar
from rearank_agent.errors import InputError
from rearank_agent.redact import redact
from rearank_training.cli.inputs import with_lists

if TYPE_CHECKING:
    from rearank_training.embedded.lessons import Candidates, LessonSampler
    from rearank_training.rows.rows import Passages, Row

__all__ = ["TeacherOptions", "read_lessons"]

_DEPTH = 100
"""Candidates of an unjudged query."""
_LEFT_OUT = {
    "held": "queries are in a dev collection too, and not learned from",
    "short": "queries have fewer than two candidates, and are left out",
}

T = TypeVar("T")


@dataclass(frozen=True)
class TeacherOptions:
    """What the supervised start learns from in the place of grades."""

    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POLICY|FILE",
            help="Learn a policy's scores, or the orders in a records.jsonl of eval; "
            "files are repeatable.  \\[the grades of the rows]",
            show_default=False,
        ),
    ] = None
    unjudged: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Collection whose queries the teacher ranks too; needs no judgements; repeatable.",
            show_default=False,
        ),
    ] = None

    def check(self, rows: Path | None) -> None:
        """Refuse what does not go together.

        Raises:
            InputError: there is nothing to learn from, or a teacher that is not asked.
        """
        teachers = self.teacher or []
        if not teachers:
            if self.unjudged:
                raise InputError("--unjudged needs a --teacher, whose scores are learned")
            if rows is None:
                raise InputError("nothing to learn from: give the rows of train rows, or --teacher")
            return
        records = [one for one in teachers if _is_records(one)]
        if records and self.unjudged:
            raise InputError("records have queries of their own: leave --unjudged out")
        if len(teachers) > 1 and len(records) < len(teachers):
            raise InputError("give one policy as the teacher, or records alone; A+B is an ensemble")
        if not records and rows is None and not self.unjudged:
            raise InputError(f"{teachers[0]} has nothing to rank: give rows, or --unjudged FOLDER")


def read_lessons(
    options: TeacherOptions,
    judged: tuple[Sequence[Row], Passages],
    held: frozenset[str],
    out: Path,
    seed: int,
) -> LessonSampler:
    """The windows of a teacher's lessons; what a policy says is kept in the run's folder.

    Args:
        options: the teacher, and whose queries it ranks beside those of the rows.
        judged: the rows and their passages: a policy ranks their queries' whole lists.
        held: the queries of dev, normalized: nothing is learned from them.
        out: the run's folder.
        seed: of the windows.

    Raises:
        InputError: there is no such policy or file, or it says nothing.
        PolicyError: the policy fails.
    """
    from rearank_agent.policies.registry import policy
    from rearank_training.embedded.lessons import LessonSampler
    from rearank_training.embedded.teacher import TEACHER, ask, read_records

    teacher, folders = options.teacher or [], options.unjudged or []
    if _is_records(teacher[0]):
        name = "records"
        with progress_bar("reading the records"):
            lessons, failures = read_records([Path(one) for one in teacher])
        lessons = _useful(lessons, lambda lesson: lesson.candidates, held)
    else:
        made = policy(teacher[0])
        name = redact(made.fingerprint)
        wanted = [*_of_rows(*judged), *(one for folder in folders for one in _of_folder(folder))]
        wanted = _useful(wanted, lambda one: one, held)
        out.mkdir(parents=True, exist_ok=True)
        try:
            with progress_bar(f"{teacher[0]} ranks for {len(wanted):,} queries") as watch:
                lessons, failures = ask(made, wanted, out / TEACHER, watch)
        except KeyboardInterrupt:
            print_note(f"stopped; the teacher's scores are in {out / TEACHER}: go on with --resume")
            raise
    if failures:
        what = f"the teacher gave no order for {len(failures):,} queries, left out"
        print_note(f"note: {what}: {failures[0]}")
    return LessonSampler(lessons, seed, name)


def _is_records(teacher: str) -> bool:
    return teacher.endswith(".jsonl") or Path(teacher).is_file()


def _of_rows(rows: Sequence[Row], passages: Passages) -> list[Candidates]:
    from rearank_training.embedded.lessons import Candidates

    queries = {(row.query.collection, row.query.id): row.query for row in rows}
    return [
        Candidates(
            source=query.collection,
            query=query.text,
            instruction=query.instruction,
            passages=tuple(passages[query.collection, name] for name in query.passages),
        )
        for query in queries.values()
    ]


def _of_folder(folder: Path) -> list[Candidates]:
    """The queries of a folder and their candidates; its judgements are not read."""
    from rearank_agent.data.beir import read_folder
    from rearank_training.embedded.lessons import Candidates

    with progress_bar(f"reading {folder}"):
        found = read_folder(folder, judged=False)
    for note in found.notes:
        print_note(f"note: {found.name}: {note}")
    (one,) = with_lists([found], _DEPTH)
    lists = {query: list((one.lists or {}).get(query, ()))[:_DEPTH] for query in one.queries}
    names = dict.fromkeys(name for ids in lists.values() for name in ids if name in one.corpus)
    texts = {name: one.corpus[name] for name in names}
    return [
        Candidates(
            source=one.name,
            query=text,
            instruction=one.instruction,
            passages=tuple(texts[name] for name in lists[query] if name in texts),
        )
        for query, text in one.queries.items()
    ]


def _useful(
    found: Sequence[T], candidates: Callable[[T], Candidates], held: frozenset[str]
) -> list[T]:
    """Those that can be learned from; the others are counted in a note."""
    reasons = [_reason(candidates(one), held) for one in found]
    counts = Counter(reasons)
    for reason, text in _LEFT_OUT.items():
        if counts[reason]:
            print_note(f"note: {counts[reason]:,} {text}")
    return [one for one, reason in zip(found, reasons, strict=True) if not reason]


def _reason(one: Candidates, held: frozenset[str]) -> str:
    from rearank_training.rows.overlap import normalized_query

    if normalized_query(one.query) in held:
        return "held"
    return "short" if len(one.passages) < 2 else ""
