"""Cost and quality of schedules, with simulated policies that see the grades, and err.

    python -m benchmarks.schedules [--plot FILE.svg]   # simulated lists of 20 to 1,000 passages
    python -m benchmarks.schedules FOLDER...           # BEIR-like folders, with few turns

A simulated query has a pool of 10,000 passages; how many are relevant is lognormal (median 12,
sigma 0.8), with grades 1, 2, 3 at odds of 5:3:2. The first stage's score is standard normal; a
relevant passage has half its grade more, and a bonus for the query's words: N(2, 1), drawn once
a query. Its best n are the list. nDCG counts the whole pool, so a longer list can find more: the
first stage has 48.4, perfect orders of its best 20 and 100 have 65.1 and 80.4, where BM25 on the
six collections of docs/LOG.md has 48.5, 67.3 and 80.6.

On folders a tournament with time for 3 or 2 turns is compared with one on fewer passages. Lists of fewer than 90 passages are left out; at most 60 queries of a collection.
"""

import argparse
import random
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from io import StringIO
from itertools import product
from math import log, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from rearank_agent.data.beir import read_folder
from rearank_agent.metrics import ndcg
from rearank_agent.policies.blend import blended_order
from rearank_agent.policies.protocol import best_first
from rearank_agent.schedules import Schedule, Turn, schedule, tournament
from rearank_agent.schedules.turn import Turns
from rearank_agent.types import Reply, Window

SEED, SIZES = 1, (20, 50, 100, 200, 500, 1000)
SIMULATED, POOL = 400, 10_000
MAX_QUERIES, MIN_LENGTH, DEPTH = 60, 90, 100


class Grades(NamedTuple):
    """A query: the grades of its candidates in first-stage order, and of all that is judged."""

    grades: Sequence[int]
    judged: Sequence[int]


class Simulated(NamedTuple):
    """nDCG@10 of a schedule on a list, and its cost; `read` counts a passage in every window."""

    value: float
    calls: float
    turns: float
    read: float


@dataclass(frozen=True)
class NoisyPolicy:
    """A simulated policy: sees grades, and errs. `error` and `bias` are in halves of the best grade.

    Attributes:
        error: standard deviation of the normal noise on a grade.
        bias: the advantage of the first place of a window over the last; it falls linearly.
        lasting: the share of the noise's variance that a passage keeps from window to window;
            the rest is drawn anew for every window.
        long: in windows of more than twenty, noise is (size / 20) ** long times as large.
    """

    error: float = 0.0
    bias: float = 0.0
    lasting: float = 0.0
    long: float = 0.0

    def __str__(self) -> str:
        return ", ".join(f"{k} {v}" for k, v in asdict(self).items() if v or k == "error")

    def judge_with(self, query: Grades, rng: random.Random) -> Callable[[Window], Reply]:
        """A function that judges windows of one query, with noise from `rng`."""
        best = max([*query.judged, 1])
        grades = [grade / best for grade in query.grades]
        lasting = [rng.gauss(0, sqrt(self.lasting)) if self.lasting else 0.0 for _ in grades]
        fresh, draw = sqrt(1 - self.lasting), rng.gauss

        def judge(window: Window) -> Reply:
            noise = self.error / 2 * max(1, len(window) / 20) ** self.long
            step = self.bias / 2 / max(1, len(window) - 1)
            seen = [grades[p] + noise * (lasting[p] + fresh * draw()) for p in window]
            scores = tuple(grade - step * place for place, grade in enumerate(seen))
            return Reply(best_first(scores), scores)

        return judge


def no_turns(n: int) -> Turns:
    """The turns of a schedule without windows: the first stage's order."""
    yield from ()
    return tuple(range(n))


def twice(once: Schedule) -> Schedule:
    """A schedule run twice, the second time from the order of the first."""

    def turns(n: int) -> Turns:
        order = yield from once.start(n)
        again, replies = once.start(n), None
        try:
            while True:
                turn = again.send(replies)
                windows = tuple(tuple(order[p] for p in window) for window in turn.windows)
                replies = yield Turn(windows, order)
        except StopIteration as done:
            return tuple(order[p] for p in done.value)

    return Schedule(f"{once.name} twice", turns)


def blended(made: Schedule, blend: float) -> Schedule:
    """A schedule whose final order is blended with the first stage's, as in the reranker."""

    def turns(n: int) -> Turns:
        scores, replies = [0.0] * n, None
        running = made.start(n)
        try:
            while True:
                turn = running.send(replies)
                replies = yield turn
                for window, reply in zip(turn.windows, replies, strict=True):
                    for position, score in zip(window, reply.scores, strict=True):
                        scores[position] = score
        except StopIteration as done:
            return blended_order(done.value, scores if made.comparable else None, blend)[0]

    return Schedule(f"{made.name} b={blend}", turns)


def tournament_within(turns: int):
    """A tournament that has time for so many turns."""
    return lambda done: tournament(20, lambda: turns - done())


