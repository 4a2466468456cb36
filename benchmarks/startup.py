"""Start-up time: medians of several warm runs.

python -m benchmarks.startup
"""

import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

RUNS = 11
CLI = str(Path(sys.executable).parent / "rearank-agent")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import rearank_agent": [sys.executable, "-c", "import rearank_agent"],
    "rearank-agent --help": [CLI, "--help"],
    "rearank-agent rerank (12 passages)": [
        CLI, "rerank", "how long can a flea live", str(Path(__file__).parent.parent / "examples/fleas.jsonl"),
    ],
}  # fmt: skip


def main() -> None:
    """Print the median and the fastest of the runs of each command, in seconds."""
    print(f"{'median':>8} {'fastest':>8}  command")
    for name, command in COMMANDS.items():
        times = []
        for _ in range(RUNS + 1):
            start = perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times.append(perf_counter() - start)
        print(f"{median(times[1:]):8.3f} {min(times[1:]):8.3f}  {name}")


if __name__ == "__main__":
    main()
