"""The command `mcp`, with `mcp install` and `mcp proxy`."""

from rearank_mcp.cli.serve import app

__all__ = ["app"]