# Its name, the depth, and the schedule, made from a function that counts the turns done.
Variant = tuple[str, int, Callable[[Callable[[], float]], Schedule]]
FIRST_STAGE, DEFAULT = Schedule("first stage", no_turns), schedule("sliding:20:10")
STUDIED = [
    FIRST_STAGE,
    *map(schedule, ("whole", "batches:100", "groups:20")),
    blended(schedule("groups:20"), 0.3),
    schedule("topdown:20"),
    tournament(20),
    blended(tournament(20), 0.1),
    DEFAULT,
    twice(DEFAULT),
    schedule("sliding:10:5"),
]
SHORT: list[Variant] = [
    ("first stage", 100, lambda _: FIRST_STAGE),
    ("sliding, 9 turns", 100, lambda _: DEFAULT),
    ("tournament, 4 turns", 100, tournament_within(99)),
    ("3 turns, narrowed", 100, tournament_within(3)),
    ("3 turns, first 80", 80, tournament_within(99)),
    ("2 turns, narrowed", 100, tournament_within(2)),
    ("2 turns, first 40", 40, tournament_within(99)),
    ("1 turn, first 20", 20, tournament_within(99)),
]
ERRORS = [NoisyPolicy(), NoisyPolicy(0.5), NoisyPolicy(1.0)]
PUBLISHED = NoisyPolicy(0.6, lasting=0.75, long=0.2)  # what schedules lose as papers report it
POLICIES = [
    *ERRORS,
    NoisyPolicy(1.0, bias=1.0),
    NoisyPolicy(1.0, lasting=0.5),
    PUBLISHED,
    replace(PUBLISHED, bias=0.5),
]


def simulate(query: Grades, variant: Variant, judge: Callable[[Window], Reply]) -> Simulated:
    """Run a schedule on the head of a list."""
    _, depth, make = variant
    calls = turns = read = 0
    n = min(depth, len(query.grades))
    running = make(lambda: turns).start(n)
    try:
        turn = next(running)
        while True:
            turns, calls = turns + 1, calls + len(turn.windows)
            read += sum(map(len, turn.windows))
            turn = running.send([judge(window) for window in turn.windows])
    except StopIteration as done:
        order = [*done.value, *range(n, len(query.grades))]
        value = ndcg([query.grades[p] for p in order[:10]], query.judged, 10)
        return Simulated(value, calls, turns, read)


def simulate_all(
    lists: Iterable[Grades], variants: Sequence[Variant], policy: NoisyPolicy
) -> dict[str, list[Simulated]]:
    """Every variant on every list, by name."""
    rng = random.Random(SEED)
    found: dict[str, list[Simulated]] = {name: [] for name, *_ in variants}
    for query in lists:
        judge = policy.judge_with(query, rng)
        for variant in variants:
            found[variant[0]].append(simulate(query, variant, judge))
    return found


@cache
def simulated() -> list[Grades]:
    """Queries with a first stage's best 1,000 of a pool, as this file's docstring describes."""
    rng, lists = random.Random(SEED), []
    for _ in range(SIMULATED):
        relevant = min(200, max(1, round(rng.lognormvariate(log(12), 0.8))))
        grades = [*rng.choices((1, 2, 3), (5, 3, 2), k=relevant), *[0] * (POOL - relevant)]
        bonus = rng.gauss(2, 1)
        scores = [rng.gauss() + (bonus + grade / 2 if grade else 0) for grade in grades]
        head = sorted(range(POOL), key=scores.__getitem__, reverse=True)[: SIZES[-1]]
        lists.append(Grades([grades[p] for p in head], grades[:relevant]))
    return lists


class Cell(NamedTuple):
    """The means of a schedule, and the standard error of its difference to the default one."""

    mean: Simulated
    error: float


def cells(policy: NoisyPolicy, n: int) -> dict[str, Cell]:
    """Every schedule on the first n of every simulated list."""
    variants = [(made.name, n, lambda _, made=made: made) for made in STUDIED]
    found = simulate_all(simulated(), variants, policy)

    def cell(runs: list[Simulated]) -> Cell:
        gaps = [run.value - base.value for run, base in zip(runs, found[DEFAULT.name], strict=True)]
        return Cell(Simulated(*map(fmean, zip(*runs, strict=True))), stdev(gaps) / sqrt(len(gaps)))

    return {name: cell(runs) for name, runs in found.items()}


Study = dict[NoisyPolicy, dict[int, dict[str, Cell]]]


def study() -> Study:
    """All policies and sizes, the longest lists first, one process per core."""
    settings = sorted(product(POLICIES, SIZES), key=lambda setting: -setting[1])
    with ProcessPoolExecutor() as pool:
        found = dict(zip(settings, pool.map(cells, *zip(*settings, strict=True)), strict=True))
    return {policy: {n: found[policy, n] for n in SIZES} for policy in POLICIES}


