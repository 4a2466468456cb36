"""The forms of a file of passages: the same passages, however they are laid out."""

import json

from hypothesis import given
from hypothesis import strategies as st

from rearank_agent.cli.read_passages import read_passages
from rearank_agent.intake.passages import as_passages

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FIELDS = st.fixed_dictionaries(
    {"text": TEXT},
    optional={
        "title": st.none() | TEXT,
        "score": st.none() | st.integers(-9, 9) | st.floats(-9, 9),
        "url": TEXT,
    },
)
IDS = st.sampled_from([lambda at: {"id": 100 + at}, lambda at: {"_id": f"t{at}"}, lambda at: {}])


@given(st.lists(st.tuples(IDS, FIELDS), min_size=1, max_size=6), st.sampled_from([None, 0, 2]),
       st.booleans())  # fmt: skip
def test_an_array_holds_the_passages_of_the_same_lines(tmp_path_factory, found, indent, ascii_only):
    rows = [name(at) | fields for at, (name, fields) in enumerate(found)]
    path = tmp_path_factory.getbasetemp() / "passages"
    lines = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)
    array = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    for text in (lines, array):
        path.write_text(text, encoding="utf-8")
        assert tuple(read_passages(str(path))) == as_passages(rows)
