"""What schedules cost and lose, with a judge that knows the grades, and with judges that err.

    python -m benchmarks.schedules [--plot FILE.svg]   # simulated lists of 20 to 1,000 passages
    python -m benchmarks.schedules FOLDER...           # BEIR-like folders, when time is short

A simulated query has a pool of 10,000 passages; how many are relevant is lognormal (median 12,
sigma 0.8), with grades 1, 2, 3 at odds of 5:3:2. The first stage's score is standard normal; a
relevant passage has half its grade more, and what the query's words are worth: N(2, 1), once a
query. Its best n are the list. nDCG counts the whole pool, so a longer list can find more: the
first stage has 48.4, perfect orders of its best 20 and 100 have 65.1 and 80.4, where BM25 on the
six collections of docs/LOG.md has 48.5, 67.3 and 80.6.

On folders a tournament with time for 3 or 2 turns is compared with one that looks at fewer
passages. Lists of fewer than 90 passages are left out; at most 60 queries of a collection.
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
from rearank_agent.schedules import Schedule, Turn, Turns, schedule, tournament
from rearank_agent.types import Reply, Window

SEED, SIZES = 1, (20, 50, 100, 200, 500, 1000)
SIMULATED, POOL = 400, 10_000
QUERIES, LEAST, DEPTH = 60, 90, 100


class Listed(NamedTuple):
    """A query: the grades of its candidates in first-stage order, and of all that is judged."""

    grades: Sequence[int]
    judged: Sequence[int]


class Played(NamedTuple):
    """nDCG@10 of what a schedule made of a list, and its cost; passages are read repeatedly."""

    value: float
    calls: float
    turns: float
    read: float


@dataclass(frozen=True)
class Judge:
    """A judge that sees grades, and errs; `error` and `bias` count half the best grade as 1.

    Attributes:
        error: standard deviation of the normal noise on a grade.
        bias: what the first place of a window is worth above the last; it falls linearly.
        lasting: the share of the noise's variance that a passage keeps from window to window;
            the rest is drawn anew for every window.
        long: in a window of more than twenty, noise is (size / 20) ** long times as large.
    """

    error: float = 0.0
    bias: float = 0.0
    lasting: float = 0.0
    long: float = 0.0

    def __str__(self) -> str:
        return ", ".join(f"{k} {v}" for k, v in asdict(self).items() if v or k == "error")

    def of(self, listed: Listed, chance: random.Random) -> Callable[[Window], Reply]:
        """How it judges windows of one query."""
        best = max([*listed.judged, 1])
        known = [grade / best for grade in listed.grades]
        kept = [chance.gauss(0, sqrt(self.lasting)) if self.lasting else 0.0 for _ in known]
        fresh, draw = sqrt(1 - self.lasting), chance.gauss

        def judge(window: Window) -> Reply:
            noise = self.error / 2 * max(1, len(window) / 20) ** self.long
            step = self.bias / 2 / max(1, len(window) - 1)
            seen = [known[p] + noise * (kept[p] + fresh * draw()) for p in window]
            scores = tuple(grade - step * place for place, grade in enumerate(seen))
            return Reply(best_first(scores), scores)

        return judge


def unmoved(n: int) -> Turns:
    """The turns of a schedule that asks nobody."""
    yield from ()
    return tuple(range(n))


def twice(once: Schedule) -> Schedule:
    """A schedule, and again from the order it came to."""

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
    """A schedule whose last order is mixed with the first stage's, as a reranker does it."""

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


def timed(turns: int):
    return lambda had: tournament(20, lambda: turns - had())


