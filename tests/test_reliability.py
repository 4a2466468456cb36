"""docs/reliability.md has the rows of benchmarks/faults, which `make test-faults` tries."""

from pathlib import Path

from benchmarks.faults.rows import ROWS

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"


def test_the_page_has_every_row_that_is_tried():
    table, _, _ = PAGE.read_text().partition("\n## ")  # the first section's
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines[2:]]
    assert [row[:4] for row in cells] == [(r.fault, r.tried, r.lost, r.recovers) for r in ROWS]
    assert all(row[4] for row in cells), "a row without what was seen"
    assert len({r.fault for r in ROWS}) == len(ROWS)
