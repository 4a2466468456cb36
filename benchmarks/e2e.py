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
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.registry import registry
from benchmarks.study import (
    FIRST,
    Values,
    draw_rows,
    repaired_share,
    run_command,
    served,
    table,
    train_phase,
    values_of,
)
from rearank_agent.files import write_text

DEPTH = 20
_SERVING = ("--dtype", "float32", "--enforce-eager", "--max-num-seqs", "64")
TEACHER = "lexical"


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
        held_out = [self.folder / "dev", self.folder / "test"]
        draw_rows([self.folder / collection], held_out, self.folder / name, *how)

    def train(self, seed: int) -> dict[str, Path]:
        """The models of a seed, by method of training."""
        made = {"random": self.folder / f"nano-{seed}"}
        if not made["random"].exists():
            run_command("train", "nano", self.folder / "rows-sft", "--out", made["random"],
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
        return train_phase(
            phase, model, [self.folder / "dev"], self.folder / f"{name}-{seed}",
            self.folder / f"rows-{rows}", "--seed", seed, *how.split(),
        )  # fmt: skip

    def teacher(self) -> Values:
        """nDCG@10 of the teacher in the model's windows: the ceiling of SFT."""
        out = self.folder / "measured" / "teacher"
        if not (out / "report.json").exists():
            run_command("eval", self.folder / "test", "--policy", TEACHER, "--schedule", "sliding:5:2",
                 "--depth", str(DEPTH), "--limit", str(self.size.queries), "--out", out)  # fmt: skip
        return values_of(out, "test", TEACHER)

    def measure(self, name: str, seed: int, model: Path) -> tuple[Values, Values, float]:
        """nDCG@10 of a served model and of the first stage; the share of repaired replies."""
        out = self.folder / "measured" / f"{name}-{seed}".replace(" ", "-").replace(",", "")
        if not (out / "report.json").exists():
            with served(self.vllm, model, self.folder, "nano", _SERVING) as url:
                run_command("eval", self.folder / "test", "--policy", "vllm:nano", "--depth", str(DEPTH),
                     "--limit", str(self.size.queries), "--out", out,
                     VLLM_BASE_URL=url)  # fmt: skip
        (records,) = out.glob("test/vllm*/records.jsonl")
        ours, first = (values_of(out, "test", system) for system in ("vllm:nano", FIRST))
        return ours, first, repaired_share(records)


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
    first = found["random"][0][1]
    text = table(found, {FIRST: first, "BM25, the teacher": study.teacher()}, (FIRST, "SFT"))
    write_text(args.folder / "table.md", f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
