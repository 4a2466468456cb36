"""Files are written whole, or not at all."""

import pytest

from rearank_agent.errors import SetupError
from rearank_agent.files import write_text


def test_half_a_character_is_not_written(tmp_path):
    path = tmp_path / "report.json"
    write_text(path, "before")
    with pytest.raises(SetupError, match=r"report\.json cannot be written: .*lone surrogate"):
        write_text(path, ["a", "\ud800"])
    assert [one.read_text() for one in tmp_path.iterdir()] == ["before"]
