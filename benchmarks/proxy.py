"""A server alone and behind the proxy: start, a call passed through, a reranked search.

python -m benchmarks.proxy
"""

import json
import os
import sys
import tempfile
from statistics import median
from time import perf_counter

from benchmarks.mcp import PROGRAM, QUERY, Wire, passages
from rearank_agent.present.answer import estimate_tokens

ITEMS, CALLS, ROUNDS = 50, 100, 3
# A server in plain Python that returns the same rows for every request.
SERVER = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    text = sys.argv[1] if asked["params"].get("name") == "search" else "hello"
    result = {"content": [{"type": "text", "text": text}]}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["REARANK_CACHE"] = cache
        rows = [{"title": f"row {n}", "text": text} for n, text in enumerate(passages(ITEMS))]
        server = [sys.executable, "-c", SERVER, json.dumps(rows)]
        proxy = [PROGRAM, "mcp", "proxy", "--rerank", "search"]
        ways = {
            "alone": server,
            "behind the proxy, BM25": [*proxy, "--policy", "lexical", "--", *server],
            "behind the proxy, embedded": [*proxy, "--", *server],
        }
        found = {name: [measured(command) for _ in range(ROUNDS)] for name, command in ways.items()}
    print("   start  other call      search   tokens")
    for name, rounds in found.items():
        start, other, search, spent = (median(of) for of in zip(*rounds, strict=True))
        print(f"{start:6.2f} s  {1e3 * other:7.2f} ms  {1e3 * search:7.1f} ms  {spent:7,}  {name}")


def measured(command: list[str]) -> tuple[float, float, float, int]:
    """Seconds of start, of a call passed through, of a search; tokens of its result."""
    begun = perf_counter()
    wire = Wire(command)
    wire.begin()
    start = perf_counter() - begun
    other = [timed(wire, "echo")[0] for _ in range(CALLS)]
    search = [timed(wire, "search") for _ in range(CALLS // 10)]
    wire.end()
    texts = [part["text"] for part in search[-1][1]["content"]]
    return start, median(other), median(of for of, _ in search), sum(map(estimate_tokens, texts))


def timed(wire: Wire, tool: str) -> tuple[float, dict]:
    """Seconds of a call, and its result."""
    begun = perf_counter()
    result = wire.ask("tools/call", name=tool, arguments={"query": QUERY})
    return perf_counter() - begun, result


if __name__ == "__main__":
    main()
