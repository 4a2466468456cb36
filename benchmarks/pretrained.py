"""The paper's experiment for any pretrained language model: what imitation and reinforcement gain.

    python -m benchmarks.pretrained MODEL --train FOLDER... --dev FOLDER... --test FOLDER... \\
        --out runs/pretrained --vllm PROGRAM [--seeds 0 1 2] [--think] [--small] [-- OPTIONS]

Sets of 2, 3, 5 and 10 passages are drawn (most sets of 2 and 3 have one relevant passage). The
model imitates judgements on them, from small to large, and then --teacher; it is reinforced on
windows of 10, then on whole lists. All are served by `rearank-agent serve` and measured by
`rearank-agent eval`, the model as it is too. Finished parts are kept: the same command resumes.
OUT/table.md has the table, OUT/replies.md ten replies, each run its curves. Answers alone are
asked for; with --think, in another OUT, reasoning too. OPTIONS go to both phases of training.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from statistics import fmean

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
from rearank_agent.data.first_stage import first_stage
from rearank_agent.data.load import load_collections
from rearank_agent.files import write_text
from rearank_agent.listwise.template import Template
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.metrics import ndcg
from rearank_agent.types import Ranking
from rearank_training.lm.model import load, quiet, write_model

SIZES = (2, 3, 5, 10)  # passages of a set, from easy to hard; the last is the window
_WORDS = Path(__file__).with_name("pretrained.toml")
_NAME, _BASES = "pretrained", (FIRST, "zero-shot", "SFT")
_CORES = {"OMP_NUM_THREADS": str(os.cpu_count())}
_ORDERS = 200  # of a list, whose mean nDCG@10 is that of random order


@dataclass(frozen=True)
class Effort:
    """How much is trained and measured.

    Attributes:
        sets: drawn for each query and size.
        imitation: steps on each size, and again for the teacher.
        batch: replies of such a step.
        reinforcement: steps on windows, and again on whole lists.
        prompts: of a step of reinforcement, each with 8 replies.
        depth: candidates of a query in evaluation.
        queries: of each test collection, at most.
    """

    sets: int = 20
    imitation: int = 150
    batch: int = 16
    reinforcement: int = 60
    prompts: int = 8
    depth: int = 20
    queries: int = 100


SMALL = Effort(sets=8, imitation=3, batch=4, reinforcement=1, prompts=2, depth=12, queries=3)


@dataclass(frozen=True)
class Study:
    """A study in a folder; the commands are those that a person would type."""

    model: Path
    train: Sequence[Path]
    dev: Sequence[Path]
    test: Sequence[Path]
    out: Path
    vllm: str
    teacher: str
    think: bool
    effort: Effort
    training: Sequence[str]

    @property
    def config(self) -> PromptConfig:
        """How the model is prompted."""
        return PromptConfig(
            Template.load(_WORDS),
            window=SIZES[-1],
            cut=320,
            budget=512 if self.think else 96,
            think=self.think,
        )

    def rows(self) -> None:
        """Draw the sets of every size, and whole lists."""
        for size in (*SIZES, self.effort.depth):
            draw_rows(
                self.train, [*self.dev, *self.test], self.out / f"rows-{size}", "--size", size,
                "--depth", max(size, self.effort.depth), "--sets", self.effort.sets,
            )  # fmt: skip

    def models(self, seed: int) -> dict[str, Path]:
        """The policies of a seed, by method of training."""
        made = {"zero-shot": self._zero_shot()}
        policy = made["zero-shot"]
        stages = [*((size, "judgements") for size in SIZES), (SIZES[-1], self.teacher)]
        for size, teacher in stages:
            policy = self._imitate(policy, size, teacher, seed)
        made["SFT"] = policy
        made["SFT+GRPO"] = self._reinforce(policy, SIZES[-1], "window", seed)
        made["SFT+GRPO, whole lists"] = self._reinforce(
            made["SFT+GRPO"], self.effort.depth, "list", seed
        )
        return made

    def _zero_shot(self) -> Path:
        """The model as it is, with the words of the study beside it."""
        folder = self.out / "zero-shot"
        if not folder.exists():
            quiet(2)
            found = load(str(self.model), self.config, "cpu", "bfloat16")
            parts = (found.model, found.tokenizer)
            write_model(folder, lambda to: [p.save_pretrained(to) for p in parts], self.config)
        return folder

    def _imitate(self, model: Path, size: int, teacher: str, seed: int) -> Path:
        steps = self.effort.imitation
        return self._phase(
            "sft", model, size, f"sft-{size}-{teacher.replace(':', '-')}-{seed}", seed,
            "--teacher", teacher, "--steps", steps, "--every", steps, "--no-evaluate-first",
            "--held-out", 64, "--batch", self.effort.batch,
        )  # fmt: skip

    def _reinforce(self, model: Path, size: int, goal: str, seed: int) -> Path:
        steps = self.effort.reinforcement
        return self._phase(
            "grpo", model, size, f"grpo-{goal}-{seed}", seed, "--goal", goal, "--steps", steps,
            "--every", max(1, steps // 4), "--prompts", self.effort.prompts, "--rollouts", 8,
            "--no-evaluate-first",
        )  # fmt: skip

    def _phase(
        self, phase: str, model: Path, size: int, name: str, seed: int, *how: object
    ) -> Path:
        return train_phase(
            phase, model, self.out / f"rows-{size}", self.dev, self.out / name, "--seed", seed,
            *how, *self.training, **_CORES,
        )  # fmt: skip

    def measure(self, name: str, seed: int, model: Path) -> tuple[Values, Values, float]:
        """nDCG@10 of a served policy and of the first stage; the share of repaired replies."""
        out = self._measured(name, seed)
        if not (out / "report.json").exists():
            options = ("--max-model-len", "4096")
            with served(self.vllm, model, self.out, _NAME, options, **_CORES) as url:
                run_command(
                    "eval", *self.test, "--policy", f"vllm:{_NAME}", "--depth", self.effort.depth,
                    "--limit", self.effort.queries, "--out", out, VLLM_BASE_URL=url,
                )  # fmt: skip
        ours, first = (self._values(out, system) for system in (f"vllm:{_NAME}", FIRST))
        return ours, first, fmean(map(repaired_share, self._records(name, seed)))

    def _measured(self, name: str, seed: int) -> Path:
        where = name if name == "zero-shot" else f"{name}-{seed}"
        return self.out / "measured" / where.replace(" ", "-").replace(",", "")

    def _records(self, name: str, seed: int) -> list[Path]:
        return sorted(self._measured(name, seed).glob("*/vllm*/records.jsonl"))

    def _values(self, out: Path, system: str) -> Values:
        return {
            f"{one.name}/{query}": value
            for one in load_collections(map(str, self.test))
            for query, value in values_of(out, one.name, system).items()
        }

    def random_order(self, queries: Values) -> Values:
        """The mean nDCG@10 of random orders of the first stage's candidates."""
        found = {}
        for one in load_collections(map(str, self.test)):
            lists = one.lists or first_stage(one, self.effort.depth).lists
            for query, listed in lists.items():
                name, judged = f"{one.name}/{query}", one.qrels.get(query, {})
                if name in queries:
                    gains = [judged.get(passage, 0) for passage in listed[: self.effort.depth]]
                    found[name] = _mean_of_orders(gains, [*judged.values()], name)
        return found

    def replies(self, name: str, seed: int) -> str:
        """Ten replies to read, as Markdown."""
        lines = (line for path in self._records(name, seed) for line in path.open())
        return "\n".join(_reply_text(Ranking.from_json(line)) for line in islice(lines, 10))


