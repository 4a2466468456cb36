"""Search by words and by meaning: what is found, when vectors are made, and what may fail."""

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers.id_corpus import ID_QUERIES, write_id_files
from rearank_agent import Reranker
from rearank_agent.errors import SetupError
from rearank_agent.present.faults import Told
from rearank_agent.search.fill import fill
from rearank_agent.search.find import find, share_fault
from rearank_agent.search.fuse import BEST_BY_WORDS, MIN_COSINE, fused, words_weight
from rearank_agent.search.library import Library
from rearank_agent.search.result import SearchResult
from rearank_agent.search.tokens import names_identifier, query_tokens, text_tokens
from rearank_agent.types import Fault

PETS = {
    "cat.txt": "The kitten sleeps on the sofa all afternoon.",
    "car.txt": "The garage changed the tyres and the oil.",
    "soup.txt": "Simmer the leeks for twenty minutes and add salt.",
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files").mkdir()
    for name, text in PETS.items():
        (tmp_path / "files" / name).write_text(text)
    return tmp_path / "files"


@pytest.fixture
def library(folder, tmp_path):
    return Library([folder], tmp_path / "cache")


def many(folder, n=70):
    """More passages than a search makes vectors of by itself."""
    for number in range(n):
        (folder / f"note{number}.txt").write_text(f"Entry {number}: nothing happened at the gate.")


def make_all(library):
    index, missing, _ = library.without_vectors()
    assert fill(library.vectors.passages, index, missing) == ()
    return len(missing)


def names(found):
    return [Path(passage.place).name for passage in found.passages]


def test_what_shares_no_word_is_found(library):
    found = library.search("my pet takes a nap")
    assert names(found)[0] == "cat.txt:1"
    assert found.passages[0].score == 0
    assert (found.share, found.faults) == (1, ())
    by_words = Library(library.roots and [library.roots[0].named], by_meaning=False)
    assert by_words.search("my pet takes a nap").passages == ()


def test_what_is_near_to_nothing_is_not_found(library):
    assert library.search("quarterly VAT return").passages == ()


async def test_a_first_search_of_many_does_not_wait_and_the_next_finds_more(folder, tmp_path):
    many(folder)
    library = Library([folder], tmp_path / "cache")
    reranker = Reranker("lexical")
    first = await find(reranker, library, "my pet takes a nap")
    assert [one.kind for one in first.faults] == ["vectors", "nothing"]
    assert first.faults[0].detail == (
        "0% of the passages can be found by meaning, the others by words; "
        "more are made in the background"
    )
    assert first.ids == ()
    library.background._thread.join()
    later = await find(reranker, library, "my pet takes a nap")
    assert Path(later.ids[0]).name == "cat.txt:1"
    assert "vectors" not in [one.kind for one in later.faults]


def test_vectors_are_kept_by_what_is_said_not_by_where(folder, tmp_path):
    many(folder)
    assert make_all(Library([folder], tmp_path / "cache")) == 73
    (folder / "cat.txt").rename(folder / "moved.txt")
    other = tmp_path / "other"
    folder.rename(other)
    again = Library([other], tmp_path / "cache")
    assert again.without_vectors()[1] == []
    assert again.search("my pet takes a nap").share == 1
    (other / "new.txt").write_text("A puppy barks.")
    assert again.search("my pet takes a nap").share == 1, "one is made at once"


def test_newest_files_come_first(folder, tmp_path):
    many(folder)
    os.utime(folder / "soup.txt", (2_000_000_000, 2_000_000_000))
    index, missing, _ = Library([folder], tmp_path / "cache").without_vectors()
    assert index.content(missing[0]) == PETS["soup.txt"]
    assert sorted(missing) == list(range(73))


def test_the_same_is_found_after_a_change_of_the_index(folder, tmp_path):
    many(folder)
    library = Library([folder], tmp_path / "cache")
    make_all(library)
    library.search("my pet takes a nap")
    (folder / "aaa.txt").write_text("A line before all others.")
    (folder / "car.txt").unlink()
    grown, fresh = (
        one.search("my pet takes a nap") for one in (library, Library([folder], tmp_path / "cache"))
    )
    assert grown.passages == fresh.passages
    assert names(grown)[0] == "cat.txt:1"


def test_vectors_of_another_process_are_seen(folder, tmp_path):
    many(folder)
    library = Library([folder], tmp_path / "cache")
    assert library.search("my pet takes a nap").share == 0
    make_all(Library([folder], tmp_path / "cache"))
    assert library.search("my pet takes a nap").share == 1


def test_a_store_that_cannot_be_used_leaves_the_words(folder, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "vectors.sqlite").write_text("no database" * 500)
    library = Library([folder], tmp_path / "cache")
    found = library.search("kitten")
    assert names(found) == ["cat.txt:1"]
    (fault,) = found.faults
    assert fault.kind == "cache"
    assert fault.detail.startswith("vectors cannot be read: the store ")
    with pytest.raises(SetupError, match="vectors cannot be read"):
        library.without_vectors()
    library.background.start([])
    library.background._thread.join()


def test_a_damaged_mean_counts_as_missing(folder, tmp_path):
    make_all(Library([folder], tmp_path / "cache"))
    with sqlite3.connect(tmp_path / "cache" / "vectors.sqlite") as file:
        file.execute("UPDATE wholes SET whole = x'00'")
    assert names(Library([folder], tmp_path / "cache").search("kitten"))[0] == "cat.txt:1"


def test_a_query_in_another_script_is_searched_by_words(library, folder):
    (folder / "ru.txt").write_text("Кошка спит на диване.")
    found = library.search("кошка спит")
    assert names(found) == ["ru.txt:1"]
    assert (found.share, found.words_weight) == (1, 1)
    assert names(library.search("my pet takes a nap"))[0] == "cat.txt:1"


def test_what_was_made_is_kept_when_it_is_interrupted(folder, tmp_path):
    many(folder, 200)
    library = Library([folder], tmp_path / "cache")
    index, missing, _ = library.without_vectors()

    def interrupt(done, _total):
        if done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(library.vectors.passages, index, missing, interrupt)
    left = Library([folder], tmp_path / "cache").without_vectors()[1]
    assert len(left) == 203 - 128


FILLER = """
import sys
from pathlib import Path
from rearank_agent.search.fill import fill
from rearank_agent.search.library import Library
from rearank_agent.search.result import SearchResult
library = Library([Path(sys.argv[1])], Path(sys.argv[2]))
index, missing, _ = library.without_vectors()
fill(library.vectors.passages, index, missing, lambda done, total: print(done, flush=True))
"""


def test_two_that_index_at_once_and_a_kill_lose_only_what_was_in_flight(folder, tmp_path):
    many(folder, 400)
    command = [sys.executable, "-c", FILLER, str(folder), str(tmp_path / "cache")]
    killed, whole = (subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2))
    done = int(killed.stdout.readline())
    killed.kill()
    killed.communicate()
    assert done == 64
    whole.communicate()
    assert whole.returncode == 0
    library = Library([folder], tmp_path / "cache")
    assert library.search("my pet takes a nap").share == 1
    assert names(library.search("my pet takes a nap"))[0] == "cat.txt:1"


