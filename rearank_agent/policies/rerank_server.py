"""A rerank endpoint as the policy: a server that scores documents for a query."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from rearank_agent.llm.rerank_api import PROVIDERS, RerankAPI
from rearank_agent.policies.protocol import best_first, gaps_last, sigmoid
from rearank_agent.policies.quotes import Quotes
from rearank_agent.types import Fault, Reply, Task, Usage, Window

__all__ = ["RerankServer"]


class RerankServer:
    """Scores by a rerank endpoint: `rerank:MODEL`, `cohere:MODEL`, `jina:MODEL`, `voyage:MODEL`.

    Scores are those of the server where they lie in 0 to 1. A server that once gives a number
    outside gives logits: from then on all are put through the sigmoid.

    Quotes are those of the shipped encoder for the ten best passages of a window, and chosen by
    the query's terms for the others.

    Args:
        kind: one of `PROVIDERS`.
        model: what the server calls it.

    Raises:
        UnsetError: its address or key is not set.
        SetupError: the address cannot be used.
    """

    scores = True
    scale = 1.0
    blend = 0.0

    def __init__(self, kind: str, model: str) -> None:
        self.name = f"{kind}:{model}"
        self.window: int | None = PROVIDERS[kind].documents
        self._api = RerankAPI(kind, model)
        self._quotes = Quotes()
        self._gives_logits = False

    @property
    def fingerprint(self) -> str:
        """The name, the server's address, and whose quotes the best passages have."""
        return f"{self.name} at={self._api.base_url} {self._quotes.fingerprint}"

    async def judge(self, task: Task, window: Window) -> Reply:
        """Ask the server for the scores of the window.

        Raises:
            PolicyError: it could not be asked, refused, or gave no scores.
        """
        query = task.query if not task.instruction else f"{task.instruction}\n{task.query}"
        documents = [task.candidates[position].content for position in window]
        found = await self._api.scores(query, documents)
        raw = gaps_last(found.numbers)
        self._gives_logits |= any(not 0 <= n <= 1 for n in found.numbers if n is not None)
        order = best_first(raw)
        ids = task.ids(window)
        return Reply(
            order=order,
            scores=tuple(map(sigmoid, raw)) if self._gives_logits else raw,
            raw=raw,
            rationales=await asyncio.to_thread(self._quotes.of_window, task, window, order),
            faults=tuple(_named(fault, ids) for fault in found.faults),
            usage=Usage(calls=1, prompt_tokens=found.tokens),
        )


def _named(fault: Fault, ids: tuple[str, ...]) -> Fault:
    return replace(fault, ids=tuple(ids[int(place)] for place in fault.ids))
