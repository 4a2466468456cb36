"""What is ranked in one request, at most."""

from __future__ import annotations

from collections.abc import Sequence

from rearank_agent.errors import InputError
from rearank_agent.types import Passage

__all__ = ["check_count", "check_lines", "check_request"]

MAX_PASSAGES = 1_000
MAX_BYTES = 4 * 1024 * 1024
MAX_QUERY = 20_000  # characters
MAX_LINES = 1_000


def check_request(query: str, instruction: str, passages: Sequence[Passage] = ()) -> None:
    """Refuse texts that are too long, or too many; raises InputError."""
    for name, text in (("query", query), ("instruction", instruction)):
        if len(text) > MAX_QUERY:
            raise InputError(f"the {name} has {len(text):,} characters; {MAX_QUERY:,} at most")
    check_count(len(passages))
    if (size := sum(len(passage.content.encode()) for passage in passages)) > MAX_BYTES:
        raise InputError(f"the passages have {size:,} bytes; {MAX_BYTES:,} at most")


def check_count(passages: int) -> None:
    """Refuse more passages than are ranked in one request; raises InputError."""
    if passages > MAX_PASSAGES:
        raise InputError(
            f"{passages:,} passages are too many for one request: give the best "
            f"{MAX_PASSAGES:,} of a first stage, or use search over files"
        )


def check_lines(top_k: int) -> None:
    """Refuse a number of lines out of range; raises InputError."""
    if not 1 <= top_k <= MAX_LINES:
        raise InputError(f"top_k must be from 1 to {MAX_LINES:,}, not {top_k}")
