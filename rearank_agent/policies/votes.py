"""Votes: a window ranked in several orders, and the replies merged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from rearank_agent.errors import InputError
from rearank_agent.policies.protocol import Policy
from rearank_agent.policies.wrapper import WindowWrapper
from rearank_agent.types import NO_ANSWER, Fault, Ranking, Rationale, Reply, Task, Usage, Window

__all__ = ["Votes", "voted"]


class Votes(WindowWrapper):
    """The same window in k orders at once, merged by mean rank.

    The first vote sees the window as given, the others in seeded shuffles, so that the effect of
    the order in the prompt averages out (permutation self-consistency,
    arXiv 2310.07712). A reply without an answer is no vote.

    Attributes:
        policy: ranks; a policy with a window.
        k: how many times; 2 or more.
    """

    def __init__(self, policy: Policy, k: int) -> None:
        super().__init__(policy)
        if k < 2:
            raise InputError(f"there must be 2 votes or more: {k}")
        self.k = k

    @property
    def fingerprint(self) -> str:
        """The wrapped policy's, and the number of votes."""
        return f"{self.policy.fingerprint} votes={self.k}"

    async def judge(self, task: Task, window: Window) -> Reply:
        """The merged reply; `confidence` is how far the votes agree about each passage.

        Raises:
            PolicyError: every vote failed; the message is the first one's.
        """
        shuffles = [_shuffled(len(window), seed) for seed in range(self.k)]
        votings = (self.policy.judge(task, tuple(window[i] for i in s)) for s in shuffles)
        results = await asyncio.gather(*votings, return_exceptions=True)
        replies, errors = [], []
        for result, shuffle in zip(results, shuffles, strict=True):
            if isinstance(result, Reply):
                replies.append(_unshuffled(result, shuffle))
            elif isinstance(result, Exception):
                errors.append(result)
            else:
                raise result
        if not replies:
            raise errors[0]
        votes = [reply for reply in replies if reply.answered]
        merged = _merged(votes or replies[:1], replies)
        if len(votes) == self.k:
            return merged
        failed = (f.detail for reply in replies for f in reply.faults if f.kind == "failed")
        why = next((f"; {reason}" for reason in (*errors, *failed)), "")
        detail = f"{len(votes)} of {self.k} votes count{why}"
        faults = (f for f in merged.faults if f.kind not in NO_ANSWER or not votes)
        return replace(merged, faults=(*faults, Fault("votes", task.ids(window), detail)))


def _shuffled(n: int, seed: int) -> list[int]:
    order = list(range(n))
    if seed:
        random.Random(seed).shuffle(order)  # noqa: S311
    return order


def _unshuffled(reply: Reply, shuffle: Sequence[int]) -> Reply:
    """The reply to a shuffled window, for the window as given."""
    inverse = sorted(range(len(shuffle)), key=shuffle.__getitem__)
    return replace(
        reply,
        order=tuple(shuffle[i] for i in reply.order),
        scores=reply.scores and tuple(reply.scores[i] for i in inverse),
        rationales=reply.rationales and tuple(reply.rationales[i] for i in inverse),
    )


def _merged(votes: Sequence[Reply], replies: Sequence[Reply]) -> Reply:
    n = len(votes[0].order)
    ranks = [{passage: rank for rank, passage in enumerate(vote.order)} for vote in votes]
    order = sorted(range(n), key=lambda passage: fmean(rank[passage] for rank in ranks))
    scored = [vote.scores for vote in votes if vote.scores]
    if scored:
        scores = tuple(fmean(values) for values in zip(*scored, strict=True))
        order = sorted(order, key=lambda passage: -scores[passage])
    explained = [vote.rationales for vote in votes if vote.rationales]
    return Reply(
        order=tuple(order),
        scores=scores if scored else None,
        rationales=tuple(_first(texts) for texts in zip(*explained, strict=True)),
        confidence=_agreement(order, ranks) if len(votes) > 1 else (),
        reasoning="\n\n".join(vote.reasoning for vote in votes if vote.reasoning),
        faults=tuple(dict.fromkeys(fault for reply in replies for fault in reply.faults)),
        usage=sum((reply.usage for reply in replies), Usage()),
    )


def _first(rationales: Sequence[Rationale]) -> Rationale:
    return next((r for r in rationales if r.text or r.quotes), rationales[0])


def _agreement(order: Sequence[int], ranks: Sequence[dict[int, int]]) -> tuple[float, ...]:
    """For each passage the share of the others that votes put on the same side as `order` does."""
    place = {passage: rank for rank, passage in enumerate(order)}

    def share(one: int) -> float:
        others = [other for other in place if other != one]
        same = [
            (rank[one] < rank[other]) == (place[one] < place[other])
            for rank in ranks
            for other in others
        ]
        return fmean(same) if same else 1.0

    return tuple(share(passage) for passage in range(len(order)))


def voted(ranking: Ranking) -> bool:
    """Whether windows were ranked in several orders: then no number in a reply names a passage."""
    return any(part.startswith("votes=") for part in ranking.policy.split())
