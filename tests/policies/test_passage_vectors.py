"""Vectors of passages that are kept: the same scores, each passage encoded once, bounded."""

import sqlite3
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rearank_agent import Passage, Reranker
from rearank_agent.errors import InputError
from rearank_agent.policies.embedded import passages as passages_module
from rearank_agent.policies.embedded.passage_vectors import PassageVectors
from rearank_agent.policies.embedded.passages import PassageEncoder
from rearank_agent.policies.embedded.policy import Embedded
from rearank_agent.policies.embedded.similarity import PooledText, similarity
from rearank_agent.policies.embedded.vector_store import VectorStore
from rearank_agent.text import text_hash

QUERY = "how far can a flea jump"
TEXTS = [
    "A flea leaps a hundred times its length.", "Dogs bark at night.", "x", "Fleas. " * 300,
    "Das Pferd springt über den Zaun.", "блоха прыгает далеко", "١٦٤٨", "   ",
]  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return VectorStore(tmp_path / "vectors.sqlite")


@pytest.fixture(scope="module")
def encoder():
    return Embedded().encoder


def ranked(store):
    ranking = Reranker(Embedded(store=store)).rerank_sync(QUERY, TEXTS)
    return [(p.id, p.score, p.evidence, p.rationale) for p in ranking.passages], ranking.faults


def counting(monkeypatch, policy):
    read = Counter()
    encode = policy.encoder.encode
    monkeypatch.setattr(
        policy.encoder, "encode", lambda text: (read.update([text]), encode(text))[1]
    )
    return read


def test_what_is_kept_gives_what_is_computed_to_the_last_bit(store):
    computed = ranked(None)
    assert ranked(store) == computed
    assert store.path.exists()
    assert ranked(VectorStore(store.path)) == computed


@settings(max_examples=40)
@given(st.text(max_size=400).filter(str.strip))
def test_bytes_hold_all_of_a_passage(encoder, text):
    one = PassageVectors.of(encoder.encode(text))
    again = PassageVectors.from_bytes(one.whole.tobytes(), one.to_bytes())
    query = PooledText(encoder.encode(QUERY).hidden)
    assert similarity(query, again, 0.5) == similarity(query, one, 0.5)
    assert (again.complete, again.starts.tolist()) == (one.complete, one.starts.tolist())
    exact = similarity(query, PooledText(encoder.encode(text).hidden), 0.5)
    assert similarity(query, one, 0.5) == pytest.approx(exact, abs=0.05)


def test_the_bytes_of_a_passage_are_few(encoder):
    one = PassageVectors.of(encoder.encode("A flea can jump far. " * 29))
    assert one.tokens == 174
    assert len(one.whole.tobytes() + one.to_bytes()) < 3000


def test_a_passage_is_encoded_once_in_its_life(store, monkeypatch):
    policy = Embedded(store=store)
    read = counting(monkeypatch, policy)
    texts = ["one flea", "two fleas", "three"]
    Reranker(policy).rerank_sync("fleas", texts)
    Reranker(policy).rerank_sync("cats", [*texts, "four"])
    another = Embedded(store=VectorStore(store.path))
    Reranker(another).rerank_sync("dogs", [Passage("other id", "one flea"), *texts[1:]])
    assert read == Counter([*texts, "four", "fleas", "cats", "dogs"])


def test_other_weights_have_vectors_of_their_own(store):
    opened, untrained = (Embedded(top, store=store) for top in ("open", "untrained"))
    scores = [
        Reranker(one).rerank_sync(QUERY, TEXTS[:2]).passages[0].score for one in (opened, untrained)
    ]
    assert scores[0] != scores[1]
    assert (
        scores[1] == Reranker("embedded:untrained").rerank_sync(QUERY, TEXTS[:2]).passages[0].score
    )


