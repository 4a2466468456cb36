"""Passages to vectors: each encoded once in its life where vectors are kept."""

from __future__ import annotations

from threading import Lock

from rearank_agent.errors import InputError, SetupError
from rearank_agent.policies.embedded.encoder import Encoder
from rearank_agent.policies.embedded.passage_vectors import FORM, PassageVectors
from rearank_agent.policies.embedded.vector_store import VectorStore
from rearank_agent.text import text_hash
from rearank_agent.types import Fault

__all__ = ["PassageEncoder"]

_AT_ONCE = 64  # passages that are written together


class PassageEncoder:
    """Encodes passages, or takes their vectors from a store; safe to share between threads.

    A store that cannot be used is no error: the passages are encoded, and `keep` says why.

    Attributes:
        encoder: the network.
        store: where vectors are kept; None for nowhere.
    """

    def __init__(self, encoder: Encoder, store: VectorStore | None = None) -> None:
        self.encoder = encoder
        self.store = store
        self._of_weights = text_hash(f"{FORM} {encoder.checksum}")
        self._new: dict[int, PassageVectors] = {}
        self._broken = ""
        self._lock = Lock()

    def name(self, hash_of_text: int) -> int:
        """The name of a text's vectors in the store, by its `text_hash`."""
        return hash_of_text ^ self._of_weights

    def vectors(self, text: str) -> PassageVectors:
        """The vectors of a text, title included; new ones are kept sooner or later.

        A text that the encoder does not support has zeros, which are near to nothing.
        """
        if self.store is None:
            return self._encoded(text)
        name = self.name(text_hash(text))
        if (found := self._kept(name)) is None:
            found = self._encoded(text)
            with self._lock:
                self._new[name] = found
                many = len(self._new) >= _AT_ONCE
            if many:
                self._write()
        return found

    def keep(self) -> tuple[Fault, ...]:
        """Keep what is new; a fault if something could not be kept or read since the last call."""
        self._write()
        with self._lock:
            broken, self._broken = self._broken, ""
        return (Fault("cache", (), f"vectors are not kept: {broken}"),) if broken else ()

    def _encoded(self, text: str) -> PassageVectors:
        encoded = self.encoder.encode(text)
        return PassageVectors.of(encoded, empty=not self.encoder.supports(text))

    def _kept(self, name: int) -> PassageVectors | None:
        assert self.store is not None  # noqa: S101
        with self._lock:
            if found := self._new.get(name):
                return found
        try:
            return self.store.get(name)
        except (InputError, SetupError) as error:
            with self._lock:
                self._broken = str(error)
            return None

    def _write(self) -> None:
        with self._lock:
            new, self._new = self._new, {}
        try:
            if self.store:
                self.store.put(new)
        except SetupError as error:
            with self._lock:
                self._broken = str(error)
