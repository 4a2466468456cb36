"""The optional parts of an install: whether they are there, and the line that adds one."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rearank_agent.errors import SetupError

__all__ = ["install_line", "pip_line", "require"]

_NAME = "rearank-agent"


def install_line(extra: str) -> str:
    """The line that installs one of our extras for this interpreter.

    From the checkout where this was installed from one, since a release may not have it yet.
    """
    return pip_line(_source(extra))


def pip_line(what: str) -> str:
    """The line that installs a package for this interpreter."""
    python = sys.executable or "python"
    pip = f"{python} -m pip install"
    if find_spec("pip") is None:  # an environment that uv made
        pip = f"uv pip install --python {python}"
    return f"{pip} {what}"


def _source(extra: str) -> str:
    try:
        origin = json.loads(distribution(_NAME).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        origin = {}
    folder, url = origin.get("dir_info"), urlsplit(str(origin.get("url", "")))
    if folder is None or url.scheme != "file":
        return f"'{_NAME}[{extra}]'"
    editable = "-e " if folder.get("editable") else ""
    return f"{editable}'{url2pathname(url.path)}[{extra}]'"


def require(feature: str, extra: str, *modules: str) -> None:
    """Check that the modules of an extra are installed, before work that needs them begins.

    Args:
        feature: what needs them, for the message.
        extra: the one that installs them.
        modules: top-level ones; nothing is imported.

    Raises:
        SetupError: one is missing; the message has the line that installs it.
    """
    for module in modules:
        if find_spec(module) is None:
            line = install_line(extra)
            raise SetupError(f"{feature} needs {module}, which is not installed: {line}")
