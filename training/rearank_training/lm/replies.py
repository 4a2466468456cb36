"""The replies of a run: their rewards and measures, and the few that are kept to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from statistics import fmean
from typing import Any

from rearank_agent.errors import InputError
from rearank_agent.listwise import parse_reply
from rearank_agent.text import words
from rearank_training.rows.rewards import (
    CompleteList,
    Ndcg,
    Rbo,
    Rearank,
    Recall,
    RelativeNdcg,
    Reward,
    Tags,
)

__all__ = [
    "RatedReply",
    "Samples",
    "is_copied",
    "metrics",
    "rate",
    "repeats",
    "reward_parts",
    "shares",
]

_MAX_QUERY = 1_000  # characters
_MAX_HEAD, _MAX_TAIL = 6_000, 2_000  # of a reply: the thought begins it, the answer ends it
_FAULTS = ("unreadable", "missing", "repeated", "foreign")
_NGRAM = 8  # words: in "[3] has nothing of the query." and the like it holds two identifiers
_MAX_REPEATED = 0.2
"""The share of repeated n-grams above which a reply repeats itself: Gopher's rule for web pages
allows 10% to 15% of such characters (arXiv 2112.11446, table A1), and lists have formulas."""


@dataclass(frozen=True, slots=True)
class RatedReply:
    """A reply, and what it was worth.

    Attributes:
        prompt: the name of the row; of a dev query, collection, number and turn.
        grades: of the passages as they were shown.
        parts: of the reward, by name.
    """

    prompt: str
    query: str
    reply: str
    grades: tuple[float, ...]
    reward: float
    parts: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """The values, with texts of bounded length."""
        reply, over = self.reply, len(self.reply) - _MAX_HEAD - _MAX_TAIL
        if over > 0:
            gap = f"\n[... {over:,} characters left out ...]\n"
            reply = reply[:_MAX_HEAD] + gap + reply[-_MAX_TAIL:]
        rounded = {name: round(value, 4) for name, value in self.parts.items()}
        texts = {"query": self.query[:_MAX_QUERY], "reply": reply, "left_out": max(over, 0)}
        return asdict(self) | texts | {"reward": round(self.reward, 4), "parts": rounded}


def reward_parts(reward: Reward) -> tuple[Reward, ...]:
    """The parts of a reward that are logged."""
    form = Tags(getattr(reward, "thought", "written")), CompleteList()
    order = (Ndcg(), Recall(), Rbo()) if reward.name == "reasonrank" else (RelativeNdcg(),)
    return (*order, *form)


def rate(
    reward: Reward,
    prompt: str,
    query: str,
    reply: str,
    grades: Sequence[float],
    gain: float | None = None,
) -> RatedReply:
    """A reply with its reward, and the parts of that.

    Args:
        gain: of the complete list, where that is the goal.

    Raises:
        InputError: the reward failed, or is not a number; the message names the prompt.
    """
    try:
        if gain is not None and isinstance(reward, Rearank):
            value = reward.of_gain(gain, reply, grades)
        else:
            value = reward.of_reply(reply, grades)
    except Exception as error:
        raise InputError(
            f"the reward {reward.name} failed on the row {prompt}: {error!r:.200}; "
            f"the reply was {reply!r:.200}"
        ) from error
    if value != value:
        raise InputError(f"the reward {reward.name} of the row {prompt} is not a number")
    parts = {part.name: part.of_reply(reply, grades) for part in reward_parts(reward)}
    parts |= {} if gain is None else {"list_gain": gain}
    return RatedReply(prompt, query, reply, tuple(grades), value, parts)


class Samples:
    """The best, the worst and a random one of the replies since they were last taken."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._start(0)

    def _start(self, step: int) -> None:
        self._random = Random(f"{self._seed} {step}")  # noqa: S311 - reproducible, not secret
        self._count, self._kept = 0, dict[str, RatedReply]()

    def extend(self, replies: Iterable[RatedReply]) -> None:
        """Consider these too; of equal ones the first is kept."""
        for one in replies:
            kept, self._count = self._kept, self._count + 1
            if not kept or one.reward > kept["best"].reward:
                kept["best"] = one
            if "worst" not in kept or one.reward < kept["worst"].reward:
                kept["worst"] = one
            if self._random.randrange(self._count) == 0:
                kept["random"] = one

    def take(self, step: int) -> list[dict[str, Any]]:
        """Those kept, each once, as JSON with `kind`: best, worst, random; then begin again.

        Args:
            step: of the run: what is drawn next depends on it and the seed alone.
        """
        once: dict[int, tuple[str, RatedReply]] = {}
        for kind, one in self._kept.items():
            once.setdefault(id(one), (kind, one))
        self._start(step)
        return [{"kind": kind, **one.as_json()} for kind, one in once.values()]


def is_copied(reply: str, n: int) -> bool | None:
    """Whether it gives n passages in the order that they were shown; None if it has no answer."""
    parsed = parse_reply(reply, n)
    return parsed.order == tuple(range(n)) if parsed.readable else None


def repeats(reply: str) -> bool:
    """Whether more than a fifth of its n-grams of eight words were there before."""
    found = words(reply)
    grams = Counter(tuple(found[i : i + _NGRAM]) for i in range(len(found) - _NGRAM + 1))
    total = grams.total()
    return total > 0 and 1 - len(grams) / total > _MAX_REPEATED


def metrics(one: RatedReply) -> dict[str, float]:
    """What is logged of a reply in training; the log has the means.

    Its faults and the parts of its reward, whether it repeats itself and, if it has an answer,
    whether that keeps the order of the passages.
    """
    parsed = parse_reply(one.reply, len(one.grades))
    kinds = {fault.kind for fault in parsed.faults}
    found = {f"fault/{kind}": float(kind in kinds) for kind in _FAULTS}
    found |= {f"part/{name}": value for name, value in one.parts.items()}
    found["repeats"] = float(repeats(one.reply))
    copied = is_copied(one.reply, len(one.grades))
    return found if copied is None else found | {"copied": float(copied)}


def shares(replies: Sequence[RatedReply]) -> dict[str, float]:
    """The shares of replies that are `tagged`, that repeat themselves (`repeats`), and, of those
    with an answer, that keep the order of the passages (`copied`; 0 where none has an answer)."""
    copied = [is_copied(one.reply, len(one.grades)) for one in replies]
    found: dict[str, list[float]] = {
        "tagged": [one.parts["tags"] for one in replies],
        "repeats": [repeats(one.reply) for one in replies],
        "copied": [one for one in copied if one is not None] or [0],
    }
    return {name: round(fmean(values), 6) for name, values in found.items()}
