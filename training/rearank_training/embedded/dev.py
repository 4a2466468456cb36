"""How good the embedded policy is on held-out queries: nDCG@10, blended as it is served."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from rearank_agent.data.collection import Collection
from rearank_agent.policies.blend import blended_order
from rearank_training.embedded.towers import Towers
from rearank_training.embedded.trunk import Trunk
from rearank_training.rows.heldout import held_out

__all__ = ["Dev"]

_TOGETHER = 512
"""Texts that are read at a time."""


class Dev:
    """Held-out queries and their lists; the arguments are those of `held_out`.

    Attributes:
        dropped: how many queries were left out, as they are learned from.
    """

    def __init__(
        self,
        collections: Sequence[Collection],
        queries: int,
        depth: int = 100,
        seed: int = 0,
        learned: Iterable[str] = (),
    ) -> None:
        self._asked, self.dropped = held_out(collections, queries, depth, seed, learned)

    def __len__(self) -> int:
        return len(self._asked)

    def values(
        self, towers: Towers, trunk: Trunk, blends: Sequence[float]
    ) -> list[dict[str, list[float]]]:
        """nDCG@10 of every query, by collection, for every blend; always in the same order."""
        hidden = self._hidden(towers, trunk)
        found: list[dict[str, list[float]]] = [{} for _ in blends]
        for asked in self._asked:
            with torch.no_grad():
                shown = (asked.query, *(passage.content for passage in asked.passages))
                texts = (hidden[text] for text in shown)
                query, *passages = (text.to(towers.device).float() for text in texts)
                looks = towers.looks([query]), towers.looks(passages)
                scores = towers.scores(*looks)[0].tolist()
            for blend, values in zip(blends, found, strict=True):
                order, _ = blended_order(tuple(range(len(scores))), scores, blend)
                values.setdefault(asked.collection, []).append(asked.ndcg(order))
        return found

    def _hidden(self, towers: Towers, trunk: Trunk) -> dict[str, torch.Tensor]:
        shown = {p.content for asked in self._asked for p in asked.passages}
        texts = sorted(shown | {asked.query for asked in self._asked})
        most = trunk.encoder.max_tokens
        found: dict[str, torch.Tensor] = {}
        for first in range(0, len(texts), _TOGETHER):
            some = texts[first : first + _TOGETHER]
            with torch.no_grad():
                read = towers.encode(trunk.states(some, most))
            found.update(zip(some, (one.half().cpu() for one in read), strict=True))
        return found
