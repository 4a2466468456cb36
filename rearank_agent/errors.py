"""What can go wrong, by who can mend it.

    RearankError
    ├── InputError      the caller: the query, passages, files or flags given
    ├── SetupError      whoever installed it: a missing extra, a file, a setting
    ├── PolicyError     whoever runs the model: it failed, or answered nonsense
    └── BusyError       nobody: it is still at work, and can be asked again in a moment

A policy that fails *inside* a request raises nothing: the passages keep their
order and the failure stands in the ranking's `faults`.
"""

import sys
from importlib.util import find_spec

__all__ = [
    "BusyError", "InputError", "PolicyError", "RearankError", "SetupError", "install_line",
    "require",
]  # fmt: skip


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


def install_line(extra: str) -> str:
    """The line that installs one of our extras for this interpreter."""
    return f"{sys.executable or 'python'} -m pip install 'rearank-agent[{extra}]'"


def require(what: str, extra: str, *modules: str) -> None:
    """Check that what an extra brings is installed, before work that needs it begins.

    Args:
        what: needs it, for the message.
        extra: the one that brings it.
        modules: top-level ones; nothing is imported.

    Raises:
        SetupError: one is missing; the message has the line to type.
    """
    for module in modules:
        if find_spec(module) is None:
            raise SetupError(f"{what} needs {module}: {install_line(extra)}")