def print_tables(found: Study) -> None:
    """Print what schedules cost, then a table of nDCG@10 for every policy."""
    print("calls/turns/passages read, with a perfect policy")
    print(f"{'':21}", *(f"{n:>12,}" for n in SIZES))
    for made in STUDIED[1:]:
        costs = (found[POLICIES[0]][n][made.name].mean[1:] for n in SIZES)
        print(f"{made.name:21}", *(f"{'/'.join(f'{c:.0f}' for c in cost):>12}" for cost in costs))
    for policy, sizes in found.items():
        print(f"\n{policy}: nDCG@10 x100; what it costs for 100 passages")
        print(f"{'':21}", *(f"{n:7,}" for n in SIZES), "    calls  turns   read")
        for made in STUDIED:
            row = [sizes[n][made.name].mean for n in SIZES]
            cost = "{:9.1f}{:7.1f}{:7.0f}".format(*row[2][1:])
            print(f"{made.name:21}", *(f"{100 * mean.value:7.1f}" for mean in row), cost)
        error = (100 * max(sizes[n][made.name].error for made in STUDIED[3:]) for n in SIZES)
        print(f"{'error of a difference':21}", *(f"{largest:7.1f}" for largest in error))


SHOWN = {
    NoisyPolicy(0.5): "error 0.5, drawn anew",
    NoisyPolicy(1.0, lasting=0.5): "error 1.0, half of it lasts",
    PUBLISHED: "as published: 0.6, 3/4 last",
}
LINES = {  # marker, grey, dashes
    "whole": ("x", "0.6", ":"),
    "groups:20": ("s", "0.6", "-"),
    "groups:20 b=0.3": ("P", "0.6", "-"),
    "topdown:20": ("v", "0.35", ":"),
    "tournament:20": ("o", "0", "-"),
    "sliding:20:10": ("D", "0", "--"),
    "sliding:10:5": ("^", "0.35", "-."),
}


def plot(found: Study, file: Path) -> None:
    """Quality against turns and calls; a line has marks at 20, 100 (large) and 1,000 passages."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams |= {"svg.hashsalt": "schedules", "svg.fonttype": "none", "font.size": 9}
    mpl.rcParams |= {"font.sans-serif": ["DejaVu Sans"]}
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots(2, len(SHOWN), sharex="row", sharey=True)
    for row, cost in zip(axes, ("turns", "calls"), strict=True):
        row[0].set_ylabel("nDCG@10 x100")
        for ax, (policy, title) in zip(row, SHOWN.items(), strict=True):
            draw(ax, found[policy], cost)
            ax.set_title(title, fontsize=9)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    written = StringIO()
    figure.savefig(written, format="svg", metadata=dict.fromkeys(("Creator", "Date")))
    file.write_text(re.sub(r"(\.\d)\d+|\n +", lambda match: match[1] or "\n", written.getvalue()))


def draw(ax, sizes: dict[int, dict[str, Cell]], cost: str) -> None:
    """One panel: the first stage as a level, a line per schedule, a mark per size of list."""
    ax.axhline(100 * sizes[20][FIRST_STAGE.name].mean.value, color="0.8", label=FIRST_STAGE.name)
    for name, (marker, grey, dashes) in LINES.items():
        means = [sizes[n][name].mean for n in SIZES]
        xs, ys = [getattr(m, cost) for m in means], [100 * m.value for m in means]
        look = {"marker": marker, "color": grey, "markeredgewidth": 1 if marker == "x" else 0}
        ax.plot(xs, ys, dashes, markevery=[0, 2, 5], markersize=5, lw=1.2, label=name, **look)
        ax.plot(xs[2], ys[2], ls="none", markersize=10, **look)
    ax.set(xscale="log", xlabel=cost, ylim=(20, 90), xticks=(1, 10, 100), yticks=(20, 40, 60, 80))
    ax.set_xticklabels(("1", "10", "100"))
    ax.minorticks_off()


def read_queries(folder: Path) -> list[Grades]:
    """The queries of a folder whose lists are long enough."""
    collection = read_folder(folder)
    qrels, given = collection.qrels, collection.lists or {}
    lists = {query: ids[:DEPTH] for query, ids in given.items() if query in qrels}
    found = [
        Grades([qrels[query].get(i, 0) for i in ids], [*qrels[query].values()])
        for query, ids in lists.items()
        if len(ids) >= MIN_LENGTH
    ]
    return found[:MAX_QUERIES]


def short(folders: Sequence[Path]) -> None:
    """Print the mean over collections of every variant with few turns."""
    collections = [lists for folder in folders if (lists := read_queries(folder))]
    policies = [*ERRORS, PUBLISHED]
    tables = [[simulate_all(lists, SHORT, one) for lists in collections] for one in policies]
    print(f"{f'{len(collections)} collections':20}", *(f"{policy!s:>10}" for policy in policies))
    for name, *_ in SHORT:
        means = (fmean(fmean(run.value for run in of[name]) for of in table) for table in tables)
        print(f"{name:20}", *(f"{100 * mean:10.2f}" for mean in means))


def main() -> None:
    """Print the tables of folders, or of the simulation, and draw its plot."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    args = parser.parse_args()
    if args.folders:
        return short(args.folders)
    print_tables(found := study())
    return plot(found, args.plot) if args.plot else None


if __name__ == "__main__":
    main()
