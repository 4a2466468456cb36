"""Files, folders, stores and locks."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.faults.row import Row
from benchmarks.load import ROOT

__all__ = ["ROWS"]

PROGRAM = [sys.executable, "-m", "rearank_agent"]


def two_evals(folder: Path) -> str:
    env = {**os.environ, "REARANK_CACHE": str(folder / "cache")}
    pairs = 4
    for number in range(pairs):
        out = folder / f"out{number}"
        command = [
            *PROGRAM,
            "eval",
            str(ROOT / "examples" / "harbour"),
            "--policy",
            "lexical",
            "--out",
            str(out),
        ]
        both = [
            subprocess.Popen(
                command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        errors = [process.communicate(timeout=120)[1] for process in both]
        codes = sorted(process.returncode for process in both)
        # One may be done before the other begins, which then finds all of its records.
        assert codes in ([0, 0], [0, 2]), (codes, errors)
        assert codes == [0, 0] or any("another eval is running" in error for error in errors), (
            errors
        )
        for records in out.rglob("records.jsonl"):
            assert records.stat().st_size
            queries = [line.split('"query": ')[1][:60] for line in records.read_text().splitlines()]
            assert len(queries) == len(set(queries)), "a query twice"
    return f"{pairs} pairs: each query once, the other ended with what to do or had nothing to do"


def no_json(folder: Path) -> str:
    lines = {
        "NaN": '{"text": "b", "page": NaN}',
        "half a character": '{"text": "b", "note": "\\ud83d"}',
        "31 digits": '{"text": "b", "score": 0.1234567890123456789012345678901}',
        "100,000 brackets": '{"text": "b", "x": ' + "[" * 100_000,
    }
    for name, line in lines.items():
        done = subprocess.run(
            [*PROGRAM, "rerank", "q", "--policy", "lexical"], input=f'{{"text": "a"}}\n{line}\n',
            capture_output=True, text=True, check=False, cwd=folder, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, ""), (name, done)
        assert "stdin, line 2: not JSON: " in done.stderr, (name, done.stderr)
        assert "Traceback" not in done.stderr, name
    return f"{len(lines)} of {len(lines)}: exit code 2, the line, and what is wrong with it"


ROWS = (
    Row("two evals at once into one folder", "four pairs of processes", "nothing",
        "a lock on the folder itself; the other says so, and can go on later", two_evals),
    Row("lines that only Python takes for JSON", "`NaN`, half a character, 31 digits, 100,000 brackets",
        "that call", "an error with the line, before anything is ranked", no_json),
)  # fmt: skip
