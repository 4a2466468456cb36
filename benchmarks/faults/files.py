"""Files, folders, stores and locks."""

import json
import os
import subprocess
import sys
import threading
from ctypes import CDLL
from pathlib import Path

from benchmarks import documents
from benchmarks.faults.hostile_server import HostileServer, whole
from benchmarks.faults.row import Row
from benchmarks.load import ROOT
from rearank_agent.search.library import Library

__all__ = ["ROWS"]

PROGRAM = [sys.executable, "-m", "rearank_agent"]


def two_evals(folder: Path) -> str:
    env = {**os.environ, "REARANK_CACHE": str(folder / "cache")}
    pairs = 4
    for number in range(pairs):
        out = folder / f"out{number}"
        command = [
            *PROGRAM,
            "eval",
            str(ROOT / "examples" / "harbour"),
            "--policy",
            "lexical",
            "--out",
            str(out),
        ]
        both = [
            subprocess.Popen(
                command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        errors = [process.communicate(timeout=120)[1] for process in both]
        codes = sorted(process.returncode for process in both)
        # One may be done before the other begins, which then finds all of its records.
        assert codes in ([0, 0], [0, 2]), (codes, errors)
        assert codes == [0, 0] or any("another eval is running" in error for error in errors), (
            errors
        )
        for records in out.rglob("records.jsonl"):
            assert records.stat().st_size
            queries = [line.split('"query": ')[1][:60] for line in records.read_text().splitlines()]
            assert len(queries) == len(set(queries)), "a query twice"
    return f"{pairs} pairs: each query once, the other ended with what to do or had nothing to do"


def no_json(folder: Path) -> str:
    lines = {
        "NaN": '{"text": "b", "page": NaN}',
        "half a character": '{"text": "b", "note": "\\ud83d"}',
        "31 digits": '{"text": "b", "score": 0.1234567890123456789012345678901}',
        "100,000 brackets": '{"text": "b", "x": ' + "[" * 100_000,
    }
    for name, line in lines.items():
        done = subprocess.run(
            [*PROGRAM, "rerank", "q", "--policy", "lexical"], input=f'{{"text": "a"}}\n{line}\n',
            capture_output=True, text=True, check=False, cwd=folder, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, ""), (name, done)
        assert "stdin, line 2: not JSON: " in done.stderr, (name, done.stderr)
        assert "Traceback" not in done.stderr, name
    return f"{len(lines)} of {len(lines)}: exit code 2, the line, and what is wrong with it"


SEARCH = """
import json, resource, sys, time
from pathlib import Path
from rearank_agent.search.library import Library
start = time.perf_counter()
found = Library([Path(sys.argv[1])], Path(sys.argv[2])).search("pump")
mb = [resource.getrusage(who).ru_maxrss // 1024 for who in
      (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"places": sorted(Path(one.id).name for one in found.passages), "mb": mb,
                  "faults": [[one.kind, one.detail] for one in found.faults],
                  "seconds": time.perf_counter() - start}))
"""


def unpacking(folder: Path) -> str:
    docs = folder / "docs"
    docs.mkdir()
    bombs = {
        "bomb.docx": documents.docx("A pump.", bomb_mib=390),
        "far.xlsx": documents.xlsx(A1="pump", XFD1048576="end"),
    }
    good = {
        "good.docx": documents.docx("A pump."),
        "good.md": b"A pump.",
        "good.pdf": documents.pdf("A pump."),
    }
    for name, content in (bombs | good).items():
        (docs / name).write_bytes(content)
    assert len(bombs["bomb.docx"]) > 390_000
    runs = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", SEARCH, str(docs), str(folder / "cache")],
            capture_output=True, text=True, check=True, timeout=200,
        )  # fmt: skip
        runs.append(json.loads(done.stdout))
        assert [place.partition(":")[0] for place in runs[-1]["places"]] == list(good), runs
        assert [kind for kind, _ in runs[-1]["faults"]] == ["large"] * 2, runs
    first, again = runs
    parent, child = first["mb"]
    assert parent < 400, first
    assert child < 2100, first
    assert again["seconds"] < 5, again
    return (
        f"3 of 3 good files found in {first['seconds']:.0f} s, {again['seconds']:.1f} s the second time; "
        f"{parent} MB of memory, {child:,} MB in the process that converts"
    )


def swapped(folder: Path) -> str:
    docs, aside, outside = folder / "docs", folder / "aside", folder / "outside"
    for place, word in ((docs / "deep", "flea"), (outside, "zebra")):
        place.mkdir(parents=True)
        (place / "note.txt").write_text(f"a {word:<5} jumps")
        os.utime(place / "note.txt", (1, 1))
    (docs / "first.txt").write_text("a flea")
    stop, swaps, searches = threading.Event(), 0, 300

    def go_on() -> None:
        nonlocal swaps
        while not stop.is_set():
            (docs / "deep").rename(aside)
            (docs / "deep").symlink_to(outside)
            (docs / "deep").unlink()
            aside.rename(docs / "deep")
            swaps += 1

    thread = threading.Thread(target=go_on)
    thread.start()
    whole = 0
    try:
        for number in range(searches):
            cache = folder / f"cache{number}"
            found = Library([docs], cache).search("flea zebra")
            assert all("zebra" not in passage.text for passage in found.passages), found
            assert any("first.txt" in passage.place for passage in found.passages), found
            assert all(b"zebra" not in index.read_bytes() for index in cache.rglob("*.npz"))
            whole += len(found.passages) == 2
    finally:
        stop.set()
        thread.join()
    return f"{searches} searches, {swaps:,} swaps: no word of the outside; {whole} had both files"


def _without_privileges() -> None:
    """Have the program that is started next, if it is root's, heed the modes of files."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        CDLL(None).prctl(24, capability)  # PR_CAPBSET_DROP


def no_cache(folder: Path) -> str:
    docs, cache = folder / "docs", folder / "cache"
    docs.mkdir()
    (docs / "a.md").write_text("a flea\n\na dog\n")
    reply = {"role": "assistant", "content": "<answer>[2] > [1]</answer>"}
    chat = {"model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": reply}]}
    seen = []
    with HostileServer(whole(json.dumps(chat).encode()), whole(b'{"data": [{"id": "m"}]}')) as one:
        for name, make in {
            "no right to look into it": lambda: cache.mkdir(mode=0o600),
            "read-only": lambda: cache.mkdir(mode=0o555),
            "a file in its place": cache.touch,
        }.items():
            make()
            for command in (["rerank", "flea", "-", "--policy", "vllm:m"],
                            ["search", "flea", str(docs), "--policy", "lexical"]):  # fmt: skip
                done = subprocess.run(
                    [*PROGRAM, *command, "--json"], preexec_fn=_without_privileges,
                    input="a flea\na dog\n", capture_output=True, text=True, check=False, cwd=docs,
                    env={**os.environ, "REARANK_CACHE": str(cache), "VLLM_BASE_URL": one.url},
                )  # fmt: skip
                assert done.returncode == 0, (name, command, done.stderr)
                ranking = json.loads(done.stdout)
                kinds = [fault["kind"] for fault in ranking["faults"]]
                assert set(kinds) == {"cache"}, (name, ranking["faults"])
                assert not ranking["partial"]
                assert command[0] == "search" or ranking["passages"][0]["was"] == 2
                seen.append(kinds)
            cache.unlink() if cache.is_file() else cache.rmdir()
    return f"{len(seen)} of {len(seen)}: ranked, exit code 0, each with the fault `cache`"


ROWS = (
    Row("two evals at once into one folder", "four pairs of processes", "nothing",
        "a lock on the folder itself; the other says so, and can go on later", two_evals),
    Row("lines that only Python takes for JSON", "`NaN`, half a character, 31 digits, 100,000 brackets",
        "that call", "an error with the line, before anything is ranked", no_json),
    Row("documents that unpack without end",
        "a .docx of 0.4 MB with 390 MiB of paragraphs, an .xlsx of 5 KB with 17 billion cells, beside good files",
        "those files", "documents are converted in a process with limits of size, memory and time; fault `large`, kept in the index",
        unpacking),
    Row("a link that takes a folder's place while a search runs",
        "a folder and a link to the outside are swapped without a pause", "the files in it, for that search",
        "every folder is opened from the one above it, never through a link; fault `link`, `outside` or `vanished`",
        swapped),
    Row("a cache folder that cannot be used", "without the right to look into it, read-only, a file in its place; "
        "`rerank` with a model and `search`", "the cache",
        "the policy is asked and the files are read; the fault `cache`", no_cache),
)  # fmt: skip
