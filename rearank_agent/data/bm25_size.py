"""What BM25 over a corpus takes, looked at before it starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from statistics import fmean

from rearank_agent.data.collection import Collection
from rearank_agent.errors import InputError

__all__ = ["check_size"]

_SAMPLE = 1000  # passages whose length stands for all
_MEMORY = 8.0  # bytes of memory for each byte of text: terms, postings, the index (6 measured)
_SECONDS = 0.3e-6  # for each byte of text, on one core
_LARGE = 500_000  # passages from which on it is said what it takes


def check_size(collection: Collection, warn: Callable[[str], None]) -> None:
    """Say what BM25 over the corpus will take if it is large; refuse what cannot end well.

    Args:
        collection: its corpus is not read, but for a sample of it.
        warn: called with the estimate.

    Raises:
        InputError: it needs more memory than this machine has.
    """
    if (passages := len(collection.corpus)) < _LARGE:
        return
    sample = [len(one.content.encode()) for one in islice(collection.corpus.values(), _SAMPLE)]
    size = passages * fmean(sample)
    gigabytes, minutes = size * _MEMORY / 1e9, size * _SECONDS / 60
    takes = (
        f"BM25 over the {passages:,} passages of {collection.name} takes some "
        f"{gigabytes:,.0f} GB of memory and {minutes:,.0f} minutes"
    )
    if gigabytes * 1e9 > (memory := _memory()):
        raise InputError(
            f"{takes}, and this machine has {memory / 1e9:,.0f} GB: give a TREC run of another "
            "engine, --first-stage RUN (Pyserini has indexes of the large collections)"
        )
    warn(f"{takes}; a TREC run needs neither (--first-stage RUN)")


def _memory() -> float:
    """The bytes of this machine's memory; infinite where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
