"""Evaluation of the embedded policy on held-out queries: nDCG@10, blended as in serving."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from rearank_agent.data.collection import Collection
from rearank_agent.policies.blend import blended_order
from rearank_training.embedded.towers import Towers
from rearank_training.embedded.trunk import Trunk
from rearank_training.rows.heldout import held_out

__all__ = ["Dev"]

_BATCH = 512
"""Texts that are encoded at a time."""


class Dev:
    """Held-out queries and their lists; the arguments are those of `held_out`.

    Attributes:
        dropped: how many queries were left out because they are trained on.
    """

    def __init__(
        self,
        collections: Sequence[Collection],
        queries: int,
        depth: int = 100,
        seed: int = 0,
        trained_on: Iterable[str] = (),
    ) -> None:
        self._queries, self.dropped = held_out(collections, queries, depth, seed, trained_on)

    def __len__(self) -> int:
        return len(self._queries)

    def values(
        self, towers: Towers, trunk: Trunk, blends: Sequence[float]
    ) -> list[dict[str, list[float]]]:
        """nDCG@10 of every query, by collection, for every blend; always in the same order."""
        hidden = self._hidden(towers, trunk)
        found: list[dict[str, list[float]]] = [{} for _ in blends]
        for one in self._queries:
            with torch.no_grad():
                texts = (one.query, *(passage.content for passage in one.passages))
                vectors = (hidden[text].to(towers.device).float() for text in texts)
                query, *passages = vectors
                scores = towers.scores(towers.pool([query]), towers.pool(passages))[0].tolist()
            for blend, values in zip(blends, found, strict=True):
                order, _ = blended_order(tuple(range(len(scores))), scores, blend)
                values.setdefault(one.collection, []).append(one.ndcg(order))
        return found

    def _hidden(self, towers: Towers, trunk: Trunk) -> dict[str, torch.Tensor]:
        passages = {p.content for one in self._queries for p in one.passages}
        texts = sorted(passages | {one.query for one in self._queries})
        max_tokens = trunk.encoder.max_tokens
        found: dict[str, torch.Tensor] = {}
        for first in range(0, len(texts), _BATCH):
            batch = texts[first : first + _BATCH]
            with torch.no_grad():
                vectors = towers.encode(trunk.states(batch, max_tokens))
            found.update(zip(batch, (one.half().cpu() for one in vectors), strict=True))
        return found
