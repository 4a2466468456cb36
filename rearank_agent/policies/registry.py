"""Who judges: the protocol every policy follows, and the names they go by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from rearank_agent.errors import InputError
from rearank_agent.types import Fault, Reply, Task, Window

__all__ = [
    "DEFAULT", "NAMES", "Fallback", "Policy", "best_first", "no_instruction", "policy", "share",
]  # fmt: skip

DEFAULT = "embedded"


@runtime_checkable
class Policy(Protocol):
    """A judge of windows.

    It sees the whole task, so that what belongs to the request (an idf, an encoding) is
    worked out once. `judge` never blocks the event loop and can be cancelled.
    """

    @property
    def name(self) -> str:
        """What a person asks for it by."""
        ...

    @property
    def fingerprint(self) -> str:
        """Name and all that its answers depend on: weights, template, format, sampling."""
        ...

    @property
    def scores(self) -> bool:
        """Whether its scores can be compared across windows of one task."""
        ...

    @property
    def scale(self) -> float | None:
        """The upper bound of its scores; None if they have none."""
        ...

    @property
    def blend(self) -> float:
        """The weight of the first-stage rank it is best mixed with; 0 for none."""
        ...

    @property
    def window(self) -> int | None:
        """The most passages it is shown at once; None for a judge of whole requests.

        A policy with a window judges by what stands in it alone. One without may look at all
        candidates of the task, and takes any number of them.
        """
        ...

    async def judge(self, task: Task, window: Window) -> Reply:
        """Order the passages at these positions of `task.candidates`.

        Raises:
            PolicyError: the judge failed; the message says what it said.
        """
        ...


def best_first(scores: Sequence[float]) -> tuple[int, ...]:
    """The positions of the scores from high to low; equal scores keep their order."""
    return tuple(sorted(range(len(scores)), key=lambda position: -scores[position]))


def share(score: float, scale: float | None) -> float:
    """A policy's score from 0 to 1: the part of its scale, or s / (1 + s) where it has none.

    The map is fixed, so that a threshold means the same in every request: what stands beside a
    passage does not move it, as the least and the highest score of a request would. A score
    below 0 counts as 0.
    """
    score = max(0.0, score)
    return score / (1 + score) if scale is None else min(1.0, score / scale)


def no_instruction(task: Task, policy: str) -> tuple[Fault, ...]:
    """The fault of a policy that cannot use the task's instruction, if there is one."""
    if not task.instruction:
        return ()
    return (Fault("instruction", detail=f"the policy {policy} cannot follow an instruction"),)


@dataclass(frozen=True)
class Fallback:
    """A policy in place of one that cannot run here; every reply says so.

    Attributes:
        stand_in: the policy that judges.
        detail: which policy it stands in for, why, and what would mend it.
    """

    stand_in: Policy
    detail: str

    @property
    def name(self) -> str:
        """The stand-in's name."""
        return self.stand_in.name

    @property
    def fingerprint(self) -> str:
        """The stand-in's fingerprint."""
        return self.stand_in.fingerprint

    @property
    def scores(self) -> bool:
        """Whether the stand-in's scores compare across windows."""
        return self.stand_in.scores

    @property
    def scale(self) -> float | None:
        """The stand-in's scale."""
        return self.stand_in.scale

    @property
    def blend(self) -> float:
        """The stand-in's own blend."""
        return self.stand_in.blend

    @property
    def window(self) -> int | None:
        """The stand-in's window."""
        return self.stand_in.window

    async def judge(self, task: Task, window: Window) -> Reply:
        """The stand-in's reply, with a fault `fallback`."""
        reply = await self.stand_in.judge(task, window)
        return replace(reply, faults=(Fault("fallback", detail=self.detail), *reply.faults))


def _embedded(top: str | None = None) -> Policy:
    try:
        from rearank_agent.policies.embedded.policy import Embedded
    except ImportError as error:
        if error.name not in ("numpy", "onnxruntime", "tokenizers"):
            raise
        reason = f"the embedded policy needs {error.name}: pip install onnxruntime tokenizers"
        return Fallback(_lexical(), f"lexical ranks instead; {reason}")
    return Embedded(top) if top else Embedded()


def _lexical() -> Policy:
    from rearank_agent.policies.lexical import Lexical

    return Lexical()


def _first_stage() -> Policy:
    from rearank_agent.policies.lexical import FirstStage

    return FirstStage()


NAMES: dict[str, Callable[[], Policy]] = {
    "embedded": _embedded,
    "lexical": _lexical,
    "first-stage": _first_stage,
}
"""Every policy by name; each imports what it needs when it is made."""


def policy(name: str = DEFAULT, **asking: Any) -> Policy:
    """The policy of a name.

    Args:
        name: "embedded", "lexical", "first-stage", "embedded:NAME" for other weights (those of
            `embedded.shipped`, or a folder), or a model as "provider:model": "vllm:NAME" for one
            behind vLLM, "anthropic:NAME", "openai:NAME" and all others that pydantic-ai knows.
        asking: how a model is asked: the keywords of `llm.LLM`, as in `think=False`.

    Raises:
        InputError: no policy has this name, or it is not asked in words.
        SetupError: it is known, but something it needs is missing or damaged.
    """
    provider, _, rest = name.partition(":")
    if provider and rest and provider not in NAMES:
        from rearank_agent.llm.policy import LLM  # pydantic-ai takes most of a second to import

        return LLM(name, **asking)
    top = rest if provider == "embedded" else ""
    if name not in NAMES and not top:
        raise InputError(
            f"no policy is called {name!r}; there are: {', '.join(NAMES)}, "
            "and models as vllm:NAME, openai:NAME, anthropic:NAME, ..."
        )
    if asking:
        raise InputError(f"the policy {name} is not asked in words: {', '.join(asking)}")
    return _embedded(top) if top else NAMES[name]()
