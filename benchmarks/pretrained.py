"""The paper's experiment for any pretrained language model: what imitation and reinforcement gain.

    python -m benchmarks.pretrained MODEL --train FOLDER... --dev FOLDER... --test FOLDER... \\
        --out runs/pretrained [--vllm PROGRAM] [--records FILE...] [--seeds 0 1 2] [--think] \\
        [--rates 2e-4 5e-5] [--reinforcement 100 ...] [--small] [-- OPTIONS]

Sets of 2, 3, 5 and 10 passages are drawn (most sets of 2 and 3 have one relevant passage). The
model imitates judgements on them, from small to large, and then --teacher or the --records of a run
of eval; it is reinforced on windows of 10, then on whole lists. All are served by
`rearank-agent serve` and measured by `rearank-agent eval`, the model as it is too; without --vllm
they are measured in this process. Finished parts are kept: the same command resumes. OUT/table.md
has the table, OUT/replies.md ten replies, each run its curves. Answers alone are asked for; with
--think, in another OUT, reasoning too. OPTIONS go to both phases of training.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from random import Random
from statistics import fmean

from benchmarks.in_process import candidates, values_in_process
from benchmarks.pretrained_stages import SIZES, SMALL, Effort, Study
from benchmarks.study import (
    FIRST,
    Values,
    repaired_share,
    run_command,
    run_here,
    served,
    table,
    values_of,
)  # fmt: skip
from rearank_agent.data.load import load_collections
from rearank_agent.files import write_text
from rearank_agent.metrics import ndcg
from rearank_agent.types import Ranking
from rearank_training.lm.prompts import Example

_NAME, _BASES = "pretrained", (FIRST, "zero-shot", "SFT")
_ORDERS = 200  # of a list, whose mean nDCG@10 is that of random order
_READ = 10  # replies


class Measure:
    """The measuring of a study's policies: served by vLLM, or in this process without it.

    Args:
        study: what is measured.
        vllm: the program; None for this process.
    """

    def __init__(self, study: Study, vllm: Path | None) -> None:
        self.study, self.vllm = study, vllm
        found = load_collections(map(str, study.test))
        self.queries = [*candidates(found, study.effort.depth, study.effort.queries)]
        self.ideals = {
            f"{one.name}/{query}": [*grades.values()]
            for one in found
            for query, grades in one.qrels.items()
        }

    def others(self) -> dict[str, Values]:
        """nDCG@10 by query of random orders of the first stage's candidates, and of their own."""
        random = {one.name: _mean_of_orders(one, self.ideals[one.name]) for one in self.queries}
        first = {one.name: ndcg(one.grades, self.ideals[one.name], 10) for one in self.queries}
        return {"random order": random, FIRST: first}

    def policy(self, name: str, seed: int, model: Path) -> tuple[Values, float, str]:
        """nDCG@10 of a policy by query, the share of repaired replies, and replies to read."""
        where = name if name == "zero-shot" else f"{name}-{seed}"
        out = self.study.out / "measured" / where.replace(" ", "-").replace(",", "")
        return self._served(out, model) if self.vllm else self._in_process(out, model)

    def _in_process(self, out: Path, model: Path) -> tuple[Values, float, str]:
        kept = out / "values.json"
        if not kept.exists():
            found = values_in_process(model, self.queries, self.ideals, _READ)
            write_text(kept, json.dumps(found, indent=1))
        facts = json.loads(kept.read_text())
        return facts["values"], facts["repaired"], "\n".join(facts["replies"])

    def _served(self, out: Path, model: Path) -> tuple[Values, float, str]:
        if not (out / "report.json").exists():
            options = ("--max-model-len", "4096")
            where, cores = self.study.out, self.study.cores
            with served(str(self.vllm), model, where, _NAME, options, **cores) as url:
                run_command(
                    "eval", *self.study.test, "--policy", f"vllm:{_NAME}",
                    "--depth", self.study.effort.depth, "--limit", self.study.effort.queries,
                    "--out", out, VLLM_BASE_URL=url,
                )  # fmt: skip
        values = {
            f"{one}/{query}": value
            for one in dict.fromkeys(each.name.rpartition("/")[0] for each in self.queries)
            for query, value in values_of(out, one, f"vllm:{_NAME}").items()
        }
        records = sorted(out.glob("*/vllm*/records.jsonl"))
        lines = [line for path in records for line in path.read_text().splitlines()]
        read = [_reply_text(Ranking.from_json(line)) for line in lines[:_READ]]
        return values, fmean(map(repaired_share, records)), "\n".join(read)