# A name, how deep it looks, and the schedule, made with how many turns it has had.
Way = tuple[str, int, Callable[[Callable[[], float]], Schedule]]
AS_GIVEN, USUAL = Schedule("first stage", unmoved), schedule("sliding:20:10")
STUDIED = [
    AS_GIVEN,
    *map(schedule, ("whole", "batches:100", "groups:20")),
    blended(schedule("groups:20"), 0.3),
    schedule("topdown:20"),
    tournament(20),
    blended(tournament(20), 0.1),
    USUAL,
    twice(USUAL),
    schedule("sliding:10:5"),
]
SHORT: list[Way] = [
    ("first stage", 100, lambda _: AS_GIVEN),
    ("sliding, 9 turns", 100, lambda _: USUAL),
    ("tournament, 4 turns", 100, timed(99)),
    ("3 turns, narrowed", 100, timed(3)),
    ("3 turns, first 80", 80, timed(99)),
    ("2 turns, narrowed", 100, timed(2)),
    ("2 turns, first 40", 40, timed(99)),
    ("1 turn, first 20", 20, timed(99)),
]
ERRORS = [Judge(), Judge(0.5), Judge(1.0)]
PUBLISHED = Judge(0.6, lasting=0.75, long=0.2)  # what schedules lose as papers report it
JUDGES = [
    *ERRORS,
    Judge(1.0, bias=1.0),
    Judge(1.0, lasting=0.5),
    PUBLISHED,
    replace(PUBLISHED, bias=0.5),
]


def play(listed: Listed, way: Way, judge: Callable[[Window], Reply]) -> Played:
    """Run a schedule on the head of a list."""
    _, depth, make = way
    calls = turns = read = 0
    n = min(depth, len(listed.grades))
    running = make(lambda: turns).start(n)
    try:
        turn = next(running)
        while True:
            turns, calls = turns + 1, calls + len(turn.windows)
            read += sum(map(len, turn.windows))
            turn = running.send([judge(window) for window in turn.windows])
    except StopIteration as done:
        order = [*done.value, *range(n, len(listed.grades))]
        value = ndcg([listed.grades[p] for p in order[:10]], listed.judged, 10)
        return Played(value, calls, turns, read)


def played(lists: Iterable[Listed], ways: Sequence[Way], judge: Judge) -> dict[str, list[Played]]:
    """Every way on every list, by name."""
    chance = random.Random(SEED)
    found: dict[str, list[Played]] = {name: [] for name, *_ in ways}
    for listed in lists:
        ask = judge.of(listed, chance)
        for way in ways:
            found[way[0]].append(play(listed, way, ask))
    return found


@cache
def simulated() -> list[Listed]:
    """Queries with a first stage's best 1,000 of a pool, as the head of this file says."""
    chance, lists = random.Random(SEED), []
    for _ in range(SIMULATED):
        relevant = min(200, max(1, round(chance.lognormvariate(log(12), 0.8))))
        grades = [*chance.choices((1, 2, 3), (5, 3, 2), k=relevant), *[0] * (POOL - relevant)]
        words = chance.gauss(2, 1)
        scores = [chance.gauss() + (words + grade / 2 if grade else 0) for grade in grades]
        head = sorted(range(POOL), key=scores.__getitem__, reverse=True)[: SIZES[-1]]
        lists.append(Listed([grades[p] for p in head], grades[:relevant]))
    return lists


class Cell(NamedTuple):
    """The means of a schedule, and the standard error of how far it is from the usual one."""

    mean: Played
    error: float


def cells(judge: Judge, n: int) -> dict[str, Cell]:
    """Every schedule on the first n of every simulated list."""
    ways = [(made.name, n, lambda _, made=made: made) for made in STUDIED]
    found = played(simulated(), ways, judge)

    def cell(runs: list[Played]) -> Cell:
        gaps = [run.value - usual.value for run, usual in zip(runs, found[USUAL.name], strict=True)]
        return Cell(Played(*map(fmean, zip(*runs, strict=True))), stdev(gaps) / sqrt(len(gaps)))

    return {name: cell(runs) for name, runs in found.items()}


Study = dict[Judge, dict[int, dict[str, Cell]]]


def study() -> Study:
    """All judges and sizes, the longest lists first, as many at once as there are cores."""
    settings = sorted(product(JUDGES, SIZES), key=lambda setting: -setting[1])
    with ProcessPoolExecutor() as pool:
        found = dict(zip(settings, pool.map(cells, *zip(*settings, strict=True)), strict=True))
    return {judge: {n: found[judge, n] for n in SIZES} for judge in JUDGES}


