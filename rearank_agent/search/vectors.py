"""The vectors of an index's passages, as far as they are kept, and how near they lie to a query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rearank_agent.errors import SetupError
from rearank_agent.policies.embedded.passages import PassageEncoder
from rearank_agent.policies.embedded.policy import DEFAULT, Embedded
from rearank_agent.policies.embedded.similarity import PooledText
from rearank_agent.policies.embedded.vector_store import VectorStore
from rearank_agent.search.index import Index
from rearank_agent.types import Fault

__all__ = ["IndexVectors"]

_ROWS = 1024
"""Vectors compared at once: as many as a processor's cache holds as float32."""


class IndexVectors:
    """The means of an index's passages in int8, in memory; for one thread at a time.

    Args:
        cache: the folder with the vectors of all passages that were ever encoded.

    Attributes:
        passages: encodes, and keeps what it makes.
        known: [passages], whether the vector of a passage of the index is here.
    """

    def __init__(self, cache: Path) -> None:
        encoder = Embedded(DEFAULT).encoder
        self.passages = PassageEncoder(encoder, VectorStore(cache / "vectors.sqlite"))
        self.known: NDArray[np.bool_] = np.zeros(0, bool)
        self._index: Index | None = None
        self._version: tuple[int, int] | None = None
        self._names = np.zeros(0, np.int64)
        self._wholes = np.zeros((0, encoder.width), np.int8)
        self._lengths = np.zeros(0, np.float32)

    @property
    def share(self) -> float:
        """Of the index's passages, those whose vector is here, 0 to 1."""
        return float(self.known.mean()) if len(self.known) else 1.0

    def refresh(self, index: Index) -> tuple[Fault, ...]:
        """Take in another index, and what was kept since the last call; a fault if that fails."""
        if index is not self._index:
            self._replace(index)
        store = self.passages.store
        assert store is not None  # noqa: S101
        try:
            if not self.known.all() and (version := store.version()) != self._version:
                self._take(store.wholes(self._names[~self.known]))
                self._version = version
        except SetupError as error:
            return (Fault("cache", (), f"vectors cannot be read: {error}"),)
        return ()

    def cosines(self, query: str) -> NDArray[np.float32]:
        """[passages], their cosine with a query, -1 to 1; not a number where there is no vector.

        None has one for a query in a script that the encoder does not support.
        """
        if not (self.known.any() and self.passages.encoder.supports(query)):
            return np.full(len(self.known), np.nan, np.float32)
        mean = PooledText(self.passages.encoder.encode(query).hidden).mean
        found = np.empty(len(self.known), np.float32)
        for start in range(0, len(found), _ROWS):
            part = slice(start, start + _ROWS)
            found[part] = self._wholes[part].astype(np.float32) @ mean
        found /= self._lengths
        found[~self.known] = np.nan
        return found

    def _replace(self, index: Index) -> None:
        """Another index: the vectors of passages that it has as well are taken over."""
        names = index.hashes ^ np.int64(self.passages.name(0))
        wholes = np.zeros((len(names), self._wholes.shape[1]), np.int8)
        lengths, known = np.ones(len(names), np.float32), np.zeros(len(names), bool)
        if len(self._names):
            order = np.argsort(self._names, kind="stable")
            places = np.searchsorted(self._names, names, sorter=order)
            old = order[np.minimum(places, len(order) - 1)]
            known = (self._names[old] == names) & self.known[old]
            wholes[known], lengths[known] = self._wholes[old[known]], self._lengths[old[known]]
        self._index, self._version, self._names = index, None, names
        self._wholes, self._lengths, self.known = wholes, lengths, known

    def _take(self, kept: dict[int, bytes]) -> None:
        """Bring vectors from the store to their passages."""
        missing = np.flatnonzero(~self.known)
        found = [
            (at, kept.get(name))
            for at, name in zip(missing, self._names[missing].tolist(), strict=True)
        ]
        new = [(at, one) for at, one in found if one and len(one) == self._wholes.shape[1]]
        if not new:
            return
        at = np.array([position for position, _ in new])
        rows = np.frombuffer(b"".join(one for _, one in new), np.int8).reshape(len(new), -1)
        self._wholes[at], self.known[at] = rows, True
        squares = np.einsum("ij,ij->i", rows, rows, dtype=np.int32)  # without a copy in float32
        self._lengths[at] = np.sqrt(np.maximum(squares, 1))
