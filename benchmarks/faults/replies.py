"""Replies of model servers without a bound."""

import json
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from benchmarks.faults.hostile_server import HostileServer, bombs, floods, whole
from benchmarks.faults.row import Row

__all__ = ["ROWS"]

PROGRAM = [sys.executable, "-m", "rearank_agent"]
MODELS = whole(b'{"data": [{"id": "stub"}]}')


def rerank(folder: Path, *options: str, **environment: str) -> tuple[int, dict, str, float, float]:
    """Exit code, ranking, stderr, seconds and the most memory in MB of `rerank` of two lines."""
    # A process of its own that measures its child, so that other children do not count.
    measure = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, file=sys.stderr);"
        "sys.exit(done.returncode)"
    )
    env = {**os.environ, "REARANK_CACHE": str(folder / "cache"), **environment}
    command = [sys.executable, "-c", measure, *PROGRAM, "rerank", "q", "--json", *options]
    begun = perf_counter()
    done = subprocess.run(
        command,
        input="one\ntwo\n",
        capture_output=True,
        text=True,
        env=env,
        timeout=120,
        check=False,
    )
    *errors, most = done.stderr.splitlines()
    ranking = json.loads(done.stdout) if done.stdout else {}
    return done.returncode, ranking, "\n".join(errors), perf_counter() - begun, float(most)


def unbounded(folder: Path) -> str:
    seen = []
    for policy, key in (("vllm:stub", ""), ("openai-chat:stub", "k"), ("ollama:stub", "k")):
        for name, chat in (("1 GB", floods), ("a gzip bomb", bombs)):
            with HostileServer(chat=chat, models=MODELS) as one:
                urls = {"VLLM_BASE_URL": one.url, "OPENAI_BASE_URL": one.url}
                urls |= {"OLLAMA_BASE_URL": one.url, "OPENAI_API_KEY": key, "OLLAMA_API_KEY": key}
                code, ranking, err, seconds, most = rerank(folder, "--policy", policy, **urls)
            assert (code, ranking["partial"]) == (3, True), (policy, name, err)
            assert most < 400, f"{policy}, {name}: {most:.0f} MB"
            assert seconds < 20, seconds
            seen.append(most)
    return f"partial, exit code 3, {len(seen)} tries, at most {max(seen):.0f} MB of memory"


ROWS = (
    Row("a reply of a gigabyte, or packed to a megabyte", "`vllm:`, `openai-chat:` and `ollama:`, which is "
        "a provider of pydantic-ai's", "that window",
        "at most 2 MiB are read and nothing is unpacked; fault `failed`", unbounded),
)  # fmt: skip
