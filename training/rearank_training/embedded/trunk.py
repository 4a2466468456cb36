"""The lower layers of the embedded policy: they do not learn, and are read as they are served."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rearank_agent.policies.embedded.encoder import Encoder

__all__ = ["Trunk"]


class Trunk:
    """States of texts, kept in memory.

    A text is read alone and unpadded, and its states are rounded to 16 bits whether they were
    kept or not: so they are the same in every run, resumed or not.

    Attributes:
        encoder: the served one.
        threads: that read at the same time.
        room: bytes of states that are kept; what comes later is read again each time.
    """

    def __init__(self, encoder: Encoder, threads: int = 2, room: int = 6_000_000_000) -> None:
        self.encoder, self.room = encoder, room
        self._pool = ThreadPoolExecutor(threads)
        self._kept: dict[tuple[str, int], NDArray[np.float16]] = {}

    def states(self, texts: Sequence[str], most: int) -> list[Tensor]:
        """[tokens, width] of each text, of its first `most` tokens, in 16 bits."""
        return [
            torch.from_numpy(state) for state in self._pool.map(self._state, texts, repeat(most))
        ]

    def _state(self, text: str, most: int) -> NDArray[np.float16]:
        if (kept := self._kept.get((text, most))) is not None:
            return kept
        state: NDArray[np.float16] = self.encoder.trunk(text, most).states.astype(np.float16)
        if state.nbytes <= self.room:
            self.room -= state.nbytes
            self._kept[text, most] = state
        return state
