"""What studies share: commands, a served model, figures by query, and differences between systems."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from time import perf_counter

from rearank_agent.errors import PolicyError
from rearank_evals.measures.stats import compare

__all__ = ["FIRST", "Values", "gain", "over_seeds", "run_command", "served", "values_of"]

FIRST = "first-stage"
Values = Mapping[str, float]
"""nDCG@10 by query, 0 to 1."""

_PROGRAM = [sys.executable, "-m", "rearank_agent"]
_QUIET = {
    "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1",
}  # fmt: skip


def run_command(*arguments: object, **environment: str) -> None:
    """Run a command of the program; it and its seconds are printed to stderr."""
    command = [*_PROGRAM, *map(str, arguments)]
    print("$ rearank-agent", *map(str, arguments), file=sys.stderr, flush=True)
    begun = perf_counter()
    subprocess.run(command, check=True, env={**os.environ, **_QUIET, **environment})
    print(f"  {perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def served(
    vllm: str, model: Path, folder: Path, name: str, options: Sequence[str], **environment: str
) -> Iterator[str]:
    """A model served by `rearank-agent serve` on a free local port; gives its URL.

    Args:
        vllm: the program.
        folder: for vLLM's log and cache.
        options: of vLLM.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*_PROGRAM, "serve", str(model), "--name", name, "--port", str(port),
               "--vllm", vllm, "--", *options]  # fmt: skip
    cache = {"VLLM_CACHE_ROOT": str((folder / "vllm").absolute())}
    with (folder / "vllm.log").open("a") as log:
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True,
            env={**os.environ, **_QUIET, **cache, **environment},
        )  # fmt: skip
        try:
            assert server.stdout
            if not server.stdout.readline().startswith("ready"):
                raise PolicyError(f"vLLM did not start; see {folder / 'vllm.log'}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=60)


def values_of(out: Path, collection: str, system: str) -> Values:
    """The nDCG@10 of a system's queries in a run of `eval`."""
    details = json.loads((out / "details.json").read_text())
    found: Values = details["collections"][collection]["systems"][system]["per_query"]["nDCG@10"]
    return found


def over_seeds(runs: Sequence[Values]) -> Values:
    """The mean of every query over the seeds."""
    return {query: fmean(run[query] for run in runs) for query in runs[0]}


def gain(means: Mapping[str, Values], name: str, base: str) -> str:
    """The difference to another system in points, with its interval over queries; "" to itself."""
    if name in (base, FIRST):
        return ""
    one = compare({base: means[base], name: means[name]}, base)[name]
    low, high = one.interval
    return f"{100 * one.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
