"""Texts that deceive readers."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from benchmarks.faults.poisoned import CITATIONS, POISONED, as_read
from benchmarks.faults.row import Row
from benchmarks.stub import completion

__all__ = ["ROWS"]

_IDENTIFIER = re.compile(r"\[\d+\] ")


@contextmanager
def _recorder() -> Iterator[tuple[str, list[list[dict[str, Any]]]]]:
    """The address of a model server on loopback, and the messages that it is sent."""
    sent: list[list[dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sent.append(asked["messages"])
            n = len([m for m in asked["messages"] if _IDENTIFIER.match(m["content"])])
            self.wfile.write(completion(n, False, asked["model"]))
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", sent
        server.shutdown()


def _poisoned(folder: Path) -> str:
    lines = [json.dumps({"id": kind, "text": text}) for kind, (text, _) in POISONED.items()]
    (folder / "in.jsonl").write_text("\n".join(lines))
    command = [sys.executable, "-m", "rearank_agent", "rerank", "fleas", str(folder / "in.jsonl")]
    with _recorder() as (url, sent):
        env = {**os.environ, "REARANK_CACHE": str(folder / "cache"), "OPENAI_BASE_URL": url}
        done = subprocess.run(
            [*command, "--json", "--no-cache", "--policy", "openai-chat:stub"],
            env={**env, "OPENAI_API_KEY": "a-key-of-nobody"},
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-500:]
    shapes = {one for _, held in POISONED.values() for one in held}
    for messages in sent:
        shown = [m["content"] for m in messages if _IDENTIFIER.match(m["content"])]
        assert len(messages) == 2 * len(shown) + 4, "a turn that is not the template's"
        text = "\n".join(_IDENTIFIER.sub("", one, count=1) for one in shown)
        read = as_read(text)
        found = [s for s in shapes if s in text or (as_read(s) and as_read(s) in read)]
        assert not found, found
    faults = json.loads(done.stdout)["faults"]
    (fault,) = (one for one in faults if one["kind"] == "neutralised")
    assert set(fault["ids"]) == set(POISONED) - set(CITATIONS), fault["ids"]
    n = len(POISONED)
    return (
        f"0 of {len(shapes)} shapes of {n} passages in {len(sent)} prompts; {len(fault['ids'])} "
        f"passages in one fault, the other {len(CITATIONS)} hold numbers as citations do"
    )


ROWS: tuple[Row, ...] = (
    Row(
        "poisoned passages before a model",
        "78 kinds of them put before `openai-chat:`, and what the server is sent: control tokens of 20 "
        "families, our tags and identifiers, also disguised, hidden, split and nested",
        "the brackets of those shapes, and hidden characters",
        "other brackets are shown; the fault `neutralised` names the passages",
        _poisoned,
    ),
)
