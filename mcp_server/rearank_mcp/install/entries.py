"""The entry that makes a host start our server, alone or before another one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rearank_agent.errors import InputError, SetupError
from rearank_agent.redact import redact
from rearank_mcp.install.hosts import (
    NAME,
    PASSED_VARIABLES,
    PER_FOLDER,
    Entry,
    Host,
    location,
    naming_errors,
    servers,
)

__all__ = ["command_of", "entry_notes", "proxy_entry", "server_entry", "unproxied_entry"]

_PROXY = ["mcp", "proxy"]
# The wrapped server gets the same environment, and may read an OPENAI_BASE_URL itself.
_READ_BY_THE_PROXY = tuple(name for name in PASSED_VARIABLES if name != "OPENAI_BASE_URL")


def server_entry(client: Host, roots: Sequence[str | Path], options: Sequence[str] = ()) -> Entry:
    """What a host needs to start our server: absolute paths, options as they are, no secrets.

    Raises:
        SetupError: our program is not found.
    """
    searched = [word for root in roots for word in ("--root", _absolute(root))]
    made: Entry = {"type": "stdio"} if client in PER_FOLDER else {}
    made |= {"command": _program(), "args": ["mcp", *searched, *options]}
    told = _told()
    return made | {"env": told} if told else made


def proxy_entry(client: Host, name: str, options: Sequence[str]) -> Entry:
    """The entry of a host's server with our proxy before it; what else stands in it stays.

    Raises:
        InputError: the host has no such server, or does not start it by a command.
        SetupError: our program is not found.
    """
    if "--" in options:
        raise InputError("the host's own command follows the proxy's options; leave out the --")
    before = unproxied_entry(client, name)
    told = {key: value for key, value in _told().items() if key in _READ_BY_THE_PROXY}
    command = [*_PROXY, *options, "--", *command_of(before)]
    made = before | {"command": _program(), "args": command}
    env = told | before.get("env", {})
    return made | {"env": env} if env else made


def unproxied_entry(client: Host, name: str) -> Entry:
    """The entry of a host's server without our proxy, and without what only that reads.

    Raises:
        InputError: the host has no such server, or does not start it by a command.
    """
    found, where = servers(client).get(name), location(client)
    if found is None:
        has = ", ".join(servers(client)) or "none"
        raise InputError(
            f"there is no server {name!r:.60} in {where}, there is {has}; add it to the host first"
        )
    words = command_of(found)
    if not words:
        raise InputError(
            f"{name} in {where} has no command with words as arguments, so nothing can wrap it"
        )
    given = found.get("env")
    bare = {key: value for key, value in found.items() if key != "env" or given}
    wrapped = Path(words[0]).stem == NAME and words[1:3] == _PROXY
    if not wrapped or "--" not in words[:-1]:
        return bare
    command, *args = words[words.index("--") + 1 :]
    own = {key: value for key, value in (given or {}).items() if not key.startswith("REARANK_")}
    return {**bare, "command": command, "args": args, "env": own}


def command_of(entry: object) -> list[str]:
    """The command of an entry, word for word; empty if it has none, or is no entry."""
    if not isinstance(entry, dict) or not isinstance(entry.get("env") or {}, dict):
        return []
    args = entry.get("args") or []
    words = [entry.get("command"), *(args if isinstance(args, list) else [None])]
    return words if words[0] and all(isinstance(word, str) for word in words) else []


def entry_notes() -> list[str]:
    """What of the environment `server_entry` leaves out, to be told to whoever installs it."""
    left_out = [
        f"{name} holds a login or a key and was left out; set it in the env of the entry yourself"
        for name, value in _environment().items()
        if redact(value) != value
    ]
    keys = sorted(name for name, value in os.environ.items() if name.endswith("_API_KEY") and value)
    own = [f"set {name} in the env of the entry yourself if the policy needs it" for name in keys]
    return left_out + own


def _told() -> dict[str, str]:
    """The environment's part of an entry, but for what is secret."""
    told = {name: value for name, value in _environment().items() if redact(value) == value}
    if "REARANK_CACHE" in told:
        told["REARANK_CACHE"] = _absolute(told["REARANK_CACHE"])
    return told


def _environment() -> dict[str, str]:
    return {name: value for name in PASSED_VARIABLES if (value := os.environ.get(name))}


def _absolute(path: str | Path) -> str:
    """The path from the root of the system; links stay, for what they lead to may change."""
    path = Path(path)
    with naming_errors(path):
        return os.path.realpath(path) if ".." in path.parts else str(path.absolute())


def _program() -> str:
    names = (f"{NAME}.exe", NAME) if sys.platform == "win32" else (NAME,)
    # The link is not followed: beside what it leads to are not the programs of its environment.
    beside = [Path(sys.executable).with_name(name) for name in names] if sys.executable else []
    found = next((path for path in beside if path.is_file()), None) or shutil.which(NAME)
    if not found:
        raise SetupError(f"there is no program {NAME} beside this Python nor on the PATH")
    return _absolute(found)
