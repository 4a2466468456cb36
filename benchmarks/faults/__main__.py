"""Try every fault, and print the table of docs/reliability.md; exit 1 if a promise was broken.

python -m benchmarks.faults [WORDS]    only rows whose fault has these words
"""

import sys
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.faults.row import Row, table
from benchmarks.faults.rows import ROWS


def main() -> int:
    words = " ".join(sys.argv[1:])
    seen: dict[Row, str] = {}
    broken = 0
    for row in ROWS:
        if words not in row.fault:
            continue
        begun = perf_counter()
        with TemporaryDirectory() as folder:
            try:
                seen[row] = row.probe(Path(folder))
            except Exception as error:
                traceback.print_exc()
                seen[row] = f"**BROKEN**: {str(error).splitlines()[0] if str(error) else error!r}"
                broken += 1
        print(f"{perf_counter() - begun:6.1f} s  {row.fault}: {seen[row]}", file=sys.stderr)
    print(table(seen))
    print(f"\n{len(seen) - broken} passed, {broken} failed")
    return 1 if broken or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
