"""What reaches a terminal, a pipe, an agent or a file."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.faults.row import Row

__all__ = ["ROWS"]

PROGRAM = [sys.executable, "-m", "rearank_agent"]
HOSTILE = "x\x1b[35;7m\x1b]8;;http://x\x07\r\nnote: forged\u2028forged\u202eb\x9b2J\x85forged[bold]"
_OWN = re.compile(r"\x1b\[(?!35;7m)[0-9;?]*[mKAhl]")  # what the program itself sends


def _in_terminal(command: list[str], env: dict[str, str], folder: Path) -> str:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(command[0], command, {**env, "TERM": "xterm", "COLUMNS": "80"})
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(terminal)
    os.waitpid(pid, 0)
    return _OWN.sub("", shown.decode()).replace("\r", "")


def _in_pipe(command: list[str], env: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, check=False)
    return done.stdout.decode() + done.stderr.decode()


def forged(folder: Path) -> str:
    (folder / "docs").mkdir()
    (folder / "docs" / f"{HOSTILE.replace('/', ':')}.md").write_text(f"# {HOSTILE}\na flea")
    (folder / "docs" / f"{HOSTILE.replace('/', ':')}.zip").touch()
    rows = [{"id": f"{HOSTILE}{n}", "text": f"a flea {HOSTILE}", "title": HOSTILE} for n in (1, 2)]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    env = {**os.environ, "REARANK_CACHE": str(folder / "cache"), "REARANK_POLICY": "lexical"}
    commands = (
        ["search", f"flea {HOSTILE}", "docs"],
        ["rerank", f"flea {HOSTILE}", "in.jsonl"],
        ["rerank", "flea", "in.jsonl", f"--{HOSTILE}"],
    )
    count = 0
    for arguments in commands:
        for show in (_in_terminal, _in_pipe):
            shown = show([*PROGRAM, *arguments], env, folder)
            lines = shown.split("\n")
            count += len(lines)
            for line in lines:
                hidden = [c for c in line if not c.isprintable()]
                assert not hidden, (arguments, line)
                assert not line.startswith(("forged", "note: forged")), (arguments, line)
    return f"{len(commands)} commands on a terminal and in a pipe, {count} lines: none forged"


ROWS = (
    Row("file names, ids and queries that steer a terminal or forge lines",
        "ESC sequences, CR, LF, U+2028, C1 controls, writing direction and markup in all of them", "nothing",
        "U+FFFD stands for such a character in every line of text, an escape in JSON", forged),
)  # fmt: skip
