"""Policies that wrap a policy: what was said before, and what several readings agree on."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from statistics import fmean

from rearank_agent.errors import InputError, PolicyError, SetupError
from rearank_agent.policies.registry import Policy
from rearank_agent.store import Store
from rearank_agent.types import Fault, Rationale, Reply, Task, Usage, Window

__all__ = ["Cached", "Votes"]


class _Wrapped:
    """A policy that judges through another one."""

    def __init__(self, policy: Policy) -> None:
        if policy.window is None:
            raise InputError(
                f"the policy {policy.name} judges by the whole request, "
                "so its windows can neither be kept nor shuffled"
            )
        self.policy = policy

    @property
    def name(self) -> str:
        """The wrapped policy's name."""
        return self.policy.name

    @property
    def scores(self) -> bool:
        """Whether the wrapped policy's scores compare across windows."""
        return self.policy.scores

    @property
    def scale(self) -> float | None:
        """The wrapped policy's scale."""
        return self.policy.scale

    @property
    def blend(self) -> float:
        """The wrapped policy's own blend."""
        return self.policy.blend

    @property
    def window(self) -> int | None:
        """The wrapped policy's window."""
        return self.policy.window


def _answered(reply: Reply) -> bool:
    return all(fault.kind != "unreadable" for fault in reply.faults)


class Cached(_Wrapped):
    """Replies are kept, and given again for the same window of the same question.

    What is the same: the policy's fingerprint, the query, the instruction, and titles and texts
    of the window in their order. Ids do not count. Errors and replies without an answer are not
    kept.

    Attributes:
        policy: who judges what is not kept yet; a policy with a window.
        store: where replies are kept.
        replay: whether only kept replies are given; others are a PolicyError.
    """

    def __init__(self, policy: Policy, store: Store, *, replay: bool = False) -> None:
        super().__init__(policy)
        self.store = store
        self.replay = replay

    @property
    def fingerprint(self) -> str:
        """The wrapped policy's: the replies are its own."""
        return self.policy.fingerprint

    async def judge(self, task: Task, window: Window) -> Reply:
        """The kept reply with `usage.hits` 1, else the policy's.

        A store that cannot be used is the fault `cache`, not an error.

        Raises:
            PolicyError: as the policy raises it; or when replaying, the reply is not kept.
        """
        key, ids = self._key(task, window), task.ids(window)
        fault: tuple[Fault, ...] = ()
        try:
            kept = await asyncio.to_thread(self.store.get, key)
            if kept is not None:
                return _named(Reply.from_json(kept), ids)
        except (SetupError, InputError) as error:
            fault = (Fault("cache", (), str(error)),)
        if self.replay:
            why = fault[0].detail if fault else f"no reply is kept in {self.store.path}"
            raise PolicyError(f"replaying, and {why}")
        reply = await self.policy.judge(task, window)
        if _answered(reply):  # another may be, next time
            try:
                await asyncio.to_thread(self.store.put, key, _numbered(reply, ids).to_json())
            except SetupError as error:
                fault = (Fault("cache", (), str(error)),)
        return replace(reply, faults=(*reply.faults, *fault)) if fault else reply

    def _key(self, task: Task, window: Window) -> str:
        shown = [[task.candidates[p].title, task.candidates[p].text] for p in window]
        parts = [self.fingerprint, task.query, task.instruction, shown]
        return sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def _numbered(reply: Reply, ids: Sequence[str]) -> Reply:
    """The reply with places in the window for ids, as it is kept."""
    places = {id_: str(place) for place, id_ in enumerate(ids)}
    return _renamed(reply, places)


def _named(reply: Reply, ids: Sequence[str]) -> Reply:
    """A kept reply with this window's ids, and at no cost."""
    kept = _renamed(reply, {str(place): id_ for place, id_ in enumerate(ids)})
    return replace(kept, usage=Usage(hits=1))


def _renamed(reply: Reply, names: dict[str, str]) -> Reply:
    faults = (replace(f, ids=tuple(names.get(i, i) for i in f.ids)) for f in reply.faults)
    return replace(reply, faults=tuple(faults))


class Votes(_Wrapped):
    """The same window in k orders at once, merged by mean rank.

    The first vote sees the window as it stands, the others in seeded shuffles, so that what a
    judge owes to the order it was shown in averages out (permutation self-consistency,
    arXiv 2310.07712). A reply without an answer is no vote.

    Attributes:
        policy: who judges; a policy with a window.
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
            PolicyError: no vote could be had; the message is the first one's.
        """
        shuffles = [_shuffled(len(window), seed) for seed in range(self.k)]
        judging = (self.policy.judge(task, tuple(window[i] for i in s)) for s in shuffles)
        said = await asyncio.gather(*judging, return_exceptions=True)
        replies, errors = [], []
        for reply, shuffle in zip(said, shuffles, strict=True):
            if isinstance(reply, Reply):
                replies.append(_unshuffled(reply, shuffle))
            elif isinstance(reply, Exception):
                errors.append(reply)
            else:
                raise reply
        if not replies:
            raise errors[0]
        votes = [reply for reply in replies if _answered(reply)]
        merged = _merged(votes or replies[:1], replies)
        if len(votes) == self.k:
            return merged
        why = f"; {errors[0]}" if errors else ""
        detail = f"{len(votes)} of {self.k} votes count{why}"
        faults = (f for f in merged.faults if f.kind != "unreadable" or not votes)
        return replace(merged, faults=(*faults, Fault("votes", task.ids(window), detail)))


def _shuffled(n: int, seed: int) -> list[int]:
    order = list(range(n))
    if seed:
        random.Random(seed).shuffle(order)  # noqa: S311
    return order


def _unshuffled(reply: Reply, shuffle: Sequence[int]) -> Reply:
    """What was said of a shuffled window, about the window as it stood."""
    back = sorted(range(len(shuffle)), key=shuffle.__getitem__)
    return replace(
        reply,
        order=tuple(shuffle[i] for i in reply.order),
        scores=reply.scores and tuple(reply.scores[i] for i in back),
        rationales=reply.rationales and tuple(reply.rationales[i] for i in back),
    )


def _merged(votes: Sequence[Reply], replies: Sequence[Reply]) -> Reply:
    n = len(votes[0].order)
    ranks = [{passage: rank for rank, passage in enumerate(vote.order)} for vote in votes]
    order = sorted(range(n), key=lambda passage: fmean(rank[passage] for rank in ranks))
    scored = [vote.scores for vote in votes if vote.scores]
    if scored:
        scores = tuple(fmean(values) for values in zip(*scored, strict=True))
        order = sorted(order, key=lambda passage: -scores[passage])
    said = [vote.rationales for vote in votes if vote.rationales]
    return Reply(
        order=tuple(order),
        scores=scores if scored else None,
        rationales=tuple(_first(texts) for texts in zip(*said, strict=True)),
        confidence=_agreement(order, ranks) if len(votes) > 1 else (),
        reasoning="\n\n".join(vote.reasoning for vote in votes if vote.reasoning),
        faults=tuple(dict.fromkeys(fault for reply in replies for fault in reply.faults)),
        usage=sum((reply.usage for reply in replies), Usage()),
    )


def _first(rationales: Sequence[Rationale]) -> Rationale:
    return next((r for r in rationales if r.text or r.quotes), rationales[0])


def _agreement(order: Sequence[int], ranks: Sequence[dict[int, int]]) -> tuple[float, ...]:
    """For each passage the share of the others that votes put on the same side as the order."""
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
