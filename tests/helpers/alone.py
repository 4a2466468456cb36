"""Programs of other people, which may call nobody but this machine."""

import os
from pathlib import Path

PYTHON = Path(os.environ.get("REARANK_TEST_PYTHON", "")) / "bin" / "python"
# A connection to elsewhere ends them.
_HOOK = """
import os, sys

def look(event, arguments):
    where = arguments[1] if event == "socket.connect" else arguments
    if event in ("socket.connect", "socket.getaddrinfo") and isinstance(where, tuple):
        if where[0] not in ("127.0.0.1", b"127.0.0.1", None):
            print("it called", where, file=sys.stderr, flush=True)
            os._exit(99)

sys.addaudithook(look)
"""
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "DO_NOT_TRACK": "1"}


def alone(program):
    """The command that runs a program's text in the environment of others, and its variables."""
    return [str(PYTHON), "-W", "ignore", "-c", _HOOK + program], os.environ | QUIET
