"""Many requests to the default policy with one deadline each: in turn, and all begun at once.

python -m benchmarks.many
"""

import asyncio
from collections.abc import Sequence
from time import perf_counter

from rearank_agent import Ranking, Reranker

QUERIES, PASSAGES, WORDS_EACH, DEADLINE = 200, 50, 60, 50.0
WORDS = ("flea", "small", "insect", "lives", "blood", "of", "its", "host", "jumps", "far", "and",
         "bites", "a", "cat", "or", "dog")  # fmt: skip


def main() -> None:
    """Print the table."""
    print(f"{QUERIES} queries of {PASSAGES} passages of {WORDS_EACH} words, {DEADLINE:g} s each")
    print("   wall    median   slowest  partial")
    reranker = Reranker()
    reranker.rerank_sync("warm up", ["a passage"])
    start = perf_counter()
    many = asyncio.run(reranker.rerank_many(requests(), deadline=DEADLINE))
    show("rerank_many", perf_counter() - start, many)
    start = perf_counter()
    all_begun = asyncio.run(gathered(reranker))
    show("asyncio.gather of rerank", perf_counter() - start, all_begun)


def requests() -> list[tuple[str, list[str]]]:
    """Queries with passages, all different."""
    return [
        (f"how far does flea {query} jump", [text(query * PASSAGES + at) for at in range(PASSAGES)])
        for query in range(QUERIES)
    ]


def text(number: int) -> str:
    """A passage."""
    words = (WORDS[(number * (at + 1) + at) % len(WORDS)] for at in range(WORDS_EACH - 1))
    return f"{number} {' '.join(words)}"


async def gathered(reranker: Reranker) -> list[Ranking]:
    """All requests begun at the same time."""
    begun = (reranker.rerank(*request, deadline=DEADLINE) for request in requests())
    return await asyncio.gather(*begun)


def show(name: str, wall: float, rankings: Sequence[Ranking | Exception]) -> None:
    """Print a row."""
    done = [one for one in rankings if isinstance(one, Ranking)]
    assert len(done) == QUERIES
    seconds = sorted(one.usage.seconds for one in done)
    partial = sum(one.partial for one in done)
    print(f"{wall:7.1f} {seconds[QUERIES // 2]:9.2f} {seconds[-1]:9.2f}  {partial:7}  {name}")


if __name__ == "__main__":
    main()
