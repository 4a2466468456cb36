"""End-to-end study: from judged queries to a served policy, by the command line only.

    python -m benchmarks.e2e runs/e2e --vllm PROGRAM              # one seed, in minutes
    python -m benchmarks.e2e runs/e2e --vllm PROGRAM --seeds 0 1 2
    python -m benchmarks.e2e runs/e2e-small --vllm PROGRAM --small

A nano model with random weights is fine-tuned (SFT) on the replies of BM25 until held-out replies
get no likelier; then it is trained by GRPO on the grades of other queries. The random, SFT and
GRPO models are served by `rearank-agent serve` and measured by `rearank-agent eval` on queries
that neither phase saw. Finished parts are kept: the same command resumes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter

from benchmarks.registry import registry
from rearank_agent.errors import PolicyError
from rearank_agent.files import write_text
from rearank_agent.types import Ranking
from rearank_evals.measures.stats import compare

PROGRAM = [sys.executable, "-m", "rearank_agent"]
DEPTH = 20
_SERVING = ("--dtype", "float32", "--enforce-eager", "--max-num-seqs", "64")
_QUIET = {
    "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1",
}  # fmt: skip
FIRST, TEACHER = "first-stage", "lexical"
Values = Mapping[str, float]
"""nDCG@10 by query."""


@dataclass(frozen=True)
class Size:
    """The size of a study.

    Attributes:
        boats: for SFT, GRPO, dev and test: the first, and the end.
        sft, grpo, list_goal: options of the phases; "" skips GRPO with `--goal list`.
        queries: number of test queries.
    """

    boats: Mapping[str, tuple[int, int]]
    sft: str
    grpo: str
    list_goal: str
    queries: int


FULL = Size(
    {"sft": (0, 240), "rl": (240, 360), "dev": (360, 384), "test": (384, 408)},
    sft="--recipe nano",
    grpo="--recipe nano",
    list_goal="--recipe nano --goal list",
    queries=200,
)
SMALL = Size(
    {"sft": (0, 40), "rl": (40, 60), "dev": (60, 64), "test": (64, 68)},
    sft="--recipe nano --steps 150 --every 150 --dev-queries 8",
    grpo="--recipe nano --steps 3 --every 3 --dev-queries 8 --prompts 8 --at-once 32",
    list_goal="",
    queries=12,
)


@dataclass(frozen=True)
class Study:
    """A study in a folder."""

    folder: Path
    size: Size
    vllm: str

    def prepare(self) -> None:
        """Make the collections, and the rows of two of them: windows, and whole lists."""
        for name, (first, end) in self.size.boats.items():
            if not (self.folder / name).exists():
                registry(self.folder / name, slice(first, end))
        self._rows("sft", "rows-sft", "--size", "5", "--depth", str(DEPTH), "--sets", "6")
        self._rows("rl", "rows-window", "--size", "5", "--depth", str(DEPTH), "--sets", "12")
        self._rows("rl", "rows-list", "--size", str(DEPTH), "--depth", str(DEPTH))

    def _rows(self, collection: str, name: str, *how: str) -> None:
        out = self.folder / name
        held_out = [("--dev", str(self.folder / dev)) for dev in ("dev", "test")]
        if not (out / "manifest.json").exists():
            _run("train", "rows", self.folder / collection, *chain(*held_out), *how, "--out", out)

    def train(self, seed: int) -> dict[str, Path]:
        """The models of a seed, by method of training."""
        made = {"random": self.folder / f"nano-{seed}"}
        if not made["random"].exists():
            _run("train", "nano", self.folder / "rows-sft", "--out", made["random"],
                 "--seed", str(seed))  # fmt: skip
        made["SFT"] = self._phase(
            "sft", made["random"], "sft", seed, f"{self.size.sft} --teacher lexical --no-quotes"
        )
        made["SFT+GRPO"] = self._phase("grpo", made["SFT"], "window", seed, self.size.grpo)
        if self.size.list_goal:
            how = self.size.list_goal
            made["SFT+GRPO, whole lists"] = self._phase("grpo", made["SFT"], "list", seed, how)
        return made

    def _phase(self, phase: str, model: Path, rows: str, seed: int, how: str) -> Path:
        name = rows if phase == "sft" else f"grpo-{rows}"
        out = self.folder / f"{name}-{seed}"
        if not (out / "learning.png").exists():  # written last
            resume = ["--resume"] if list(out.glob("checkpoint-*")) else []
            _run("train", phase, model, self.folder / f"rows-{rows}", "--dev", self.folder / "dev",
                 "--out", out, "--seed", str(seed), *how.split(), *resume)  # fmt: skip
        return out / "policy"

    def teacher(self) -> Values:
        """nDCG@10 of the teacher in the model's windows: the ceiling of SFT."""
        out = self.folder / "measured" / "teacher"
        if not (out / "report.json").exists():
            _run("eval", self.folder / "test", "--policy", TEACHER, "--schedule", "sliding:5:2",
                 "--depth", str(DEPTH), "--limit", str(self.size.queries), "--out", out)  # fmt: skip
        return _values(out, TEACHER)

    def measure(self, name: str, seed: int, model: Path) -> tuple[Values, Values, float]:
        """nDCG@10 of a served model and of the first stage; the share of repaired replies."""
        out = self.folder / "measured" / f"{name}-{seed}".replace(" ", "-").replace(",", "")
        if not (out / "report.json").exists():
            with served(self.vllm, model, self.folder) as url:
                _run("eval", self.folder / "test", "--policy", "vllm:nano", "--depth", str(DEPTH),
                     "--limit", str(self.size.queries), "--out", out,
                     VLLM_BASE_URL=url)  # fmt: skip
        (records,) = out.glob("test/vllm*/records.jsonl")
        rankings = map(Ranking.from_json, records.read_text().splitlines())
        repaired = [bool(step.reply.faults) for ranking in rankings for step in ranking.steps]
        return _values(out, "vllm:nano"), _values(out, FIRST), fmean(repaired)


