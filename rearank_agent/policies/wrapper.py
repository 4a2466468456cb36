"""A policy around another one, with its name, scores, scale, blend and window."""

from __future__ import annotations

from rearank_agent.errors import InputError
from rearank_agent.policies.protocol import Policy

__all__ = ["WindowWrapper", "Wrapper"]


class Wrapper:
    """A policy around a policy.

    Attributes:
        policy: the wrapped one.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    @property
    def name(self) -> str:
        """The wrapped policy's name."""
        return self.policy.name

    @property
    def fingerprint(self) -> str:
        """The wrapped policy's fingerprint."""
        return self.policy.fingerprint

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


class WindowWrapper(Wrapper):
    """A wrapper of a policy that ranks each window on its own.

    Raises:
        InputError: the policy ranks the whole request at once.
    """

    def __init__(self, policy: Policy) -> None:
        if policy.window is None:
            raise InputError(
                f"the policy {policy.name} ranks by the whole request, "
                "so its windows can be neither cached nor shuffled"
            )
        super().__init__(policy)
