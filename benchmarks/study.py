"""What studies share: commands, a served model, figures by query, and differences between systems."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter

from rearank_agent.cli import app
from rearank_agent.errors import PolicyError
from rearank_agent.types import Ranking
from rearank_evals.measures.stats import compare

__all__ = [
    "FIRST", "Run", "Values", "draw_rows", "repaired_share", "run_command", "run_here", "served",
    "table", "train_phase", "values_of",
]  # fmt: skip

FIRST = "first-stage"
Run = Callable[..., None]
"""Runs a command of the program, with an environment beside that of this process."""
Values = Mapping[str, float]
"""nDCG@10 by query, 0 to 1."""

_PROGRAM = [sys.executable, "-m", "rearank_agent"]
_QUIET = {
    "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1",
}  # fmt: skip


@contextmanager
def _told(words: Sequence[str]) -> Iterator[None]:
    """Print a command and its seconds to stderr."""
    print("$ rearank-agent", *words, file=sys.stderr, flush=True)
    begun = perf_counter()
    yield
    print(f"  {perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)


def run_command(*arguments: object, **environment: str) -> None:
    """Run a command of the program; it and its seconds are printed to stderr."""
    words = [*map(str, arguments)]
    with _told(words):
        environment = {**os.environ, **_QUIET, **environment}
        subprocess.run([*_PROGRAM, *words], check=True, env=environment)


def run_here(*arguments: object, **environment: str) -> None:
    """Run a command of the program in this process, which saves its start; as `run_command`."""
    os.environ.update(_QUIET, **environment)
    words = [*map(str, arguments)]
    with _told(words):
        app(words, standalone_mode=False)
        gc.collect()


def draw_rows(
    collections: Sequence[Path],
    held_out: Sequence[Path],
    out: Path,
    *how: object,
    run: Run | None = None,
) -> None:
    """Draw training rows with these options, unless they are there.

    Args:
        run: what runs the command; None for `run_command`.
    """
    if not (out / "manifest.json").exists():
        dev = chain(*(("--dev", one) for one in held_out))
        (run or run_command)("train", "rows", *collections, *dev, *how, "--out", out)


def train_phase(
    phase: str,
    model: Path,
    dev: Sequence[Path],
    out: Path,
    *how: object,
    run: Run | None = None,
    **env: str,
) -> Path:
    """Train to the end, going on from the last checkpoint; gives the policy's folder.

    Args:
        how: the rows, and options.
        run: what runs the command; None for `run_command`.
    """
    if not (ended := out / "ended").exists():
        resume = ["--resume"] if list(out.glob("checkpoint-*")) else []
        devs = chain(*(("--dev", one) for one in dev))
        (run or run_command)("train", phase, model, *how, *devs, "--out", out, *resume, **env)
        ended.touch()
    return out / "policy"


def repaired_share(records: Path) -> float:
    """The share of replies in a run's records in which something was repaired."""
    rankings = map(Ranking.from_json, records.read_text().splitlines())
    return fmean(bool(step.reply.faults) for ranking in rankings for step in ranking.steps)


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


def table(
    found: Mapping[str, Sequence[tuple[Values, Values, float]]],
    others: Mapping[str, Values],
    bases: Sequence[str],
) -> str:
    """The table of all systems over seeds; differences are paired by query, of means over seeds.

    Args:
        found: for every trained system, a run of each seed: its figures, those of the first
            stage, and the share of repaired replies.
        others: what is shown above them.
        bases: the systems that all are compared with.
    """
    means = {name: _over_seeds([ours for ours, _, _ in runs]) for name, runs in found.items()}
    means, seeds = {**others, **means}, max(map(len, found.values()))
    lines = [
        f"nDCG@10 x100 on {len(means[FIRST])} unseen queries, {seeds} seed{'s' * (seeds > 1)}; "
        "± is over seeds, intervals (95%) are over queries.",
        "",
        f"| | nDCG@10 | {' | '.join(f'against {base}' for base in bases)} | replies repaired |",
        f"|---|---|{'---|' * len(bases)}---|",
    ]
    for name, values in means.items():
        runs = found.get(name, ())
        spread = [fmean(ours.values()) for ours, _, _ in runs]
        shown = f"{100 * fmean(values.values()):.1f}"
        shown += f" ± {100 * stdev(spread):.1f}" if len(spread) > 1 else ""
        gains = [_gain(means, name, base) for base in bases]
        repaired = f"{100 * fmean(share for _, _, share in runs):.0f}%" if runs else ""
        lines.append(f"| {name} | {shown} | {' | '.join(gains)} | {repaired} |")
    return "\n".join(lines)


def _over_seeds(runs: Sequence[Values]) -> Values:
    """The mean of every query over the seeds."""
    return {query: fmean(run[query] for run in runs) for query in runs[0]}


def _gain(means: Mapping[str, Values], name: str, base: str) -> str:
    """The difference to another system in points, with its interval over queries; "" to itself."""
    if name in (base, FIRST):
        return ""
    one = compare({base: means[base], name: means[name]}, base)[name]
    low, high = one.interval
    return f"{100 * one.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