def test_the_store_is_bounded_and_drops_what_was_not_used_for_longest(
    tmp_path, encoder, monkeypatch
):
    vectors = PassageVectors.of(encoder.encode("A flea can jump far. " * 20))
    store = VectorStore(tmp_path / "vectors.sqlite", max_bytes=400_000)
    day = iter(range(10**6))
    monkeypatch.setattr("rearank_agent.policies.embedded.vector_store._today", lambda: next(day))
    for name in range(400):
        store.put({name: vectors})
        assert store.get(7) is not None or name < 7, "it is used every day"
    kept = set(store.wholes(np.arange(400)))
    assert {7, 399} < kept
    assert 100 < len(kept) < 200
    assert kept - {7} == set(range(400 - len(kept) + 1, 400))


def test_what_is_damaged_is_encoded_again_and_said(store):
    computed, _ = ranked(store)
    with sqlite3.connect(store.path) as file:
        file.execute("UPDATE pieces SET pieces = substr(pieces, 1, 50)")
    found, faults = ranked(VectorStore(store.path))
    assert found == computed
    (fault,) = (one for one in faults if one.kind == "cache")
    assert fault.detail.startswith("vectors are not kept: kept vectors are damaged")


def test_a_store_that_cannot_be_used_is_a_fault(tmp_path):
    computed, _ = ranked(None)
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "vectors.sqlite").write_text("no database at all" * 100)
    for path in (tmp_path / "file" / "vectors.sqlite", tmp_path / "vectors.sqlite"):
        found, faults = ranked(VectorStore(path))
        assert found == computed
        (fault,) = (one for one in faults if one.kind == "cache")
        assert f"the store {path} cannot be used" in fault.detail


def test_a_full_disk_is_a_fault(store):
    full = VectorStore(store.path)
    with full._database.writing() as file:
        file.execute(f"PRAGMA max_page_count = {file.execute('PRAGMA page_count').fetchone()[0]}")
    texts = [f"{number} fleas " * 20 for number in range(passages_module._AT_ONCE + 6)]
    computed = Reranker(Embedded()).rerank_sync(QUERY, texts)
    found = Reranker(Embedded(store=full)).rerank_sync(QUERY, texts)
    assert found.passages == computed.passages
    assert [one.detail for one in found.faults if one.kind == "cache"] == [
        f"vectors are not kept: the store {store.path} cannot be used: database or disk is full; "
        "if it is damaged, delete it: it holds copies only"
    ]


WRITER = """
import sys
from pathlib import Path
from rearank_agent.policies.embedded.policy import Embedded
from rearank_agent.policies.embedded.vector_store import VectorStore
from rearank_agent.text import text_hash
passages = Embedded(store=VectorStore(Path(sys.argv[1]))).passages
for number in range(int(sys.argv[2]), 10**6):
    passages.vectors(f"passage {number} about fleas")
    passages.keep()
    print(number, flush=True)
"""


def test_several_processes_and_kills_leave_whole_vectors(store, encoder):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.path), str(start)], stdout=subprocess.PIPE
        )
        for start in (0, 5)
    ]
    for one in writers:
        for _ in range(20):
            assert one.stdout.readline()
        one.kill()
        one.communicate()
    passages = PassageEncoder(encoder, VectorStore(store.path))
    for number in range(20):
        text = f"passage {number} about fleas"
        kept = passages.store.get(passages.name(text_hash(text)))
        assert kept.to_bytes() == PassageVectors.of(encoder.encode(text)).to_bytes()
    assert sqlite3.connect(store.path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_all_means_are_read_at_once_or_some_by_name(store, encoder):
    vectors = PassageVectors.of(encoder.encode("a flea"))
    names = np.arange(-300, 300, dtype=np.int64)
    assert store.wholes(names) == {}
    store.put({int(name): vectors for name in names})
    assert set(store.wholes(names)) >= set(names.tolist())
    some = np.array([-300, 5, 299, 10_000], np.int64)
    assert store.wholes(some) == dict.fromkeys([-300, 5, 299], vectors.whole.tobytes())


def test_vectors_that_are_cut_short_are_refused(encoder):
    one = PassageVectors.of(encoder.encode("a flea"))
    for length in (0, 3, 10, len(one.to_bytes()) - 1):
        with pytest.raises(InputError, match="kept vectors are damaged"):
            PassageVectors.from_bytes(one.whole.tobytes(), one.to_bytes()[:length])
