"""Policies made of policies: a cheap one before a dear one, and several at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from rearank_agent.errors import InputError
from rearank_agent.policies.blend import policy_scores
from rearank_agent.policies.protocol import Policy
from rearank_agent.schedules.composed import cascade_name, split_cascade
from rearank_agent.types import Reply, Step, Task, Window

__all__ = ["Cascade", "Composed", "Ensemble", "compose", "leaves", "own_scores"]


class Composed:
    """A policy made of others, each of which is asked by a schedule of its own.

    The reranker asks the parts, in the windows that suit each; see `auto_schedule`.

    Attributes:
        parts: in the order in which they are asked.
        name: the names of the parts, as `compose` reads them.
        fingerprint: the same of their fingerprints.
    """

    blend = 0.0
    window: int | None = None
    name = ""
    fingerprint = ""

    def __init__(self, parts: Sequence[Policy]) -> None:
        if len(parts) < 2:
            raise InputError(f"two policies or more are needed, not {len(parts)}")
        self.parts = tuple(parts)

    @property
    def scores(self) -> bool:
        """Whether the scores of its rankings compare."""
        return False

    @property
    def scale(self) -> float | None:
        """The upper bound of its scores."""
        return None

    async def judge(self, task: Task, window: Window) -> Reply:
        """What the last part says of a window."""
        return await self.parts[-1].judge(task, window)


class Cascade(Composed):
    """A policy on all passages, the next on the best of them, and so on; the rest stay behind.

    Scores are those of the last stage, for the passages that it ranked; the others have no score
    of their own.

    Args:
        stages: from cheap to dear.
        keep: how many of the best each stage but the first ranks.

    Raises:
        InputError: the numbers do not fit.
    """

    def __init__(self, stages: Sequence[Policy], keep: Sequence[int]) -> None:
        super().__init__(stages)
        self.keep = tuple(keep)
        if len(self.keep) != len(self.parts) - 1 or any(size < 1 for size in self.keep):
            shown = ", ".join(map(str, self.keep)) or "none"
            raise InputError(
                f"each stage but the first needs a number of passages, 1 or more: {shown}"
            )
        self.name = cascade_name([part.name for part in self.parts], self.keep)
        self.fingerprint = cascade_name([part.fingerprint for part in self.parts], self.keep)

    @property
    def scores(self) -> bool:
        """Whether those of the last stage compare."""
        return self.parts[-1].scores

    @property
    def scale(self) -> float | None:
        """The last stage's."""
        return self.parts[-1].scale


class Ensemble(Composed):
    """Several policies that all rank all passages; their orders are fused by reciprocal rank.

    Only ranks count, so that orders and scores of any scale mix; there are no scores.
    """

    def __init__(self, parts: Sequence[Policy]) -> None:
        super().__init__(parts)
        if any(isinstance(part, Cascade) for part in self.parts):
            raise InputError("a cascade cannot be part of an ensemble; the other way round works")
        self.name = "+".join(part.name for part in self.parts)
        self.fingerprint = "+".join(part.fingerprint for part in self.parts)


def leaves(policy: Policy) -> tuple[Policy, ...]:
    """The policies that are asked, in the order in which a schedule counts them."""
    if not isinstance(policy, Composed):
        return (policy,)
    return tuple(leaf for part in policy.parts for leaf in leaves(part))


def own_scores(policy: Policy, steps: Sequence[Step], order: Window) -> dict[int, float]:
    """The policy's own scores by position, as far as they compare.

    Of a cascade those of its last stage, if that scored all of its passages.

    Args:
        policy: that gave the ranking.
        steps: all windows.
        order: the final one.
    """
    if not policy.scores:
        return {}
    if not isinstance(policy, Composed):
        return dict(enumerate(policy_scores(steps, len(order)) or ()))
    last = len(leaves(policy)) - 1
    scores: dict[int, float] = {}
    for step in steps:
        if step.judge == last:
            scores.update(zip(step.window, step.reply.scores or (), strict=False))
    head = [scores.get(position) for position in order[: len(scores)]]
    known = [score for score in head if score is not None]
    whole = len(known) == len(scores) and known == sorted(known, reverse=True)
    return scores if whole else {}


def compose(name: str, make: Callable[[str], Policy], plain: Collection[str]) -> Policy:
    """The policy of a name, also of one made of several.

    Args:
        name: "A" is made as it is; "A+B" is an ensemble; "A,20,B" a cascade in which B ranks
            the best 20 of A, and "A,50,B+C,10,D" one of three stages.
        make: makes the policy of a plain name.
        plain: the names without a colon that `make` knows: a plus or a comma in another name
            may be part of it.

    Raises:
        InputError: numbers that do not fit, or what `make` raises.
    """
    if (found := split_cascade(name)) is None:
        first, comma, _ = name.partition(",")
        if comma and first.strip() in plain:
            raise InputError(
                f"{name!r} is no cascade: there is a number before each policy but the first, "
                "as in embedded,20,vllm:NAME"
            )
        return _ensemble(name, make, plain)
    stages, keep = found
    if len(keep) != len(stages) - 1:
        raise InputError(f"{name!r} must end with a policy, as in embedded,20,vllm:NAME")
    return Cascade([_ensemble(stage, make, plain) for stage in stages], keep)


def single_names(name: str, plain: Collection[str]) -> list[str]:
    """The names of the policies that a name is made of, as `compose` makes them."""
    stages, _ = split_cascade(name) or ([name], [])
    return [part for stage in stages for part in _parts(stage, plain)]


def _ensemble(name: str, make: Callable[[str], Policy], plain: Collection[str]) -> Policy:
    parts = _parts(name, plain)
    if not all(parts):
        raise InputError(f"{name!r} lacks a policy beside a plus, as in embedded+lexical")
    return make(name) if len(parts) == 1 else Ensemble([make(part) for part in parts])


def _parts(name: str, plain: Collection[str]) -> list[str]:
    """The policies of an ensemble; the name itself where it is none."""
    parts = [part.strip() for part in name.split("+")]
    known = [":" in part or part in plain for part in parts]
    return parts if all(known) or (len(parts) > 1 and parts[0] in plain) else [name]
