"""Time of `search` over a folder of 10,000 passages, by part, cold and warm.

python -m benchmarks.search
"""

import random
import resource
import tempfile
from pathlib import Path
from time import perf_counter

from rearank_agent import Reranker
from rearank_agent.search.library import Library

PASSAGES, WORDS, PER_FILE = 10_000, 90, 25


def write(folder: Path) -> None:
    """Files of made-up paragraphs; words as frequent as in language (Zipf)."""
    rng = random.Random(7)
    letters = "bcdfglmnprstvz"
    vocabulary = [
        "".join(rng.choice(letters) + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))
        for _ in range(20_000)
    ]
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    for number in range(PASSAGES // PER_FILE):
        paragraphs = (
            " ".join(rng.choices(vocabulary, weights, k=WORDS)) + "." for _ in range(PER_FILE)
        )
        (folder / f"file{number}.txt").write_text("\n\n".join(paragraphs))
    (folder / "flea.txt").write_text("A flea can live for a hundred days on a dog. " * 8)


def main() -> None:
    """Print the seconds of each part."""
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name, "files"), Path(name, "cache")
        folder.mkdir()
        write(folder)
        query = "how long can a flea live " + (folder / "file3.txt").read_text()[:60]
        reranker = Reranker("embedded")
        reranker.rerank_sync(query, ["warm"])
        parts = ("look", "load", "read", "index", "search")
        print(f"{'':24}" + "".join(f"{part:>8}" for part in (*parts, "rerank", "all")))

        def show(label: str) -> None:
            start = perf_counter()
            library = Library([folder], cache)  # a new one, as for every command
            found = library.search(query, 50)
            before = perf_counter()
            reranker.rerank_sync(query, found.passages, blend=reranker.policy.blend)
            end = perf_counter()
            times = [*(found.seconds[part] for part in parts), end - before, end - start]
            print(f"{label:24}" + "".join(f"{seconds:8.2f}" for seconds in times))

        show("first time")
        show("again")
        show("and again")
        (folder / "flea.txt").write_text("A flea can live for a hundred days on a cat. " * 8)
        show("one file changed")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
