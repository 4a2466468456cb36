"""A server's entry added to a host's file, and removed from it; all else stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rearank_agent.errors import InputError
from rearank_agent.redact import redact
from rearank_mcp.install import json_form, toml_form
from rearank_mcp.install.config_file import read_file, write_file
from rearank_mcp.install.hosts import NAME, PASSED_VARIABLES, Entry, Host, key_of, location

__all__ = ["Change", "ForeignFormError", "entry_text", "install", "servers", "uninstall"]


_ADD = "add the entry by hand"


class ForeignFormError(InputError):
    """A host's file that cannot be edited without a risk to what is in it."""


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


def servers(client: Host) -> dict[str, Any]:
    """The entries in the host's file, by name; raises as `install` does."""
    by_hand = "put `rearank-agent mcp proxy OPTIONS --` before a server's command by hand"
    return _read(client, by_hand)[2]


def entry_text(client: Host, entry: Entry, name: str = NAME) -> str:
    """The entry as it is written in the host's file, with what is around it."""
    text: str = _form(client).entry_text(key_of(client), name, entry)
    return text


def install(client: Host, entry: Entry, name: str = NAME) -> Change:
    """Add the entry to the host's file; all else in it stays, and so do keys set by hand.

    Raises:
        ForeignFormError: the file cannot be edited safely; it is left as it is.
        SetupError: the file cannot be read or written.
    """
    path = location(client)
    before, text, found = _read(client)
    old = found.get(name)
    new = _with_user_keys(entry, old)
    if old == new:
        return Change(path, False, f"{name} in {path} is up to date already")
    message = f"replaced {name} in {path}" if name in found else f"added {name} to {path}"
    return Change(path, True, message, _write(client, before, text, name, new))


def uninstall(client: Host, name: str = NAME) -> Change:
    """Remove the entry from the host's file; nothing changes if it is not there.

    Raises:
        ForeignFormError, SetupError: as `install` does.
    """
    path = location(client)
    before, text, found = _read(client, f"remove {name} by hand")
    if name not in found:
        return Change(path, False, f"there is no {name} in {path}")
    backup = _write(client, before, text, name, None)
    return Change(path, True, f"removed {name} from {path}", backup)


def _with_user_keys(entry: Entry, old: Any) -> Entry:
    """The entry with what only the user can have set in the old one: keys, and variables."""
    if not isinstance(old, dict):
        return entry
    env = old.get("env")
    old_env = env.items() if isinstance(env, dict) else ()
    own = {n: v for n, v in old_env if n not in PASSED_VARIABLES or redact(str(v)) != str(v)}
    if own:
        entry = entry | {"env": own | entry.get("env", {})}
    if "command" not in old:  # what belongs to a URL does not fit a command
        return entry
    return {key: entry.get(key, value) for key, value in old.items() if key != "env"} | entry


def _form(client: Host) -> ModuleType:
    return toml_form if client is Host.codex else json_form


def _read(client: Host, by_hand: str = _ADD) -> tuple[bytes | None, str, dict[str, Any]]:
    """The file's bytes (None: there is no file), its text, and the servers in it."""
    path, key = location(client), key_of(client)
    data = read_file(path)
    try:
        text = (data or b"").decode("utf-8-sig")
        found = _form(client).parse(text).get(key, {})
        if not isinstance(found, dict):
            form = "TOML table" if client is Host.codex else "JSON object"
            raise ValueError(f"has no {form} as {key!r}")
    except UnicodeDecodeError as error:
        lines = error.object[: error.start].split(b"\n")
        wrong = f"is not UTF-8: line {len(lines)} column {len(lines[-1]) + 1}"
        raise ForeignFormError(f"{path} {wrong}; nothing was changed, {by_hand}") from None
    except ValueError as error:
        raise ForeignFormError(f"{path} {error}; nothing was changed, {by_hand}") from None
    return data, text, found


def _write(
    client: Host, before: bytes | None, text: str, name: str, entry: Entry | None
) -> Path | None:
    path = location(client)
    try:
        new = _form(client).with_entry(text, key_of(client), name, entry)
    except ValueError as error:
        by_hand = f"remove {name} by hand" if entry is None else _ADD
        raise ForeignFormError(f"{path} {error}; nothing was changed, {by_hand}") from None
    # A lone surrogate, which JSON can hold and UTF-8 cannot, is escaped as in JSON.
    return write_file(path, before, new.encode(errors="backslashreplace"))
