"""What schedules lose, with a judge that knows the grades, and with one that errs.

    python -m benchmarks.schedules FOLDER...     # nDCG@10 x100 on BEIR-like folders

A tournament with time for 3 or 2 turns is compared with one that looks at fewer passages instead.
Error is normal noise on the grade (in units of half the best grade), drawn anew for every
window. Lists of fewer than 90 passages are left out; at most 60 queries of a collection.
"""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from benchmarks.beir import first_stage, judgements
from rearank_agent.metrics import ndcg
from rearank_agent.passage import Reply, Window
from rearank_agent.policies import best_first
from rearank_agent.schedules import Schedule, sliding, tournament

Judge = Callable[[Window], tuple[int, ...]]
ERRORS = (0.0, 0.5, 1.0)
QUERIES, LEAST, DEPTH = 60, 90, 100


def play(make: Callable[[Callable[[], float]], Schedule], n: int, judge: Judge) -> Window:
    """The order a schedule comes to; it is made with how many turns it has had."""
    had = 0
    running = make(lambda: had).start(n)
    try:
        turn = next(running)
        while True:
            had += 1
            turn = running.send([Reply(judge(window)) for window in turn.windows])
    except StopIteration as done:
        return done.value


def timed(turns: int):
    return lambda had: tournament(20, lambda: turns - had())


WAYS = {
    "first stage": None,
    "sliding, 9 turns": (100, lambda _: sliding(20, 10)),
    "tournament, 4 turns": (100, timed(99)),
    "3 turns, narrowed": (100, timed(3)),
    "3 turns, first 80": (80, timed(99)),
    "2 turns, narrowed": (100, timed(2)),
    "2 turns, first 40": (40, timed(99)),
    "1 turn, first 20": (20, timed(99)),
}  # fmt: skip


def values(folder: Path, error: float) -> dict[str, float]:
    """The mean nDCG@10 of each way on a collection; empty if its lists are short."""
    qrels, chance = judgements(folder), random.Random(1)
    found: dict[str, list[float]] = {}
    lists = {q: ids[:DEPTH] for q, ids in first_stage(folder).items() if q in qrels}
    for query, ids in [(q, ids) for q, ids in lists.items() if len(ids) >= LEAST][:QUERIES]:
        grades = [qrels[query].get(i, 0) for i in ids]
        best = max([*qrels[query].values(), 1])

        def judge(window: Window, grades=grades, best=best) -> tuple[int, ...]:
            return best_first([grades[p] / best + error * chance.gauss(0, 0.5) for p in window])

        for name, way in WAYS.items():
            n = min(len(ids), way[0]) if way else 0
            order = [*(play(way[1], n, judge) if way else ()), *range(n, len(ids))]
            score = ndcg([grades[p] for p in order], list(qrels[query].values()), 10)
            found.setdefault(name, []).append(score)
    return {name: 100 * fmean(scores) for name, scores in found.items()}


def main() -> None:
    """Print the mean over the collections, a column for each size of error."""
    folders = [Path(name) for name in sys.argv[1:]]
    tables = {error: [v for f in folders if (v := values(f, error))] for error in ERRORS}
    print(f"{len(tables[0.0])} collections", *(f"error {error:3}" for error in ERRORS), sep="  ")
    for name in WAYS:
        means = (fmean(table[name] for table in tables[error]) for error in ERRORS)
        print(f"{name:20}", *(f"{mean:8.2f}" for mean in means))


if __name__ == "__main__":
    main()
