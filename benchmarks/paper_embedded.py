"""The paper's experiment with the embedded policy: what is learned from judged queries.

    python -m benchmarks.paper_embedded runs/paper --train DIR... --dev DIR...
    python -m benchmarks.paper_embedded runs/small        # on a synthetic collection, in minutes

The embedded policy is trained from its base encoder, by reinforcement and by supervision alone, on
the same rows for as many steps; the weights are the mean over the steps, nothing is chosen on dev.
At one size the paper's parts are ablated one by one. Finished arms are kept: the same command
resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from matplotlib.figure import Figure

from benchmarks.made import harbour
from rearank_agent.data.collection import Collection
from rearank_agent.data.first_stage import first_stage
from rearank_agent.data.load import load_collections
from rearank_agent.files import write_text
from rearank_agent.policies.embedded.encoder import Encoder
from rearank_agent.policies.embedded.policy import WEIGHTS
from rearank_evals.measures import stats
from rearank_training.embedded.dev import Dev
from rearank_training.embedded.export import FROZEN, packaged
from rearank_training.embedded.settings import EmbeddedSettings
from rearank_training.embedded.towers import Towers
from rearank_training.embedded.trainer import LAST, Trainer
from rearank_training.embedded.trunk import Trunk
from rearank_training.embedded.windows import WindowSampler
from rearank_training.rows.augment import Augmentation, augment
from rearank_training.rows.heldout import macro

BLENDS = (0.0, 0.3)
_COLOURS = {"reinforced": "#0072b2", "supervised": "#e69f00"}
Values = dict[str, dict[str, list[float]]]
"""{blend: {collection: nDCG@10 of its queries}}, always the same ones in the same order."""


@dataclass(frozen=True)
class Arm:
    """An arm of the study: training data and method.

    Attributes:
        queries: number of judged queries; None for all.
        method: reinforced or supervised.
        without: the ablated part of the paper's recipe.
    """

    queries: int | None
    method: str
    without: str = ""

    def __str__(self) -> str:
        queries = "all" if self.queries is None else str(self.queries)
        return f"{queries} {self.method}{self.without and f', without {self.without}'}"

    def augmentation(self, seed: int) -> Augmentation:
        """Its rows: without augmentation the first 20 of a list are a query's one set."""
        how = Augmentation(sets=12, seed=seed, limit=self.queries)
        if self.without == "augmentation":
            return replace(how, depth=how.size)
        return replace(how, filtered=self.without != "filter")

    def recipe(self, recipe: EmbeddedSettings, seed: int) -> EmbeddedSettings:
        """Its settings; a supervised step sees as many passages as a reinforced one."""
        recipe = replace(recipe, seed=seed, every=recipe.steps)
        if self.method == "supervised":
            passages = {"warm_queries": recipe.windows, "warm_passages": recipe.passages}
            return replace(recipe, warm_steps=recipe.steps, steps=0, **passages)
        reward = "ndcg" if self.without == "relative reward" else recipe.reward
        return replace(recipe, warm_steps=0, reward=reward)


@dataclass(frozen=True)
class Study:
    """What is trained and measured.

    Attributes:
        sizes: numbers of judged queries; None is all.
        ablated: the size at which parts of the recipe are ablated.
        dev_queries: number measured, shared equally by the dev collections.
    """

    train: Sequence[Collection]
    dev: Sequence[Collection]
    sizes: Sequence[int | None]
    ablated: int
    seeds: Sequence[int]
    recipe: EmbeddedSettings
    dev_queries: int
    depth: int

    @property
    def arms(self) -> list[Arm]:
        """The sizes by both methods, then the ablations."""
        methods = ("reinforced", "supervised")
        parts = ("augmentation", "filter", "relative reward")
        return [
            *(Arm(size, method) for size in self.sizes for method in methods),
            *(Arm(self.ablated, "reinforced", part) for part in parts),
        ]


def real(train: Sequence[str], dev: Sequence[str]) -> Study:
    """The study on collections."""
    recipe = EmbeddedSettings(
        steps=40, windows=4, rate=4e-5, warm_rate=4e-5, tokens=64, moved=1.0, threads=1
    )
    sizes = (45, 179, None)
    listed = [[_listed(one) for one in load_collections(list(names))] for names in (train, dev)]
    return Study(*listed, sizes, 179, (0, 1, 2), recipe, dev_queries=200, depth=30)


def small() -> Study:
    """The study on a synthetic collection: checks that everything works, and learns."""
    recipe = EmbeddedSettings(
        steps=12, windows=2, samples=16, rate=1e-4, warm_rate=1e-4, tokens=40, moved=1.0
    )
    boats = {"train": slice(24), "east": slice(24, 28), "west": slice(28, 32)}
    train, *dev = (_listed(harbour(name, some)) for name, some in boats.items())
    return Study([train], dev, (15, 45, None), 45, (0, 1), recipe, dev_queries=40, depth=20)


def _listed(one: Collection) -> Collection:
    return one if one.lists else replace(one, lists=first_stage(one, 100).lists, listed="BM25")


