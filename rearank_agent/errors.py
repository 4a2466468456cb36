"""The errors of the package, by who can fix them.

    RearankError
    ├── InputError      the caller: the query, passages, files or flags given
    ├── SetupError      whoever installed it: a missing extra, a file, a setting
    │   └── UnsetError  the same: a key or an address is not set in this environment
    ├── PolicyError     whoever runs the model: it failed, or answered nonsense
    └── BusyError       nobody: other work must finish first; try again in a moment

A policy that fails *inside* a request raises nothing: the passages keep their
order and the failure is in the ranking's `faults`.
"""

__all__ = [
    "BusyError", "InputError", "PolicyError", "RearankError", "SetupError", "UnsetError", "shown",
]  # fmt: skip


class RearankError(Exception):
    """Every error this package raises on purpose."""


class InputError(RearankError, ValueError):
    """The caller gave something that cannot be used; the message names it."""


class SetupError(RearankError):
    """Something is not installed or not configured; the message says how to fix it."""


class UnsetError(SetupError):
    """A key or an address that a model needs is not set; it may be where the model is used."""


class PolicyError(RearankError):
    """The model behind a policy failed; the message holds its error.

    Attributes:
        usage: its cost until then, a `Usage`; None if unknown.
    """

    def __init__(self, message: str, usage: object = None) -> None:
        super().__init__(message)
        self.usage = usage


class BusyError(RearankError):
    """Other work must finish first; try again in a moment."""


def shown(value: object) -> str:
    """A caller's value in a message: at most 60 characters of its repr, if it has one."""
    try:
        return repr(value)[:60]
    except Exception:  # of foreign objects; Python's own of an integer of 5,000 digits
        return "one that cannot be shown"
