"""Rewards of orders and of replies: the measures and the parser of evaluation.

A set of n passages has n *gains* in its first-stage order; an *order* holds positions from 0,
best first. The ideal is that of the set itself (REARANK, arXiv 2505.20046, section 3).

TRL calls a reward with a batch, and gets a list:

    reward(completions=[...], grades=[...])     # one entry a completion, other columns as they are

and rewards of orders, which the embedded policy learns from, have a second call:

    reward.of_orders(orders, gains)             # many orders of one set

A reply is parsed by `listwise.parse_reply`: what is rewarded is what is served. So a reply without
an answer keeps the first stage's order, and has the reward of that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from rearank_agent.errors import InputError
from rearank_agent.listwise import parse_reply
from rearank_agent.metrics import ndcg, rbo, recall
from rearank_training.rows.reply_form import Thought, is_complete, is_tagged

__all__ = [
    "REWARDS", "CompleteList", "Ndcg", "OrderReward", "Rbo", "Rearank", "ReasonRank", "Recall",
    "RelativeNdcg", "Reward", "Tags", "relative_ndcg", "reward_by_name",
]  # fmt: skip


def relative_ndcg(new: Sequence[float], initial: Sequence[float], k: int = 10) -> float:
    """The gain in nDCG as a share of the possible gain; at most 1, and not clipped below.

    (nDCG(new) - nDCG(initial)) / (nDCG(best) - nDCG(initial)), and 0 where the initial order is
    best already (arXiv 2505.20046, section 3).

    Args:
        new: the gains of all passages of the set in their new order.
        initial: the same in first-stage order.
        k: the cutoff.
    """
    start, best = ndcg(initial, initial, k), ndcg(sorted(initial, reverse=True), initial, k)
    return (ndcg(new, initial, k) - start) / (best - start) if best != start else 0.0


@dataclass(frozen=True)
class Reward(ABC):
    """The reward of a reply."""

    name: ClassVar[str]

    @property
    def __name__(self) -> str:
        return self.name  # TRL logs a reward by this

    def __call__(
        self, completions: Sequence[Any], grades: Sequence[Sequence[float]], **_columns: Any
    ) -> list[float]:
        """The rewards of a batch.

        Args:
            completions: strings, or chats whose last message is the reply.
            grades: of the passages as they were shown, one list per completion.
        """
        return [
            self.of_reply(one if isinstance(one, str) else one[-1]["content"], gains)
            for one, gains in zip(completions, grades, strict=True)
        ]

    @abstractmethod
    def of_reply(self, reply: str, gains: Sequence[float]) -> float:
        """The reward of one reply about passages with these gains."""


@dataclass(frozen=True)
class OrderReward(Reward):
    """The reward of an order, whatever the form of the reply."""

    @abstractmethod
    def of_order(self, order: Sequence[int], gains: Sequence[float]) -> float:
        """The reward of a permutation of the positions of `gains`."""

    def of_orders(self, orders: Sequence[Sequence[int]], gains: Sequence[float]) -> list[float]:
        """The rewards of several orders of one set."""
        return [self.of_order(order, gains) for order in orders]

    def of_reply(self, reply: str, gains: Sequence[float]) -> float:
        """The reward of the order that is parsed from the reply."""
        return self.of_order(parse_reply(reply, len(gains)).order, gains)


@dataclass(frozen=True)
class RelativeNdcg(OrderReward):
    """`relative_ndcg`: at most 1, 0 for the first stage's order."""

    name = "relative_ndcg"
    k: int = 10

    def of_order(self, order: Sequence[int], gains: Sequence[float]) -> float:
        """At most 1; below 0 where the order is worse than the first stage's."""
        return relative_ndcg(_ranked(order, gains), gains, self.k)


@dataclass(frozen=True)
class Ndcg(OrderReward):
    """nDCG, 0 to 1."""

    name = "ndcg"
    k: int = 10

    def of_order(self, order: Sequence[int], gains: Sequence[float]) -> float:
        """0 to 1."""
        return ndcg(_ranked(order, gains), gains, self.k)


