"""Files in which ids stand among many alike, and 30 queries that ask for one of them."""

from __future__ import annotations

import random
from pathlib import Path

__all__ = ["ID_QUERIES", "write_id_files"]

_PLACES = ("the north gate", "a locker in Lyon", "the customs hall", "the night depot", "pier four")
_STATES = ("handed over", "held back", "returned to its sender", "damaged in transit", "lost")
_CAUSES = ("the disk is full", "the clock runs backwards", "a key has expired", "a peer is silent")
_CHANGES = (
    "retries wait longer",
    "tables have borders",
    "the log is in colour",
    "ports are closed",
)
_THINGS = ("window", "index", "ledger", "socket", "parcel", "report", "shard", "token")
_VERBS = ("merge", "split", "flush", "parse", "drain", "seal", "weigh", "trim")

_random = random.Random(20)
_ORDERS = _random.sample(range(40_000, 99_999), 120)
_ERRORS = _random.sample(range(1_000, 9_999), 120)
_VERSIONS = [
    f"{major}.{minor}.{patch}" for major in (1, 2) for minor in range(10) for patch in range(6)
]
_FUNCTIONS = [
    f"{verb}_{thing}s_of_{other}"
    for verb in _VERBS
    for thing in _THINGS
    for other in ("day", "user")
]

_ASKED = {
    "order": ["what happened to order {}", "{}", "where is order {} now", "order {} status",
              "who has parcel of order {}", "is order {} lost", "tell me about {}", "order no. {}"],
    "error": ["what does E{} mean", "E{}", "error E{} when starting", "how to fix E{}",
              "service stops with E{}", "log says E{}", "meaning of code E{}"],
    "version": ["what changed in {}", "release notes {}", "version {}", "upgrade to {}",
                "what is new in version {}", "did {} change the log", "changes of {}"],
    "function": ["where is {} defined", "{}", "what does {} do", "who calls {}",
                 "{} raises ValueError", "signature of {}", "docs of {}", "purpose of {}"],
}  # fmt: skip
_IDS = {"order": _ORDERS, "error": _ERRORS, "version": _VERSIONS, "function": _FUNCTIONS}

ID_QUERIES = tuple(
    (form.format(one), str(one))
    for kind, forms in _ASKED.items()
    for form, one in zip(forms, _random.sample(_IDS[kind], len(forms)), strict=True)
)
"""Queries with order numbers, error codes, versions or names of functions, and the id of each."""


def write_id_files(folder: Path) -> None:
    """Some 500 passages, one for each id, in four files."""
    choose = random.Random(21).choice
    paragraphs = {
        "orders.txt": [
            f"Order {one} was {choose(_STATES)} at {choose(_PLACES)}. The buyer was told on the "
            "same day, and the carrier confirmed it in writing. No fee is due." * 2
            for one in _ORDERS
        ],
        "errors.txt": [
            f"E{one} means that {choose(_CAUSES)}. Start the service again; if the error comes "
            "back, send the log to whoever looks after the machine. It does no harm to data." * 2
            for one in _ERRORS
        ],
        "changes.txt": [
            f"Version {one}: {choose(_CHANGES)}, and {choose(_CHANGES)}. Nothing has to be done "
            "for the upgrade. Thanks to all who reported what was wrong with the one before." * 2
            for one in _VERSIONS
        ],
        "code.py": [
            f"def {one}(rows, limit=100):\n    # goes through all rows once, in their order\n"
            "    if limit < 1:\n        raise ValueError('the limit must be 1 or more')\n"
            "    return [row for row in rows if row.valid][:limit]\n" * 2
            for one in _FUNCTIONS
        ],
    }
    for name, texts in paragraphs.items():
        (folder / name).write_text("\n\n".join(texts))
