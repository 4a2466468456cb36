"""The entry that makes a host start our server, or our proxy before another one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rearank_agent.errors import InputError, SetupError
from rearank_agent.redact import redact
from rearank_mcp.install.changes import servers
from rearank_mcp.install.config_file import naming_errors
from rearank_mcp.install.hosts import NAME, PASSED_VARIABLES, PER_FOLDER, Entry, Host, location

__all__ = ["command_of", "entry_notes", "proxy_entry", "server_entry", "unproxied_entry"]

_PROXY = ["mcp", "proxy"]
# The wrapped server gets the same environment, and may read an OPENAI_BASE_URL itself.
_PROXY_VARIABLES = tuple(name for name in PASSED_VARIABLES if name != "OPENAI_BASE_URL")


def server_entry(client: Host, roots: Sequence[str | Path], options: Sequence[str] = ()) -> Entry:
    """The entry of our server: absolute paths, options as they are, no secrets.

    Raises:
        SetupError: our program is not found.
    """
    root_options = [arg for root in roots for arg in ("--root", _absolute(root))]
    entry: Entry = {"type": "stdio"} if client in PER_FOLDER else {}
    entry |= {"command": _program(), "args": ["mcp", *root_options, *options]}
    env = _env()
    return entry | {"env": env} if env else entry


def proxy_entry(client: Host, name: str, options: Sequence[str]) -> Entry:
    """The entry of a host's server with our proxy before it; its other fields stay.

    Raises:
        InputError: the host has no such server, or does not start it by a command.
        SetupError: our program is not found.
    """
    if "--" in options:
        raise InputError("the host's own command follows the proxy's options; leave out the --")
    bare = unproxied_entry(client, name)
    own = {key: value for key, value in _env().items() if key in _PROXY_VARIABLES}
    command = [*_PROXY, *options, "--", *command_of(bare)]
    entry = bare | {"command": _program(), "args": command}
    env = own | bare.get("env", {})
    return entry | {"env": env} if env else entry


def unproxied_entry(client: Host, name: str) -> Entry:
    """The entry of a host's server without our proxy, and without the proxy's variables.

    Raises:
        InputError: the host has no such server, or does not start it by a command.
    """
    found, where = servers(client).get(name), location(client)
    if found is None:
        has = ", ".join(servers(client)) or "none"
        raise InputError(
            f"there is no server {name!r:.60} in {where}, there is {has}; add it to the host first"
        )
    parts = command_of(found)
    if not parts:
        raise InputError(
            f"{name} in {where} has no command with text arguments, so it cannot be wrapped"
        )
    env = found.get("env")
    bare = {key: value for key, value in found.items() if key != "env" or env}
    wrapped = Path(parts[0]).stem == NAME and parts[1:3] == _PROXY
    if not wrapped or "--" not in parts[:-1]:
        return bare
    command, *args = parts[parts.index("--") + 1 :]
    own = {key: value for key, value in (env or {}).items() if not key.startswith("REARANK_")}
    return {**bare, "command": command, "args": args, "env": own}


def command_of(entry: object) -> list[str]:
    """An entry's command and arguments; empty if it has none, or is not an entry."""
    if not isinstance(entry, dict) or not isinstance(entry.get("env") or {}, dict):
        return []
    args = entry.get("args") or []
    parts = [entry.get("command"), *(args if isinstance(args, list) else [None])]
    return parts if parts[0] and all(isinstance(part, str) for part in parts) else []


def entry_notes() -> list[str]:
    """Notes for the user on the variables that `server_entry` leaves out."""
    left_out = [
        f"{name} holds a login or a key and was left out; set it in the env of the entry yourself"
        for name, value in _environment().items()
        if redact(value) != value
    ]
    keys = sorted(name for name, value in os.environ.items() if name.endswith("_API_KEY") and value)
    own = [f"set {name} in the env of the entry yourself if the policy needs it" for name in keys]
    return left_out + own


def _env() -> dict[str, str]:
    """The `env` of an entry: variables that are set now, without secrets."""
    env = {name: value for name, value in _environment().items() if redact(value) == value}
    if "REARANK_CACHE" in env:
        env["REARANK_CACHE"] = _absolute(env["REARANK_CACHE"])
    return env


def _environment() -> dict[str, str]:
    return {name: value for name in PASSED_VARIABLES if (value := os.environ.get(name))}


def _absolute(path: str | Path) -> str:
    """The absolute path; symbolic links stay, since their targets may change."""
    path = Path(path)
    with naming_errors(path):
        return os.path.realpath(path) if ".." in path.parts else str(path.absolute())


def _program() -> str:
    names = (f"{NAME}.exe", NAME) if sys.platform == "win32" else (NAME,)
    # The link is not followed: the environment's programs are not beside its target.
    beside = [Path(sys.executable).with_name(name) for name in names] if sys.executable else []
    found = next((path for path in beside if path.is_file()), None) or shutil.which(NAME)
    if not found:
        raise SetupError(f"there is no program {NAME} beside this Python nor on the PATH")
    return _absolute(found)
