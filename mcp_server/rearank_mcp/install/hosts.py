"""The hosts that start MCP servers: where each keeps its servers, and in which form."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

from rearank_mcp.install.config_file import naming_errors

__all__ = ["HOSTS", "NAME", "PASSED_VARIABLES", "PER_FOLDER", "Entry", "Host", "key_of", "location"]

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
    codex = "codex"
    gemini_cli = "gemini-cli"
    windsurf = "windsurf"
    zed = "zed"


HOSTS = tuple(Host)
PER_FOLDER = (Host.claude_code, Host.vscode)


def location(client: Host) -> Path:
    """The file in which a host keeps its servers: the user's, or that of the current folder.

    Raises:
        SetupError: there is no home or no current folder.
    """
    with naming_errors(f"the configuration file of {client}"):
        home = Path.home()
        here = Path.cwd() if client in PER_FOLDER else home
    return {
        Host.claude_desktop: _claude(home) / "claude_desktop_config.json",
        Host.claude_code: here / ".mcp.json",
        Host.cursor: home / ".cursor" / "mcp.json",
        Host.vscode: here / ".vscode" / "mcp.json",
        Host.codex: Path(os.environ.get("CODEX_HOME") or home / ".codex") / "config.toml",
        Host.gemini_cli: home / ".gemini" / "settings.json",
        Host.windsurf: home / ".codeium" / "windsurf" / "mcp_config.json",
        Host.zed: _zed(home) / "settings.json",
    }[client]


def key_of(client: Host) -> str:
    """The name of the object or table that holds a host's servers."""
    keys = {Host.vscode: "servers", Host.zed: "context_servers", Host.codex: "mcp_servers"}
    return keys.get(client, "mcpServers")


def _claude(home: Path) -> Path:
    """The folder of Claude Desktop's settings.

    A packaged app of Windows (MSIX) reads a folder of its own in the place of %APPDATA%.
    """
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "Claude"
    if sys.platform != "win32":
        return _config(home) / "Claude"
    local = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    packaged = sorted((local / "Packages").glob("Claude_*/LocalCache/Roaming"))
    return (packaged[0] if packaged else _roaming(home)) / "Claude"


def _zed(home: Path) -> Path:
    """The folder of Zed's settings; on macOS it is ~/.config too."""
    if sys.platform == "win32":
        return _roaming(home) / "Zed"
    return (home / ".config" if sys.platform == "darwin" else _config(home)) / "zed"


def _config(home: Path) -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")


def _roaming(home: Path) -> Path:
    return Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
