"""Time, size and memory of `search` over a folder of made-up passages, by part.

    python -m benchmarks.search [--passages 10000]

"first time" reads the files and has no vectors. Then every passage gets one: made-up numbers, since
time and size do not depend on them, and real ones take 10 ms each; `per passage` says what those of
100 passages take. "a new process" is the command line as a whole; the other rows do not start one.
"""

import argparse
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from rearank_agent import Reranker
from rearank_agent.policies.embedded.passage_vectors import PassageVectors
from rearank_agent.policies.embedded.similarity import PIECE
from rearank_agent.policies.embedded.token_count import count_tokens
from rearank_agent.search.fill import fill
from rearank_agent.search.library import Library

WORDS, PER_FILE = 90, 25
WIDTH = 384
PARTS = ("look", "load", "read", "index", "vectors", "search")


def write(folder: Path, passages: int) -> None:
    """Files of made-up paragraphs; words as frequent as in language (Zipf)."""
    rng = random.Random(7)
    letters = "bcdfglmnprstvz"
    vocabulary = [
        "".join(rng.choice(letters) + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))
        for _ in range(20_000)
    ]
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    for number in range(passages // PER_FILE):
        paragraphs = (
            " ".join(rng.choices(vocabulary, weights, k=WORDS)) + "." for _ in range(PER_FILE)
        )
        (folder / f"file{number}.txt").write_text("\n\n".join(paragraphs))
    (folder / "flea.txt").write_text("A flea can live for a hundred days on a dog. " * 8)


def make_up(library: Library) -> int:
    """Give every passage a vector of random numbers; how many got one."""
    index, missing, _ = library.without_vectors()
    passages, rng = library.vectors.passages, np.random.default_rng(0)
    for start in range(0, len(missing), 500):
        part = missing[start : start + 500]
        names = [passages.name(int(index.hashes[at])) for at in part]
        made = [random_vectors(count_tokens(index.content(at)), rng) for at in part]
        passages.store.put(dict(zip(names, made, strict=True)))
    return len(missing)


def random_vectors(tokens: int, rng: np.random.Generator) -> PassageVectors:
    """Vectors of the size that a text of so many tokens has."""
    pieces = -(-tokens // PIECE)
    ones, starts = np.ones(pieces, np.float16), np.arange(pieces + 1, dtype=np.uint32)
    whole, codes = (
        rng.integers(-127, 128, WIDTH, np.int8),
        rng.integers(0, 256, (pieces, WIDTH // 4)),
    )
    return PassageVectors(whole, ones, ones, codes.astype(np.uint8), starts, tokens, True)


class Bench:
    """A folder of passages, searched again and again; prints a row for each way."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        self.queries = [
            f"how long can a flea live {(folder / f'file{number}.txt').read_text()[:60]}"
            for number in range(3, 12)
        ]
        self.reranker = Reranker("embedded")
        self.reranker.rerank_sync(self.queries[0], ["warm"])

    def row(self, label: str, library: Library, query: str) -> list[float]:
        """Search and rank once; the seconds of each part, of the ranking, of all."""
        start = perf_counter()
        found = library.search(query, 50)
        before = perf_counter()
        policy = self.reranker.policy
        policy.passages.store = library.vectors.passages.store
        self.reranker.rerank_sync(
            query, found.passages, blend=policy.blend * found.words_weight, blend_by="score"
        )
        end = perf_counter()
        times = [*(found.seconds[part] for part in PARTS), end - before, end - start]
        if label:
            show(label, times)
        return times

    def new(self) -> Library:
        """A library that has read nothing yet, as every command has."""
        return Library([self.folder], self.cache)


def show(label: str, times: list[float]) -> None:
    """A row."""
    print(f"{label:32}" + "".join(f"{seconds:8.3f}" for seconds in times), flush=True)


def process(folder: Path, cache: Path, query: str) -> float:
    """The seconds of the command line, from its start to its end."""
    command = [sys.executable, "-m", "rearank_agent", "search", query, str(folder), "--top", "3"]
    start = perf_counter()
    subprocess.run(
        command, env={**os.environ, "REARANK_CACHE": str(cache)}, check=True, capture_output=True
    )
    return perf_counter() - start


def memory(folder: Path, cache: Path) -> float:
    """Megabytes at the most of a process that loads, searches and ranks twice."""
    bench = Bench(folder, cache)
    library = bench.new()
    for query in bench.queries[:2]:
        bench.row("", library, query)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the seconds of each part, the sizes and the memory."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--passages", type=int, default=10_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name, "files"), Path(name, "cache")
        folder.mkdir()
        write(folder, args.passages)
        bench = Bench(folder, cache)
        print(f"{'':32}" + "".join(f"{part:>8}" for part in (*PARTS, "rank", "all")))
        bench.row("first time", bench.new(), bench.queries[0])
        bench.row("again, no vectors", bench.new(), bench.queries[0])
        library = bench.new()
        index, missing, _ = library.without_vectors()
        start = perf_counter()
        fill(library.vectors.passages, index, missing[:100])
        each = (perf_counter() - start) / 100
        made = make_up(bench.new())
        bench.row("all vectors, loaded", running := bench.new(), bench.queries[0])
        rows = [bench.row("", running, query) for query in bench.queries]
        show(
            "all vectors, running (median)", [median(column) for column in zip(*rows, strict=True)]
        )
        (folder / "flea.txt").write_text("A flea can live for a hundred days on a cat. " * 8)
        bench.row("one file changed, running", running, bench.queries[0])
        times = [process(folder, cache, query) for query in bench.queries[:5]]
        show("a new process (median)", [median(times)])
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            peak = pool.submit(memory, folder, cache).result()
        text = sum(path.stat().st_size for path in folder.iterdir())
        index_size = sum(path.stat().st_size for path in (cache / "search").iterdir())
        with sqlite3.connect(cache / "vectors.sqlite") as store:
            store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        vectors = (cache / "vectors.sqlite").stat().st_size
    print(
        f"{made:,} passages; per passage: text {text / made:,.0f} bytes, index with it "
        f"{index_size / made:,.0f}, vectors {vectors / made:,.0f}; {1000 * each:.0f} ms to encode"
    )
    print(f"memory of a process that loads and searches: {peak:.0f} MB at the most")


if __name__ == "__main__":
    main()
