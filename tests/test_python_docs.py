"""Every block of docs/python.md runs, in their order, and prints what the page shows."""

import re
from itertools import pairwise
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs/python.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_blocks_of_the_page_print_what_it_shows(capsys):
    names = {"__name__": "page"}
    shown = 0
    for (kind, code), (after, expected) in pairwise(BLOCKS):
        if kind == "python":
            exec(compile(code, "docs/python.md", "exec", dont_inherit=True), names)
            assert (after, capsys.readouterr().out) == ("text", expected)
            shown += 1
    assert shown == PAGE.count("```python") == 6
    assert [kind for kind, _ in BLOCKS] == ["python", "text"] * 6 + ["text"]  # the last is measured