def _values(out: Path, system: str) -> Values:
    details = json.loads((out / "details.json").read_text())
    found: Values = details["collections"]["test"]["systems"][system]["per_query"]["nDCG@10"]
    return found


def _run(*arguments: object, **environment: str) -> None:
    command = [*PROGRAM, *map(str, arguments)]
    print("$ rearank-agent", *map(str, arguments), file=sys.stderr, flush=True)
    begun = perf_counter()
    subprocess.run(command, check=True, env={**os.environ, **_QUIET, **environment})
    print(f"  {perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def served(vllm: str, model: Path, folder: Path) -> Iterator[str]:
    """A model served by `rearank-agent serve` on a free local port; gives its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*PROGRAM, "serve", str(model), "--name", "nano", "--port", str(port),
               "--vllm", vllm, "--", *_SERVING]  # fmt: skip
    cache = {"VLLM_CACHE_ROOT": str((folder / "vllm").absolute())}
    with (folder / "vllm.log").open("a") as log:
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True,
            env={**os.environ, **_QUIET, **cache},
        )  # fmt: skip
        try:
            assert server.stdout
            if not server.stdout.readline().startswith("ready"):
                raise PolicyError(f"vLLM did not start; see {folder / 'vllm.log'}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=60)


def table(teacher: Values, found: Mapping[str, Sequence[tuple[Values, Values, float]]]) -> str:
    """The table of all systems over seeds; differences are paired by query, of means over seeds."""
    seeds = len(found["random"])
    means = {name: _over_seeds([ours for ours, _, _ in runs]) for name, runs in found.items()}
    means = {FIRST: found["random"][0][1], "BM25, the teacher": teacher} | means
    lines = [
        f"nDCG@10 x100 on {len(means[FIRST])} unseen queries, {seeds} seed{'s' * (seeds > 1)}; "
        "± is over seeds, intervals (95%) are over queries.",
        "",
        "| | nDCG@10 | against first-stage | against SFT | replies repaired |",
        "|---|---|---|---|---|",
    ]
    for name, values in means.items():
        runs = found.get(name, ())
        spread = [fmean(ours.values()) for ours, _, _ in runs]
        shown = f"{100 * fmean(values.values()):.1f}"
        shown += f" ± {100 * stdev(spread):.1f}" if len(spread) > 1 else ""
        gains = [_gain(means, name, base) for base in (FIRST, "SFT")]
        repaired = f"{100 * fmean(share for _, _, share in runs):.0f}%" if runs else ""
        lines.append(f"| {name} | {shown} | {' | '.join(gains)} | {repaired} |")
    return "\n".join(lines)


def _over_seeds(runs: Sequence[Values]) -> Values:
    return {query: fmean(run[query] for run in runs) for query in runs[0]}


def _gain(means: Mapping[str, Values], name: str, base: str) -> str:
    if name in (base, FIRST):
        return ""
    one = compare({base: means[base], name: means[name]}, base)[name]
    low, high = one.interval
    return f"{100 * one.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def main() -> None:
    """Run what is left of the study, and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vllm", required=True, help="the vllm program")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--small", action="store_true", help="minutes: checks that all works")
    args = parser.parse_args()
    study = Study(args.folder, SMALL if args.small else FULL, args.vllm)
    study.prepare()
    with ThreadPoolExecutor(os.cpu_count()) as cores:  # each trains one seed
        trained = dict(zip(args.seeds, cores.map(study.train, args.seeds), strict=True))
    found: dict[str, list[tuple[Values, Values, float]]] = {}
    for seed, models in trained.items():
        for name, model in models.items():
            found.setdefault(name, []).append(study.measure(name, seed, model))
    text = table(study.teacher(), found)
    write_text(args.folder / "table.md", f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