class Lab:
    """Trains and measures the arms, one after the other, in a folder."""

    def __init__(self, study: Study, out: Path) -> None:
        self.study, self.out = study, out
        train_queries = [text for one in study.train for text in one.queries.values()]
        each = max(1, round(study.dev_queries / len(study.dev)))
        self.dev = Dev(study.dev, each, study.depth, trained_on=train_queries)
        self.trunk = Trunk(Encoder(WEIGHTS, WEIGHTS / "untrained"), study.recipe.threads)

    def values(self, arm: Arm | None, seed: int = 0) -> Values:
        """nDCG@10 of an arm on dev, for every blend; None is the base encoder."""
        name = f"{arm}, seed {seed}".replace(", ", "-").replace(" ", "-") if arm else "untrained"
        path = self.out / name / "values.json"
        if not path.is_file():
            towers = self._trained(arm, seed, path.parent) if arm else self._untrained()
            values = self.dev.values(towers, self.trunk, BLENDS)
            found = dict(zip(map(str, BLENDS), values, strict=True))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, [json.dumps(found)])
        saved: Values = json.loads(path.read_bytes())
        means = ", ".join(f"b={b} {100 * macro(one):.2f}" for b, one in saved.items())
        print(f"{name:<60} {means}", file=sys.stderr, flush=True)
        return saved

    def _untrained(self) -> Towers:
        return Towers(packaged(), FROZEN, self.study.recipe.share)

    def _trained(self, arm: Arm, seed: int, out: Path) -> Towers:
        study, recipe = self.study, arm.recipe(self.study.recipe, seed)
        made = augment(study.train, arm.augmentation(seed), study.dev)
        some = [row for row in made.rows if row.initial < 1 or arm.without == "filter"]
        draws = (
            WindowSampler(made.rows, made.passages, seed),
            WindowSampler(some, made.passages, seed),
        )
        small_dev = Dev(study.dev, 1, 10)  # the trainer needs one; nothing is chosen on it
        towers = self._untrained()
        out.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(recipe, *draws, small_dev, self.trunk, towers, out)
        if (out / LAST).is_file():
            trainer.resume()
        trainer.run()
        return trainer.served()


def gathered(lab: Lab) -> dict[str, Any]:
    """Every arm's values x100 at every blend: mean, spread over seeds, gain and its interval."""
    base = lab.values(None)
    found: dict[str, Any] = {}
    for arm in lab.study.arms:
        runs = [lab.values(arm, seed) for seed in lab.study.seeds]
        found[str(arm)] = {"arm": asdict(arm)} | {
            blend: _figures([run[blend] for run in runs], base[blend]) for blend in base
        }
    start = {blend: 100 * macro(values) for blend, values in base.items()}
    return {"untrained": start, "dev_queries": len(lab.dev), "arms": found}


def _figures(runs: Sequence[Mapping[str, list[float]]], base: Mapping[str, list[float]]) -> Any:
    """The mean over seeds, compared with the base encoder query by query."""
    mean = {
        name: [fmean(query) for query in zip(*(run[name] for run in runs), strict=True)]
        for name in base
    }
    result = stats.macro({"base": _named(base), "arm": _named(mean)}, "base")["arm"]
    each = [100 * macro(run) for run in runs]
    gain, ends = result.difference or 0.0, result.difference_interval or (0.0, 0.0)
    return {
        "mean": fmean(each),
        "seeds": stdev(each),
        "gain": 100 * gain,
        "interval": [100 * end for end in ends],
    }


def _named(values: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    return {name: {str(i): v for i, v in enumerate(some)} for name, some in values.items()}


def table(found: Mapping[str, Any]) -> str:
    """The values as a Markdown table."""
    blends = list(found["untrained"])
    head = " | ".join(f"b={b} | gain (95%)" for b in blends)
    lines = [
        f"Dev macro nDCG@10 x100, {found['dev_queries']} queries; +- over seeds.\n",
        f"| learned from | {head} |",
        "|---" * (1 + 2 * len(blends)) + "|",
        "| nothing | " + " | ".join(f"{found['untrained'][b]:.2f} | " for b in blends) + " |",
    ]
    for name, arm in found["arms"].items():
        cells = []
        for one in (arm[b] for b in blends):
            low, high = one["interval"]
            cells.append(f"{one['mean']:.2f} +- {one['seeds']:.2f}")
            cells.append(f"{one['gain']:+.2f} ({low:+.2f} to {high:+.2f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(found: Mapping[str, Any]) -> Figure:
    """Gains over the base encoder with intervals: a line per arm, a panel per blend."""
    figure = Figure(figsize=(9, 0.34 * len(found["arms"]) + 1.2), layout="constrained")
    panes = figure.subplots(1, len(found["untrained"]), sharey=True)
    for axes, (blend, start) in zip(panes, found["untrained"].items(), strict=True):
        for line, arm in enumerate(found["arms"].values()):
            one, colour = arm[blend], _COLOURS[arm["arm"]["method"]]
            axes.plot(one["interval"], [line, line], color=colour, lw=2)
            axes.plot(one["gain"], line, "o", color=colour)
        axes.axvline(0, color="#888888", lw=0.8)
        axes.set(xlabel=f"gain over {start:.1f}, b={blend}")
    panes[0].set_yticks(range(len(found["arms"])), list(found["arms"]))
    panes[0].invert_yaxis()
    return figure


def main() -> None:
    """Run what is left of a study, and write its table and plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="where runs, table.md, figures.json, plot.svg go")
    parser.add_argument("--train", nargs="+", default=[], metavar="DIR")
    parser.add_argument("--dev", nargs="+", default=[], metavar="DIR")
    args = parser.parse_args()
    if bool(args.train) != bool(args.dev):
        parser.error("--train and --dev go together; without both a synthetic collection is used")
    study = real(args.train, args.dev) if args.train else small()
    found = gathered(Lab(study, args.out))
    write_text(args.out / "figures.json", [json.dumps(found, indent=1)])
    write_text(args.out / "table.md", [table(found)])
    plot(found).savefig(args.out / "plot.svg", metadata={"Date": None})
    print(table(found))


if __name__ == "__main__":
    main()