@dataclass(frozen=True)
class Recall(OrderReward):
    """The share of the set's relevant passages in the first k, 0 to 1."""

    name = "recall"
    k: int = 10

    def of_order(self, order: Sequence[int], gains: Sequence[float]) -> float:
        """0 to 1; less than 1 at best where more than k passages are relevant."""
        return recall(_ranked(order, gains), sum(gain > 0 for gain in gains), self.k)


@dataclass(frozen=True)
class Rbo(OrderReward):
    """Rank-biased overlap with the best order, 0 to 1.

    The best order is by gain; equal gains stay in first-stage order.
    """

    name = "rbo"
    p: float = 0.9

    def of_order(self, order: Sequence[int], gains: Sequence[float]) -> float:
        """0 to 1; 1 for that best order alone."""
        best = sorted(range(len(gains)), key=lambda position: -gains[position])
        return rbo(order, best, self.p)


@dataclass(frozen=True)
class ReasonRank(OrderReward):
    """nDCG@10 + 0.2 recall@10 + 0.1 RBO; 0 for a malformed list and -1 for malformed tags.

    ReasonRank's sum (arXiv 2508.07050). Its published code takes the plain mean of the overlaps
    with a teacher's order; here they are weighted by p = 0.9 and the best order is by grade.
    """

    name = "reasonrank"
    thought: Thought = "written"

    def of_order(self, order: Sequence[int], gains: Sequence[float]) -> float:
        """0 to 1.3."""
        parts = (Ndcg(), 1.0), (Recall(), 0.2), (Rbo(), 0.1)
        return sum(weight * part.of_order(order, gains) for part, weight in parts)

    def of_reply(self, reply: str, gains: Sequence[float]) -> float:
        """-1 to 1.3."""
        if not is_tagged(reply, self.thought):
            return -1.0
        return super().of_reply(reply, gains) if is_complete(reply, len(gains)) else 0.0


@dataclass(frozen=True)
class Tags(Reward):
    """1 if what was asked for is in its tags, each once and in this order; else 0."""

    name = "tags"
    thought: Thought = "written"

    def of_reply(self, reply: str, gains: Sequence[float]) -> float:  # noqa: ARG002
        """0 or 1."""
        return float(is_tagged(reply, self.thought))


@dataclass(frozen=True)
class CompleteList(Reward):
    """1 if the answer names every passage once and nothing else; else 0.

    The published check accepts a single identifier.
    """

    name = "complete_list"

    def of_reply(self, reply: str, gains: Sequence[float]) -> float:
        """0 or 1."""
        return float(is_complete(reply, len(gains)))


@dataclass(frozen=True)
class Rearank(Reward):
    """0.8 relative nDCG + 0.1 tags + 0.1 complete list: the paper's, but for the list's check."""

    name = "rearank"
    thought: Thought = "written"

    def of_reply(self, reply: str, gains: Sequence[float]) -> float:
        """At most 1."""
        return self.of_gain(RelativeNdcg().of_reply(reply, gains), reply, gains)

    def of_gain(self, gain: float, reply: str, gains: Sequence[float]) -> float:
        """The same with a gain that is computed elsewhere, as of a complete list."""
        form = Tags(self.thought).of_reply(reply, gains) + CompleteList().of_reply(reply, gains)
        return 0.8 * gain + 0.1 * form


REWARDS: Mapping[str, Reward] = {
    reward.name: reward
    for reward in (
        RelativeNdcg(), Ndcg(), Recall(), Rbo(), ReasonRank(), Tags(), CompleteList(), Rearank(),
    )
}  # fmt: skip
"""By the name on the command line."""


def reward_by_name(name: str, thought: Thought = "written") -> Reward:
    """The reward of that name, for replies of which this is asked.

    Raises:
        InputError: there is none.
    """
    if name not in REWARDS:
        raise InputError(f"there is no reward {name!r}; there are: {', '.join(REWARDS)}")
    reward = REWARDS[name]
    if isinstance(reward, Rearank | ReasonRank | Tags):
        return replace(reward, thought=thought)
    return reward


def _ranked(order: Sequence[int], gains: Sequence[float]) -> list[float]:
    return [gains[position] for position in order]