def tell(found: Study) -> None:
    """Print what schedules cost, then a table of nDCG@10 for every judge."""
    print("calls/turns/passages read, with a perfect judge")
    print(f"{'':21}", *(f"{n:>12,}" for n in SIZES))
    for made in STUDIED[1:]:
        costs = (found[JUDGES[0]][n][made.name].mean[1:] for n in SIZES)
        print(f"{made.name:21}", *(f"{'/'.join(f'{c:.0f}' for c in cost):>12}" for cost in costs))
    for judge, sizes in found.items():
        print(f"\n{judge}: nDCG@10 x100; what it costs for 100 passages")
        print(f"{'':21}", *(f"{n:7,}" for n in SIZES), "    calls  turns   read")
        for made in STUDIED:
            row = [sizes[n][made.name].mean for n in SIZES]
            cost = "{:9.1f}{:7.1f}{:7.0f}".format(*row[2][1:])
            print(f"{made.name:21}", *(f"{100 * mean.value:7.1f}" for mean in row), cost)
        error = (100 * max(sizes[n][made.name].error for made in STUDIED[3:]) for n in SIZES)
        print(f"{'error of a difference':21}", *(f"{most:7.1f}" for most in error))


SHOWN = {
    Judge(0.5): "error 0.5, drawn anew",
    Judge(1.0, lasting=0.5): "error 1.0, half of it lasts",
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
        for ax, (judge, title) in zip(row, SHOWN.items(), strict=True):
            draw(ax, found[judge], cost)
            ax.set_title(title, fontsize=9)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    written = StringIO()
    figure.savefig(written, format="svg", metadata=dict.fromkeys(("Creator", "Date")))
    file.write_text(re.sub(r"(\.\d)\d+|\n +", lambda match: match[1] or "\n", written.getvalue()))


def draw(ax, sizes: dict[int, dict[str, Cell]], cost: str) -> None:
    """One panel: the first stage as a level, a line a schedule, a mark a size of list."""
    ax.axhline(100 * sizes[20][AS_GIVEN.name].mean.value, color="0.8", label=AS_GIVEN.name)
    for name, (marker, grey, dashes) in LINES.items():
        means = [sizes[n][name].mean for n in SIZES]
        xs, ys = [getattr(m, cost) for m in means], [100 * m.value for m in means]
        look = {"marker": marker, "color": grey, "markeredgewidth": 1 if marker == "x" else 0}
        ax.plot(xs, ys, dashes, markevery=[0, 2, 5], markersize=5, lw=1.2, label=name, **look)
        ax.plot(xs[2], ys[2], ls="none", markersize=10, **look)
    ax.set(xscale="log", xlabel=cost, ylim=(20, 90), xticks=(1, 10, 100), yticks=(20, 40, 60, 80))
    ax.set_xticklabels(("1", "10", "100"))
    ax.minorticks_off()


def listed(folder: Path) -> list[Listed]:
    """The queries of a folder whose lists are long enough."""
    collection = read_folder(folder)
    qrels, given = collection.qrels, collection.lists or {}
    lists = {query: ids[:DEPTH] for query, ids in given.items() if query in qrels}
    long = [(qrels[query], ids) for query, ids in lists.items() if len(ids) >= LEAST][:QUERIES]
    return [Listed([grades.get(i, 0) for i in ids], [*grades.values()]) for grades, ids in long]


def short(folders: Sequence[Path]) -> None:
    """Print the mean over collections of every way to keep within few turns."""
    collections = [lists for folder in folders if (lists := listed(folder))]
    judges = [*ERRORS, PUBLISHED]
    tables = [[played(lists, SHORT, judge) for lists in collections] for judge in judges]
    print(f"{f'{len(collections)} collections':20}", *(f"{judge!s:>10}" for judge in judges))
    for name, *_ in SHORT:
        means = (fmean(fmean(run.value for run in of[name]) for of in table) for table in tables)
        print(f"{name:20}", *(f"{100 * mean:10.2f}" for mean in means))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    args = parser.parse_args()
    if args.folders:
        return short(args.folders)
    tell(found := study())
    return plot(found, args.plot) if args.plot else None


if __name__ == "__main__":
    main()