def _mean_of_orders(gains: list[int], ideal: list[int], seed: str) -> float:
    sample = Random(seed).sample
    orders = (sample(gains, len(gains)) for _ in range(_ORDERS))
    return fmean(ndcg(order, ideal, 10) for order in orders)


def _reply_text(ranking: Ranking) -> str:
    reply = ranking.steps[0].reply
    order = " > ".join(f"[{position + 1}]" for position in reply.order)
    faults = ", ".join(fault.kind for fault in reply.faults) or "none"
    return f"## {ranking.query}\n\n{reply.reasoning}\n\n{order} (repaired: {faults})\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is left of the study, and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    for name in ("train", "dev", "test"):
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True)
    for name in ("out", "vllm"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--teacher", default="embedded", help="imitated after the judgements")
    parser.add_argument("--think", action="store_true", help="reasoning too")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--small", action="store_true", help="checks that all works")
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    args = parser.parse_args(given[:end])
    study = Study(
        args.model, args.train, args.dev, args.test, args.out, str(args.vllm), args.teacher,
        args.think, SMALL if args.small else Effort(), given[end + 1 :],
    )  # fmt: skip
    study.rows()
    found: dict[str, list[tuple[Values, Values, float]]] = {}
    for seed in args.seeds:
        for name, model in study.models(seed).items():
            found.setdefault(name, []).append(study.measure(name, seed, model))
    first = found["SFT"][0][1]
    text = table(found, {"random order": study.random_order(first), FIRST: first}, _BASES)
    write_text(args.out / "table.md", f"{text}\n")
    write_text(args.out / "replies.md", study.replies(name, args.seeds[0]))
    print(text)


if __name__ == "__main__":
    main()
