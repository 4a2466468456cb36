"""Runs and judgements in TREC's format, and judgements in BEIR's.

A *run* has the passages of every query, best first; *qrels* the grade of every judged passage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rearank_agent.errors import InputError

__all__ = ["Qrels", "Run", "qrels_text", "read_qrels", "read_run", "read_text", "run_text"]

_HEADINGS = ("score", "grade", "relevance", "rel", "label", "judgement", "judgment")
_MAX_GRADE = 1_000_000

Run = Mapping[str, Sequence[str]]
Qrels = Mapping[str, Mapping[str, int]]


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error.reason}") from None


def read_run(path: Path) -> dict[str, tuple[str, ...]]:
    """The run of a file of `query Q0 passage rank score tag`, by falling score.

    Equal scores keep the order of the file.

    Raises:
        InputError: no lines, a line of another format, a passage twice for a query.
    """
    scored: dict[str, dict[str, float]] = {}
    for where, fields in _rows(path):
        if len(fields) != 6:
            raise InputError(f"{where}: a run has 6 columns (query Q0 passage rank score tag)")
        query, _, passage, _, score, _ = fields
        passages = scored.setdefault(query, {})
        if passage in passages:
            raise InputError(f"{where}: the passage {passage!r} occurs twice for query {query!r}")
        passages[passage] = _number(score, where)
    if not scored:
        raise InputError(f"{path} holds no run")
    return {q: tuple(sorted(found, key=lambda p: -found[p])) for q, found in scored.items()}


def run_text(run: Run, tag: str) -> str:
    """The run in TREC's format.

    Scores fall by 1 from rank to rank, since trec_eval orders by score alone, and equal scores
    by passage id.
    """
    return "".join(
        f"{query}\tQ0\t{passage}\t{rank}\t{len(passages) - rank + 1}\t{tag}\n"
        for query, passages in run.items()
        for rank, passage in enumerate(passages, 1)
    )


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """The grades of a file of `query 0 passage grade`, or of `query passage grade` as in BEIR.

    A first line that ends in a word such as "score" is a heading.

    Raises:
        InputError: no lines, a line of another format, two grades for one passage.
    """
    qrels: dict[str, dict[str, int]] = {}
    for number, (where, fields) in enumerate(_rows(path)):
        if len(fields) not in (3, 4):
            raise InputError(f"{where}: judgements are query, passage, grade, or TREC's 4 columns")
        query, passage, grade = fields[0], *fields[-2:]
        if number == 0 and grade.lower() in _HEADINGS:
            continue
        value = _number(grade, where)
        if value != int(value) or abs(value) > _MAX_GRADE:
            raise InputError(
                f"{where}: grades are whole numbers up to {_MAX_GRADE}, not {grade:.40}"
            )
        if qrels.setdefault(query, {}).setdefault(passage, int(value)) != value:
            raise InputError(f"{where}: {passage!r} has another grade earlier for query {query!r}")
    if not qrels:
        raise InputError(f"{path} holds no judgements")
    return qrels


def qrels_text(qrels: Qrels) -> str:
    """The judgements in TREC's format."""
    return "".join(
        f"{query}\t0\t{passage}\t{grade}\n"
        for query, grades in qrels.items()
        for passage, grade in grades.items()
    )


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The place (file and line) of each line, and its columns; blank lines are skipped.

    Tabs separate the columns where there are any, since ids of BEIR may contain spaces.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            fields = line.strip("\r").split("\t")
            yield f"{path}, line {number}", fields if len(fields) > 2 else line.split()


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{where}: not a number: {text!r:.40}") from None
    if value - value != 0:
        raise InputError(f"{where}: not a finite number: {text!r:.40}")
    return value
