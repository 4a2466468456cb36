"""A synthetic training collection in BEIR's format, with a learnable rule.

    python -m benchmarks.registry FOLDER --boats 0:40

Every boat has facts, and a fact is entered by the office (grade 2), mentioned in a log that says
less (grade 1) and gossiped about (grade 0), all in the query's words. Counting words helps a
little; the kind of source decides, which only the grades show. The same arguments give the same
texts; other boats share words with these, but no name.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random

from rearank_agent.files import write_text

__all__ = ["BOATS", "registry"]

_FIRST = (
    "amber brisk copper daring early fallow grey hollow idle jolly keen lucky merry noble ochre pale "
    "quiet royal silver tawny umber velvet white young"
)
_SECOND = (
    "anchor barnacle curlew dolphin eider fulmar gannet heron ibis jackdaw kestrel lark merlin "
    "nightjar osprey petrel quail raven swift tern urchin vulture wren yak"
)
_FACTS = {
    "cargo": "barley slate ice oranges cork",
    "builder": "leith vigo riga brest",
    "master": "widow cook monk baker",
    "length": "nine twelve twenty thirty",
    "repair": "rudder plank worm fire",
    "crew": "six seven eleven dozen",
    "sails": "brown white patched striped",
    "keel": "rusty heavy straight bent",
    "lantern": "red green dim bright",
    "berth": "north south mole quay",
}
_SOURCES = {
    2: (
        "harbour office, the {day}: {boat}, {key} recorded as {value}",
        "office register of the {day}: the {boat} has as {key} {value}, signed and sealed",
        "entered by the office: {key} of the {boat}, {value}",
    ),
    1: (
        "log of the {boat}, the {day}: weather fair, the {key} was looked at again",
        "the mate of the {boat} writes on the {day} that the {key} was in order",
        "log, the {day}: {key} of the {boat} as before",
    ),
    0: (
        "in the tavern they say of the {key} of the {boat} that it could be {value}",
        "a cousin had heard long ago of the {boat} and her {key}, maybe {value}",
        "they say: {key} of the {boat}, {value}",
    ),
}
_QUERIES = (
    "the {key} of the {boat}?",
    "{boat} {key}",
    "what is known of the {key} of the {boat}",
    "{key}, {boat}",
)
BOATS = [f"{first} {second}" for first, second in product(_FIRST.split(), _SECOND.split())]
Random(0).shuffle(BOATS)


def registry(folder: Path, boats: slice) -> None:
    """Write the collection of some of the 576 boats: ten queries and fifty passages a boat."""
    corpus, queries, qrels = [], [], ["query-id\tcorpus-id\tscore"]
    for boat, key in product(BOATS[boats], _FACTS):
        random = Random(f"{boat} {key}")
        query = f"{boat}, {key}".replace(" ", "-")
        text = random.choice(_QUERIES).format(boat=boat, key=key)
        queries.append({"_id": query, "text": text})
        for number, (grade, text) in enumerate(_passages(boat, key, random)):
            corpus.append({"_id": f"{query}-{number}", "title": "", "text": text})
            qrels.append(f"{query}\t{query}-{number}\t{grade}")
    Random(len(corpus)).shuffle(corpus)
    for name, lines in (("corpus.jsonl", corpus), ("queries.jsonl", queries)):
        write_text(folder / name, (f"{json.dumps(line)}\n" for line in lines))
    write_text(folder / "qrels.tsv", "\n".join(qrels) + "\n")


def _passages(boat: str, key: str, random: Random) -> Iterator[tuple[int, str]]:
    """Grade and text of five passages about a fact, by sources of all kinds."""
    for grade in (2, 1, 0, 0, random.choice((2, 1))):
        text = random.choice(_SOURCES[grade])
        value, day = random.choice(_FACTS[key].split()), f"{random.randint(2, 28)}th"
        yield grade, text.format(boat=boat, key=key, value=value, day=day)


def main() -> None:
    """Write the collection."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--boats", default="0:40", help="which of the 576, as FROM:TO")
    args = parser.parse_args()
    first, last = map(int, args.boats.split(":"))
    registry(args.folder, slice(first, last))


if __name__ == "__main__":
    main()
