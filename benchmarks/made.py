"""A synthetic collection with a learnable rule: the kind of source decides the grade.

Boats have facts. Every fact is in a note of the harbour office (grade 2), in a boat's log
that says less (grade 1) and in two rumours (grade 0), all with the query's words. The same
arguments give the same texts.
"""

from __future__ import annotations

from itertools import product
from random import Random

from rearank_agent.data.collection import Collection
from rearank_agent.types import Passage

__all__ = ["harbour"]

_FIRST = (
    "Amber",
    "Brisk",
    "Copper",
    "Daring",
    "Early",
    "Fallow",
    "Grey",
    "Hollow",
    "Idle",
    "Jolly",
)
_SECOND = ("Anchor", "Barnacle", "Curlew", "Dolphin", "Eider", "Fulmar", "Gannet", "Heron")
_FACTS = {
    "cargo": ("barley", "slate", "ice", "oranges", "cork"),
    "builder": ("a yard in Leith", "a yard in Vigo", "two brothers in Riga"),
    "master": ("a widow", "a former cook", "a monk", "the owner's son"),
    "length": ("nine metres", "twenty metres", "thirty metres"),
    "repair": ("a bent rudder", "a sprung plank", "worm", "fire"),
}
_TEXTS = (
    "Harbour office, entry of the {day}: {boat}, {key} recorded as {value}.",
    "Log of the {boat}, the {day}: weather fair, and the {key} was looked at again.",
    "In the tavern they say of the {key} of the {boat} that it could be {value}.",
    "What of the {boat} and her {key}? A cousin had heard of {value}, long ago.",
)


def harbour(name: str, boats: slice) -> Collection:
    """A collection of some of 80 boats, 5 queries and 20 passages a boat; without first-stage lists."""
    random = Random(name)
    corpus: dict[str, Passage] = {}
    queries: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    named = [f"{first} {second}" for first, second in product(_FIRST, _SECOND)]
    for boat, (key, values) in product(Random(0).sample(named, len(named))[boats], _FACTS.items()):
        query = f"{boat}, {key}"
        for number, text in enumerate(_TEXTS):
            day, value = f"{random.randint(2, 28)}th", random.choice(values)
            filled = text.format(boat=boat, key=key, value=value, day=day)
            corpus[f"{query}, {number}"] = Passage(f"{query}, {number}", filled)
        queries[query] = f"what of the {key} of the {boat}?"
        qrels[query] = {f"{query}, {number}": 2 - number for number in range(2)}
    return Collection(name, "made", queries, qrels, corpus, hash=f"{name} {boats}")
