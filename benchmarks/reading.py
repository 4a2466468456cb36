"""Time to read collections: every line of the corpus is checked, texts stay on disk.

python -m benchmarks.reading FOLDER...     # BEIR-like folders
"""

import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from rearank_agent.data.beir import read_folder

RUNS = 5


def seconds(folders: list[Path]) -> float:
    """The time to read all folders."""
    start = perf_counter()
    for folder in folders:
        read_folder(folder)
    return perf_counter() - start


def main() -> None:
    """Print the median time, and the time scaled to 30 MB."""
    folders = [Path(name) for name in sys.argv[1:]]
    size = sum(path.stat().st_size for folder in folders for path in folder.glob("*.*")) / 1e6
    times = [seconds(folders) for _ in range(RUNS)]
    print(f"{len(folders)} collections, {size:.0f} MB; medians of {RUNS} runs")
    print(f"{median(times):.2f} s, {30 * median(times) / size:.2f} s for 30 MB")


if __name__ == "__main__":
    main()
