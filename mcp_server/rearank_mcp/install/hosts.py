"""The configuration files of hosts: their paths, and a server's entry added and removed."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any

from rearank_agent.errors import InputError, SetupError
from rearank_agent.redact import redact

__all__ = [
    "HOSTS", "NAME", "PASSED_VARIABLES", "PER_FOLDER", "Change", "Entry", "Host", "entry_json",
    "install", "location", "naming_errors", "servers", "uninstall",
]  # fmt: skip

NAME = "rearank-agent"
PASSED_VARIABLES = (
    "REARANK_POLICY", "REARANK_DEADLINE", "REARANK_CACHE", "REARANK_CALLS", "VLLM_BASE_URL",
    "OPENAI_BASE_URL",
)  # fmt: skip
"""Hosts do not inherit the environment of a shell: these go into the entry."""

Entry = dict[str, Any]


class Host(StrEnum):
    """A host that starts MCP servers by itself."""

    claude_desktop = "claude-desktop"
    claude_code = "claude-code"
    cursor = "cursor"
    vscode = "vscode"


HOSTS = tuple(Host)
PER_FOLDER = (Host.claude_code, Host.vscode)


@dataclass(frozen=True)
class Change:
    """A change of a host's file.

    Attributes:
        path, changed: the file, where the host looks for it, and whether it was written.
        message: what was done, in a sentence.
        backup: the copy of the old file; None if there was none, or nothing changed.
    """

    path: Path
    changed: bool
    message: str
    backup: Path | None = None


def location(client: Host) -> Path:
    """The file in which a host keeps its servers: the user's, or that of the current folder.

    Raises:
        SetupError: there is no home or no current folder.
    """
    with naming_errors(f"the configuration file of {client}"):
        home = Path.home()
        here = Path.cwd() if client in PER_FOLDER else home
    if sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    elif sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return {
        Host.claude_desktop: base / "Claude" / "claude_desktop_config.json",
        Host.claude_code: here / ".mcp.json",
        Host.cursor: home / ".cursor" / "mcp.json",
        Host.vscode: here / ".vscode" / "mcp.json",
    }[client]


def servers(client: Host) -> dict[str, Any]:
    """The entries in the host's file, by name; raises as `install` does."""
    by_hand = "put `rearank-agent mcp proxy OPTIONS --` before a server's command by hand"
    _, config = _read(location(client), _key(client), by_hand)
    found: dict[str, Any] = config.get(_key(client), {})
    return found


def entry_json(client: Host, entry: Entry, name: str = NAME) -> str:
    """The entry as JSON, inside the objects that are around it in the host's file."""
    return _json({_key(client): {name: entry}})


def install(client: Host, entry: Entry, name: str = NAME) -> Change:
    """Add the entry to the host's file; all else in it stays, and so do variables set by hand.

    Raises:
        InputError: the file is not in the host's format; it is left as it is.
        SetupError: the file cannot be read or written.
    """
    path = location(client)
    before, config = _read(path, _key(client))
    servers = config.setdefault(_key(client), {})
    old = servers.get(name)
    new = _with_user_env(entry, old)
    if old == new:
        return Change(path, False, f"{name} in {path} is up to date already")
    message = f"replaced {name} in {path}" if name in servers else f"added {name} to {path}"
    servers[name] = new
    return Change(path, True, message, _write(path, before, config))


def uninstall(client: Host, name: str = NAME) -> Change:
    """Remove the entry from the host's file; nothing changes if it is not there.

    Raises:
        InputError, SetupError: as `install` does.
    """
    path = location(client)
    before, config = _read(path, _key(client))
    if name not in config.get(_key(client), {}):
        return Change(path, False, f"there is no {name} in {path}")
    del config[_key(client)][name]
    return Change(path, True, f"removed {name} from {path}", _write(path, before, config))


def _key(client: Host) -> str:
    return "servers" if client is Host.vscode else "mcpServers"


def _with_user_env(entry: Entry, old: Any) -> Entry:
    """The entry with those variables of the old one that only the user can have set."""
    env = old.get("env") if isinstance(old, dict) else None
    old_env = env.items() if isinstance(env, dict) else ()
    own = {n: v for n, v in old_env if n not in PASSED_VARIABLES or redact(str(v)) != str(v)}
    return entry | {"env": own | entry.get("env", {})} if own else entry


def _read(
    path: Path, key: str, by_hand: str = "--print shows what to add by hand"
) -> tuple[bytes | None, dict[str, Any]]:
    """The file's content, as bytes (None: there is no file) and as an object."""
    with naming_errors(path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None, {}
    try:
        text = data.decode("utf-8-sig")
        config = json.loads(text) if text.strip() else {}
        _json(config)  # fails here, not when it is written, if it is no valid JSON
        wrong = "" if isinstance(config, dict) else "is not a JSON object: line 1 column 1"
        if not wrong and not isinstance(config.get(key, {}), dict):
            wrong = f"has no JSON object as {key!r}"
    except UnicodeDecodeError as error:
        lines = data[: error.start].split(b"\n")
        wrong = f"is not UTF-8: line {len(lines)} column {len(lines[-1]) + 1}"
    except (ValueError, RecursionError) as error:
        wrong = f"is not valid JSON: {error}"
    if wrong:
        raise InputError(f"{path} {wrong}; nothing was changed, {by_hand}")
    return data, config


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def _write(path: Path, before: bytes | None, config: dict[str, Any]) -> Path | None:
    """Replace the file in one step, after a backup of the old one; gives the backup's path."""
    # A lone surrogate, which JSON can hold and UTF-8 cannot, is escaped as in JSON.
    data = f"{_json(config)}\n".encode(errors="backslashreplace")
    with naming_errors(path):
        real = Path(os.path.realpath(path))
        real.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o600 if before is None else real.stat().st_mode & 0o777
        with tempfile.TemporaryDirectory(dir=real.parent, prefix=f".{real.name}.") as folder:
            new = Path(folder) / real.name
            _fill(new, data, mode)
            backup = None if before is None else _backup(real, before, mode)
            new.replace(real)
    return backup


def _backup(real: Path, data: bytes, mode: int) -> Path:
    """A copy beside the file; it overwrites no other one, even in the same second."""
    stamp = f"{real.name}.{time.strftime('%Y%m%d-%H%M%S')}"
    names = (f"{stamp}-{number}.bak" if number > 1 else f"{stamp}.bak" for number in count(1))
    copy = next(path for path in map(real.with_name, names) if not path.exists())
    copy.touch(0o600, exist_ok=False)
    _fill(copy, data, mode)
    return copy


def _fill(path: Path, data: bytes, mode: int) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)


@contextmanager
def naming_errors(what: object) -> Iterator[None]:
    """Turn errors of the system into a SetupError that names what they are about."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise SetupError(f"{what}: {getattr(error, 'strerror', None) or error}") from None
