"""Try every fault, and print the table of docs/reliability.md; exit 1 if a promise was broken.

python -m benchmarks.faults [WORDS]    only rows whose fault has these words
python -m benchmarks.faults --write    what was seen into docs/reliability.md too; a new row is
                                       written there by hand first
"""

import sys
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.faults.row import Row, table
from benchmarks.faults.rows import ROWS

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def main() -> int:
    write = "--write" in sys.argv
    words = " ".join(word for word in sys.argv[1:] if word != "--write")
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
    if write and not broken:
        PAGE.write_text(_with_rows(PAGE.read_text(), table(seen)))
    print(f"\n{len(seen) - broken} passed, {broken} failed")
    return 1 if broken or not seen else 0


def _with_rows(page: str, shown: str) -> str:
    """The page with these rows in the place of those for the same faults."""
    rows = {line.split(" | ")[0]: line for line in shown.splitlines()}
    return "\n".join(rows.get(line.split(" | ")[0], line) for line in page.splitlines()) + "\n"


if __name__ == "__main__":
    sys.exit(main())
