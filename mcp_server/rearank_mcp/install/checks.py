"""What is looked at before an entry is written, so that the host does not start it in vain."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from rearank_agent.errors import InputError, PolicyError, SetupError, UnsetError
from rearank_agent.policies.registry import policy
from rearank_agent.reranker import run_sync
from rearank_mcp.install.changes import ForeignFormError, servers
from rearank_mcp.install.hosts import NAME, Host, location

__all__ = ["check_name", "policy_warning"]

_NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")  # Gemini CLI: tools are mcp_SERVER_TOOL
_PATIENCE = 5.0  # seconds


def check_name(client: Host, name: str) -> None:
    """Check that an entry of ours may have this name in the host's file.

    Raises:
        InputError: not every host takes such a name, or another server has it.
    """
    if not _NAMES.fullmatch(name):
        raise InputError(
            f"{name!r:.60} is no name for an entry: letters, digits and hyphens, 40 at most, "
            "the first no hyphen"
        )
    try:
        found = None if name == NAME else servers(client).get(name)
    except ForeignFormError:  # whoever edits the file by hand sees what is there
        return
    if found is None:
        return
    command = found.get("command") if isinstance(found, dict) else None
    if not isinstance(command, str) or Path(command).stem != NAME:
        raise InputError(f"{name} in {location(client)} is another server; choose another --name")


def policy_warning(name: str) -> str:
    """Why a policy cannot rank now, as far as its server tells; "" if nothing is known.

    Raises:
        InputError: no policy has this name.
        SetupError: it needs a package that is missing, or its provider is not known.
    """
    try:
        chat: Any = getattr(policy(name), "chat", None)
    except UnsetError as error:  # the entry's env may have it
        return str(error)
    return run_sync(_look(chat)) if chat else ""


async def _look(chat: Any) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            await chat.check_served()
    except TimeoutError:
        return f"its server does not answer within {_PATIENCE:g} seconds"
    except (PolicyError, SetupError) as error:
        return str(error)
    finally:
        await chat.close()
    return ""
