"""What BM25 over a large corpus takes is said before it starts."""

import pytest

from helpers.small import beir
from rearank_agent import Passage
from rearank_agent.data import bm25_size, first_stage
from rearank_agent.data.beir import read_folder
from rearank_agent.errors import InputError


class Claimed(dict):
    """A corpus that claims to be larger than it is; whoever reads all of it fails."""

    def __init__(self, passages, text):
        super().__init__({"1": Passage("1", text)})
        self.passages = passages

    def __len__(self):
        return self.passages


@pytest.fixture
def large(tmp_path):
    def of(passages, text="word " * 60):
        from dataclasses import replace

        return replace(
            read_folder(beir(tmp_path / "sea")), lists=None, corpus=Claimed(passages, text)
        )

    return of


def test_what_cannot_end_well_is_refused_before_it_starts(large, monkeypatch):
    monkeypatch.setattr(first_stage, "bm25", lambda *_: pytest.fail("it started"))
    with pytest.raises(InputError) as refused:
        first_stage.first_stage(large(138_364_198), 100)
    message = str(refused.value)
    assert message.startswith("BM25 over the 138,364,198 passages of sea takes some 3")
    assert "this machine has" in message
    assert "--first-stage RUN" in message


def test_what_takes_long_is_said(large, monkeypatch):
    monkeypatch.setattr(first_stage, "bm25", lambda *_: {"q1": ["1"]})
    monkeypatch.setattr(bm25_size, "_memory", lambda: 1e12)
    said = []
    first_stage.first_stage(large(1_000_000), 100, warn=said.append)
    assert len(said) == 1
    assert "takes some 2 GB of memory and 2 minutes; a TREC run needs neither" in said[0]
    first_stage.first_stage(large(100_000), 99, warn=said.append)
    assert len(said) == 1
