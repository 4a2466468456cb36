"""The lower layers of the embedded policy: frozen, and run as in serving."""

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
    """States of texts, cached in memory.

    A text is run alone and unpadded, and its states are rounded to 16 bits whether cached or not:
    so they are the same in every run, resumed or not.

    Args:
        encoder: the served one.
        threads: texts that are run at the same time.
        cache_bytes: of cached states; once it is full, other texts are run again each time.

    Attributes:
        encoder: the served one.
        cache_bytes: that are left.
    """

    def __init__(
        self, encoder: Encoder, threads: int = 2, cache_bytes: int = 6_000_000_000
    ) -> None:
        self.encoder, self.cache_bytes = encoder, cache_bytes
        self._pool = ThreadPoolExecutor(threads)
        self._cache: dict[tuple[str, int], NDArray[np.float16]] = {}

    def states(self, texts: Sequence[str], max_tokens: int) -> list[Tensor]:
        """[tokens, width] of each text's first `max_tokens` tokens, in 16 bits."""
        states = self._pool.map(self._state, texts, repeat(max_tokens))
        return [torch.from_numpy(state) for state in states]

    def _state(self, text: str, max_tokens: int) -> NDArray[np.float16]:
        if (cached := self._cache.get((text, max_tokens))) is not None:
            return cached
        state: NDArray[np.float16] = self.encoder.trunk(text, max_tokens).states.astype(np.float16)
        if state.nbytes <= self.cache_bytes:
            self.cache_bytes -= state.nbytes
            self._cache[text, max_tokens] = state
        return state
