"""The entry that makes a host start our server, alone or before another one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from mcp_server.hosts import NAME, OF_A_FOLDER, TOLD, Client, Entry, location, naming, servers
from rearank_agent.discretion import discreet
from rearank_agent.errors import InputError, SetupError

__all__ = ["entry", "notes", "proxied", "restored", "started_by"]

_PROXY = ["mcp", "proxy"]
# What only we read. Another server may want an OPENAI_BASE_URL of its own.
_OURS = [name for name in TOLD if name != "OPENAI_BASE_URL"]


def entry(client: Client, roots: Sequence[str | Path], options: Sequence[str] = ()) -> Entry:
    """What a host needs to start our server: absolute paths, options as they are, no secrets.

    Raises:
        SetupError: our program is not found.
    """
    searched = [word for root in roots for word in ("--root", _absolute(root))]
    made: Entry = {"type": "stdio"} if client in OF_A_FOLDER else {}
    made |= {"command": _program(), "args": ["mcp", *searched, *options]}
    told = _told()
    return made | {"env": told} if told else made


def proxied(client: Client, name: str, options: Sequence[str]) -> Entry:
    """The entry of a host's server with our proxy before it; what else stands in it stays.

    Raises:
        InputError: the host has no such server, or does not start it by a command.
        SetupError: our program is not found.
    """
    before = restored(client, name)
    ours = {key: value for key, value in _told().items() if key in _OURS}
    made = before | {
        "command": _program(),
        "args": [*_PROXY, *options, "--", *started_by(before)],
    }
    env = ours | before.get("env", {})
    return made | {"env": env} if env else made


def restored(client: Client, name: str) -> Entry:
    """The entry of a host's server without our proxy; as it is if it has none.

    Raises:
        InputError: the host has no such server, or does not start it by a command.
    """
    known = servers(client)
    where = location(client)
    if name not in known:
        has = ", ".join(known) or "none"
        raise InputError(f"there is no server {name!r:.60} in {where}; there is {has}")
    found = known[name]
    words = started_by(found) if isinstance(found, dict) else []
    if not words:
        raise InputError(f"{name} in {where} is not started by a command, so nothing can wrap it")
    if words[1:3] != _PROXY or "--" not in words:
        return dict(found)
    command, *args = words[words.index("--") + 1 :]
    env = {key: value for key, value in found.get("env", {}).items() if key not in _OURS}
    bare = {key: value for key, value in found.items() if key != "env"}
    return bare | {"command": command, "args": args} | ({"env": env} if env else {})


def started_by(entry: Entry) -> list[str]:
    """The command of an entry, word for word; empty if it has none."""
    args = entry.get("args", [])
    words = [entry.get("command"), *(args if isinstance(args, list) else [None])]
    return words if words[0] and all(isinstance(word, str) for word in words) else []


def notes() -> list[str]:
    """What of the environment `entry` leaves out, to be told to whoever installs it."""
    left_out = [
        f"{name} holds a login or a key and was left out; set it in the env of the entry yourself"
        for name, value in _environment().items()
        if discreet(value) != value
    ]
    keys = sorted(name for name, value in os.environ.items() if name.endswith("_API_KEY") and value)
    own = [f"set {name} in the env of the entry yourself if the policy needs it" for name in keys]
    return left_out + own


def _told() -> dict[str, str]:
    """The environment's part of an entry, but for what is secret."""
    told = {name: value for name, value in _environment().items() if discreet(value) == value}
    if "REARANK_CACHE" in told:
        told["REARANK_CACHE"] = _absolute(told["REARANK_CACHE"])
    return told


def _environment() -> dict[str, str]:
    return {name: value for name in TOLD if (value := os.environ.get(name))}


def _absolute(path: str | Path) -> str:
    """The path from the root of the system; links stay, for what they lead to may change."""
    path = Path(path)
    with naming(path):
        return os.path.realpath(path) if ".." in path.parts else str(path.absolute())


def _program() -> str:
    names = (f"{NAME}.exe", NAME) if sys.platform == "win32" else (NAME,)
    # The link is not followed: beside what it leads to are not the programs of its environment.
    beside = [Path(sys.executable).with_name(name) for name in names] if sys.executable else []
    found = next((path for path in beside if path.is_file()), None) or shutil.which(NAME)
    if not found:
        raise SetupError(f"there is no program {NAME} beside this Python nor on the PATH")
    return _absolute(found)
