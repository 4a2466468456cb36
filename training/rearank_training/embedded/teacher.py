"""The teacher: any policy that ranks candidates, or the records of rankings.

What a policy says is kept in a file, a query a line, so that it is asked once:

    {"key": SHA-256 of the teacher, the query and its passages, "scores": [...], "ordered": false}
    {"key": ..., "failed": "why"}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from rearank_agent.errors import InputError, PolicyError
from rearank_agent.files import digest, write_text
from rearank_agent.policies.protocol import Policy
from rearank_agent.reranker import Reranker
from rearank_agent.types import Ranking
from rearank_training.embedded.lessons import Candidates, Lesson, teacher_scores
from rearank_training.log import append

__all__ = ["TEACHER", "Taught", "ask", "read_records"]

TEACHER = "teacher.jsonl"
"""The file's name in a run's folder."""
_FAILURES = 10
"""Queries in a row after which a teacher that fails is not asked on."""


class Taught(NamedTuple):
    """The lessons, and why the teacher gave none for each of the other queries."""

    lessons: list[Lesson]
    failures: list[str]


def ask(
    policy: Policy,
    wanted: Sequence[Candidates],
    path: Path,
    watch: Callable[[int, int], None] = lambda _done, _total: None,
) -> Taught:
    """The lessons of a policy; what the file has of them is not asked again.

    Args:
        policy: the teacher; it ranks all candidates of a query, in windows if it has a window.
        wanted: the queries.
        path: of the file; its folder exists.
        watch: called with the number of queries done, and of all.

    Raises:
        PolicyError: it failed on ten queries in a row; those are asked again the next time.
        InputError: the file is damaged.
        SetupError: it cannot be written.
    """
    keys = [_key(policy.fingerprint, one) for one in wanted]
    kept = _read(path)
    missing = {k: one for k, one in zip(keys, wanted, strict=True) if k not in kept}
    watch(total := len(keys) - len(missing), len(keys))
    failed: list[dict[str, Any]] = []
    for line in _answers(Reranker(policy), list(missing.items())):
        failed.append(line)
        if "failed" not in line:
            failed = _write(path, failed)
        elif len(failed) == _FAILURES:
            raise PolicyError(
                f"the teacher failed on {_FAILURES} queries in a row: {line['failed']}; "
                "what it said before is kept; once it answers, go on with --resume"
            )
        kept[line["key"]] = line
        watch(total := total + 1, len(keys))
    _write(path, failed)
    return _taught(zip(wanted, (kept[key] for key in keys), strict=True))


def read_records(paths: Sequence[Path]) -> Taught:
    """The lessons of rankings, a line each: of `eval`, or of `rerank --json`.

    Raises:
        InputError: a file cannot be read.
    """
    return _taught(pair for path in paths for pair in _recorded(path))


def _recorded(path: Path) -> Iterator[tuple[Candidates, Mapping[str, Any]]]:
    try:
        lines, source = path.read_text(encoding="utf-8").split("\n"), digest(path)[:12]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            ranking = Ranking.from_json(line)
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        passages = tuple(r.passage for r in sorted(ranking.passages, key=lambda r: r.was))
        one = Candidates(f"records {source}", ranking.query, ranking.instruction, passages)
        yield one, _said(ranking)


def _answers(
    reranker: Reranker, missing: Sequence[tuple[str, Candidates]]
) -> Iterator[dict[str, Any]]:
    """What the policy says of each query, as lines; as many at a time as suit it."""
    for instruction, group in groupby(missing, key=lambda pair: pair[1].instruction):
        pairs = list(group)
        for first in range(0, len(pairs), reranker.at_once):
            batch = pairs[first : first + reranker.at_once]
            requests = [(one.query, one.passages) for _, one in batch]
            rankings = reranker.rerank_many_sync(requests, instruction=instruction)
            for (key, _), ranking in zip(batch, rankings, strict=True):
                yield {"key": key, **_said(ranking)}


def _said(ranking: Ranking | Exception) -> dict[str, Any]:
    try:
        if isinstance(ranking, Exception):
            raise ranking
        scores, ordered = teacher_scores(ranking)
    except (PolicyError, InputError) as error:
        return {"failed": str(error)}
    return {"scores": scores, "ordered": ordered}


def _taught(said: Iterable[tuple[Candidates, Mapping[str, Any]]]) -> Taught:
    found = Taught([], [])
    for one, line in said:
        if "failed" in line:
            found.failures.append(line["failed"])
        else:
            found.lessons.append(Lesson(one, tuple(line["scores"]), line["ordered"]))
    return found


def _key(fingerprint: str, one: Candidates) -> str:
    parts = [fingerprint, one.query, one.instruction, *one.texts]
    return sha256(json.dumps(parts).encode()).hexdigest()


def _write(path: Path, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Append lines; none is left to write."""
    for line in lines:
        append(path, line)
    return []


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The complete lines by key; a last one that was cut off is removed."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if lines and not lines[-1].endswith("\n"):
        write_text(path, lines := lines[:-1])
    try:
        found = {line["key"]: line for line in map(json.loads, lines)}
        complete = all("failed" in one or one["scores"] for one in found.values())
    except (ValueError, TypeError, KeyError):
        complete = False
    if not complete:
        raise InputError(f"{path} is damaged: delete it, and the teacher is asked again")
    return found