def _mean_of_orders(one: Example, ideal: list[int]) -> float:
    sample, n = Random(one.name).sample, len(one.grades)
    return fmean(ndcg(sample(one.grades, n), ideal, 10) for _ in range(_ORDERS))


def _reply_text(ranking: Ranking) -> str:
    reply = ranking.steps[0].reply
    order = " > ".join(f"[{position + 1}]" for position in reply.order)
    faults = ", ".join(fault.kind for fault in reply.faults) or "none"
    return f"## {ranking.query}\n\n{reply.reasoning}\n\n{order} (repaired: {faults})\n"


def tables(
    found: Mapping[str, Sequence[tuple[Values, float]]], others: Mapping[str, Values]
) -> str:
    """A table of all test collections together, and one of each where there are several."""
    names = sorted({query.rpartition("/")[0] for query in others[FIRST]})
    parts = [("all test collections", "")] if len(names) > 1 else []
    texts = []
    for title, name in [*parts, *((name, f"{name}/") for name in names)]:
        taken = {system: _part(values, name) for system, values in others.items()}
        runs = {
            system: [(_part(values, name), taken[FIRST], share) for values, share in one]
            for system, one in found.items()
        }
        texts.append(f"**{title}**\n\n{table(runs, taken, _BASES)}\n")
    return "\n".join(texts)


def _part(values: Values, name: str) -> Values:
    return {query: value for query, value in values.items() if query.startswith(name)}


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    for name in ("train", "dev", "test"):
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vllm", type=Path, help="the program that serves; none: in this process")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="of the sets")
    parser.add_argument("--teacher", default="embedded", help="imitated after the judgements")
    parser.add_argument("--records", type=Path, nargs="+", default=[], help="in its place")
    parser.add_argument("--think", action="store_true", help="reasoning too")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--imitated",
        type=int,
        metavar="SEED",
        help="reinforce this seed's imitation with all seeds",
    )
    parser.add_argument(
        "--rates", type=float, nargs=2, metavar="RATE", help="of imitation and reinforcement"
    )
    parser.add_argument(
        "--train-only", action="store_true", help="measure nothing: for a process of each seed"
    )
    parser.add_argument(
        "--here", action="store_true", help="all commands in this process: each starts sooner"
    )
    parser.add_argument("--small", action="store_true", help="checks that all works")
    for one in fields(Effort):
        parser.add_argument(
            f"--{one.name}", type=int, help=f"{one.metadata['help']}  [{one.default}]"
        )
    return parser.parse_args(given)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is left of the study, and print its table."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    args = _arguments(given[:end])
    chosen = {one.name: getattr(args, one.name) for one in fields(Effort)}
    effort = replace(
        SMALL if args.small else Effort(), **{k: v for k, v in chosen.items() if v is not None}
    )
    study = Study(
        args.model, args.train, args.dev, args.test, args.out, args.sizes, args.teacher,
        args.records, args.think, args.imitated, args.rates, effort, given[end + 1 :],
        run_here if args.here else None,
    )  # fmt: skip
    study.rows()
    trained = {seed: study.models(seed) for seed in args.seeds}
    if args.train_only:
        return
    measure = Measure(study, args.vllm)
    found: dict[str, list[tuple[Values, float]]] = {}
    for seed, models in trained.items():
        for name, model in models.items():
            if name not in found or model not in trained[args.seeds[0]].values():
                values, repaired, read = measure.policy(name, seed, model)
                found.setdefault(name, []).append((values, repaired))
    text = tables(found, measure.others())
    write_text(args.out / "table.md", f"{text}\n")
    write_text(args.out / "replies.md", read)
    print(text)


if __name__ == "__main__":
    main()
