"""The schedules of one policy: which passages share a window, turn after turn.

sliding      20/10 from the tail to the head (RankGPT, arXiv 2304.09542, section 3.3)
tournament   strided groups, their better halves again, until one group is left
             (after TourRank, arXiv 2406.11678)
topdown      a pivot from the head's window splits the rest (arXiv 2405.14589)
whole, batches, groups   for policies whose scores compare across windows
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from math import ceil, inf

from rearank_agent.errors import InputError
from rearank_agent.schedules.turn import Schedule, Turn, Turns, reordered
from rearank_agent.types import Fault, Reply, Window

__all__ = ["batches", "groups", "half_sliding", "sliding", "topdown", "tournament", "whole"]


def whole() -> Schedule:
    """Everything in one window."""

    def turns(n: int) -> Turns:
        order = tuple(range(n))
        (reply,) = yield Turn((order,), order)
        return reordered(order, reply)

    return Schedule("whole", turns)


def sliding(window: int = 20, stride: int = 10) -> Schedule:
    """A window from the tail to the head; the last one is at the head, whatever n is."""
    _check("sliding", window=window, stride=stride)
    if stride > window:
        raise InputError(f"sliding: the stride {stride} leaves gaps between windows of {window}")

    def turns(n: int) -> Turns:
        order = tuple(range(n))
        end = n
        while True:
            start = max(0, end - window)
            (reply,) = yield Turn((order[start:end],), order)
            order = order[:start] + reordered(order[start:end], reply) + order[end:]
            if start == 0:
                return order
            end -= stride

    return Schedule(f"sliding:{window}:{stride}", turns)


def half_sliding(window: int) -> Schedule:
    """The paper's schedule for any window size: sliding with a stride of half a window."""
    return sliding(window, window // 2)


def tournament(window: int = 20, turns_left: Callable[[], float] = lambda: inf) -> Schedule:
    """Strided groups are ranked at once; half a window of each goes on, until one window is left.

    No fewer go on, as long as there is time: the best half window of all could stand in one
    group. So a perfect policy puts the first half window in perfect order.

    Args:
        window: the passages in a group, and in the final.
        turns_left: how many more turns there is time for. When few are left fewer passages of
            each group go on (fault `narrowed`); with one turn only the first window is ranked
            (fault `depth`).
    """
    _check("tournament", window=window)
    half = window // 2

    def turns(n: int) -> Turns:
        order = tuple(range(n))
        remaining, faults = n, list[Fault]()
        while remaining > window:
            if turns_left() < 2:
                faults.append(_depth(window, remaining))
                remaining = window
                break
            count = ceil(remaining / window)
            strided = tuple(order[:remaining][i::count] for i in range(count))
            replies = yield Turn(strided, order, tuple(faults))
            ranked = [reordered(w, reply) for w, reply in zip(strided, replies, strict=True)]
            order = _interleave(ranked) + order[remaining:]
            kept = max(1, min(half, _max_passages(turns_left(), window) // count))
            faults = [_narrowed(kept, half)] if kept < half else []
            remaining = count * kept
        (reply,) = yield Turn((order[:remaining],), order, tuple(faults))
        return reordered(order[:remaining], reply) + order[remaining:]

    return Schedule(f"tournament:{window}", turns)


def _max_passages(turns: float, window: int) -> int:
    """How many passages a tournament can rank in these turns, half of each window going on."""
    passages, half = window, window // 2
    while turns >= 2 and passages < 1_000_000:
        passages, turns = passages // half * window, turns - 1
    return passages


def _depth(kept: int, remaining: int) -> Fault:
    return Fault("depth", (), f"there was time for the first {kept} of {remaining} passages only")


def _narrowed(kept: int, half: int) -> Fault:
    detail = f"{kept} of each group went on instead of {half}, to keep within the time"
    return Fault("narrowed", (), detail)


def topdown(window: int = 20) -> Schedule:
    """The head's window gives a pivot; passages that beat it in parallel windows join the head."""
    _check("topdown", window=window, at_least=4)

    def turns(n: int) -> Turns:
        settled: Window = ()  # worse than everything still open, best first
        open_: Window = tuple(range(n))
        while True:
            head = open_[:window]
            (reply,) = yield Turn((head,), open_ + settled)
            head = reordered(head, reply)
            rest = open_[window:]
            if not rest:
                return head + settled
            cut = window // 2 - 1
            pivot = head[cut]
            shown = tuple((pivot, *part) for part in _parts(rest, window - 1))
            replies = yield Turn(shown, head + rest + settled)
            ranked = [reordered(w, reply) for w, reply in zip(shown, replies, strict=True)]
            better = _interleave([w[: w.index(pivot)] for w in ranked])
            worse = _interleave([w[w.index(pivot) + 1 :] for w in ranked])
            settled = head[cut:] + worse + settled
            if not better:
                return head[:cut] + settled
            open_ = head[:cut] + better

    return Schedule(f"topdown:{window}", turns)


def groups(window: int = 20) -> Schedule:
    """All windows in one turn, then one order by score."""
    _check("groups", at_least=1, window=window)

    def turns(n: int) -> Turns:
        order = tuple(range(n))
        parts = _parts(order, window)
        replies = yield Turn(parts, order)
        return _by_score(order, parts, replies)

    return Schedule(f"groups:{window}", turns, comparable=True)


def batches(window: int = 100) -> Schedule:
    """One window per turn, then one order by score: like `whole`, with progress.

    The order so far has the ranked passages by score before the others.
    """
    _check("batches", at_least=1, window=window)

    def turns(n: int) -> Turns:
        order = tuple(range(n))
        parts = _parts(order, window)
        replies: list[Reply] = []
        for part in parts:
            replies.extend((yield Turn((part,), order)))
            order = _by_score(tuple(range(n)), parts[: len(replies)], replies)
        return order

    return Schedule(f"batches:{window}", turns, comparable=True)


def _by_score(order: Window, parts: Sequence[Window], replies: Sequence[Reply]) -> Window:
    score: dict[int, float] = {}
    for part, reply in zip(parts, replies, strict=True):
        if reply.scores is not None:  # a failed window goes last, in its given order
            score.update(zip(part, reply.scores, strict=True))
    ranked = sorted(score, key=lambda position: (-score[position], position))
    return (*ranked, *(position for position in order if position not in score))


def _parts(order: Window, size: int) -> tuple[Window, ...]:
    return tuple(order[i : i + size] for i in range(0, len(order), size))


def _interleave(ranked: Sequence[Window]) -> Window:
    return tuple(p for rank in zip_longest(*ranked) for p in rank if p is not None)


def _check(name: str, *, at_least: int = 2, window: int, stride: int = 1) -> None:
    if window < at_least:
        raise InputError(f"{name}: a window must hold {at_least} passages or more, not {window}")
    if stride < 1:
        raise InputError(f"{name}: the stride must be 1 or more, not {stride}")
