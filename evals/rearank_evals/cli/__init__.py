"""The command `eval`."""

from rearank_evals.cli.evaluate import app

__all__ = ["app"]