@pytest.mark.parametrize("with_vectors", [False, True])
def test_ids_do_not_lose(tmp_path, with_vectors):
    """BM25's first hit stays first for order numbers, error codes, versions and functions."""
    write_id_files(tmp_path)
    library = Library([tmp_path], tmp_path / "cache")
    by_words = Library([tmp_path], tmp_path / "cache", by_meaning=False)
    if with_vectors:
        make_all(library)
    reranker = Reranker()
    assert len(ID_QUERIES) == 30
    for query, name in ID_QUERIES:
        found = library.search(query)
        ranking = reranker.rerank_sync(
            query,
            found.passages,
            blend=reranker.policy.blend * found.words_weight,
            blend_by="score",
        )
        best = by_words.search(query).passages[0]
        assert name in best.text
        assert ranking.ids[0] == best.id, query


def test_identifiers_are_tokens_as_a_whole():
    tokens = text_tokens("Since v2.4.1, see src/app.py and foo_bar; well-known A-4471.")
    assert tokens[-3:] == ["2.4.1", "foo.bar", "a.4471"]
    assert query_tokens("what is 2.4.1")[-3:] == ["2.4.1"] * 3
    assert names_identifier("did v2.4.1 work")
    assert not names_identifier("a well-known fact of 1999, i.e. or/and so.There")
    long = "my patient of 4-5 years has " + " ".join(
        f"symptom{letter}" for letter in "abcdefghijkl"
    )
    assert query_tokens(long).count("4.5") == 1
    assert not names_identifier(long)


floats = st.floats(-1, 1, width=32)


@st.composite
def stages(draw):
    n = draw(st.integers(1, 30))
    bm25 = draw(arrays(np.float32, n, elements=st.sampled_from([0, 0, 1, 2.5, 7])))
    cosines = draw(arrays(np.float32, n, elements=st.one_of(floats, st.just(np.nan))))
    wanted = draw(arrays(bool, n))
    return bm25, cosines, wanted, draw(st.integers(1, 12))


@settings(max_examples=200)
@given(stages())
def test_a_fused_list(case):
    bm25, cosines, wanted, depth = case
    found = fused(bm25, cosines, wanted, depth)
    assert len(set(found)) == len(found) <= depth
    assert all(wanted[at] for at in found)
    assert all(bm25[at] > 0 or cosines[at] >= np.float32(MIN_COSINE) for at in found)
    words = [at for at in np.argsort(-bm25, kind="stable").tolist() if wanted[at] and bm25[at] > 0]
    assert set(words[: min(depth, BEST_BY_WORDS)]) <= set(found)
    if np.isnan(cosines[wanted]).all():
        assert found == words[:depth], "without vectors it is BM25's list"
    assert len(found) == min(depth, len(found) + len(set(words) - set(found)))


def test_vectors_have_their_share_of_the_places():
    """20 passages hold words, 20 others are near; half of all have vectors."""
    bm25 = np.array([*range(40, 20, -1), *[0] * 20], np.float32)
    cosines = np.array([*[np.nan] * 20, *np.linspace(0.9, 0.5, 20)], np.float32)
    everything = np.ones(40, bool)
    found = fused(bm25, cosines, everything, 10)
    assert sorted(found) == [0, 1, 2, 3, 4, *range(20, 25)]
    assert (words_weight(0, False), words_weight(1, False)) == (1, 1 + 5 / 3)
    assert words_weight(0, True) == words_weight(1, True)


def test_a_share_is_told_until_all_have_vectors_and_once_a_session():
    none, most, all_ = (SearchResult((), share, 1, (), {}) for share in (0, 0.999, 1))
    assert share_fault(all_, "x") == ()
    assert share_fault(most, "x")[0].detail.startswith("99% of the passages")
    assert share_fault(replace(none, faults=(Fault("cache", (), "full"),)), "x") == ()
    told, ranking = Told(), Reranker("lexical").rerank_sync("flea", ["a flea"])
    shown = [
        told.fresh(replace(ranking, faults=share_fault(found, "x"))).faults
        for found in (none, most)
    ]
    assert shown == [share_fault(none, "x"), ()]
