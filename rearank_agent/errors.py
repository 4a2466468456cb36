"""What can go wrong, by who can mend it.

    RearankError
    ├── InputError      the caller: the query, passages, files or flags given
    ├── SetupError      whoever installed it: a missing extra, a file, a setting
    ├── PolicyError     whoever runs the model: it failed, or answered nonsense
    └── BusyError       nobody: it is still at work, and can be asked again in a moment

A policy that fails *inside* a request raises nothing: the passages keep their
order and the failure stands in the ranking's `faults`.
"""

__all__ = ["BusyError", "InputError", "PolicyError", "RearankError", "SetupError"]


class RearankError(Exception):
    """Every error this package raises on purpose."""


class InputError(RearankError, ValueError):
    """The caller gave something that cannot be used; the message names it."""


class SetupError(RearankError):
    """Something is not installed or not configured; the message says how to mend it."""


class PolicyError(RearankError):
    """The judge behind a policy failed; the message holds what it said.

    Attributes:
        usage: what it had cost until then, a `Usage`; None if nothing is known.
    """

    def __init__(self, message: str, usage: object = None) -> None:
        super().__init__(message)
        self.usage = usage


class BusyError(RearankError):
    """It is still at work on something that must come first; ask again in a moment."""
