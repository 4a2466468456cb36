import re
import sys
from hashlib import sha256

import pyarrow
import pytest
from pyarrow import parquet

from rearank_agent.data.bright import SETS, bright, is_bright
from rearank_agent.data.load import load_collections, remarks
from rearank_agent.errors import InputError, SetupError
from rearank_agent.extras import install_line
from rearank_agent.types import Passage

DOCUMENTS = {
    "trees/0.txt": "Leaves fall as auxin ebbs.",
    "trees/1.txt": "Bark is dead.",
    "cats/0.txt": "Cats purr.",
}
EXAMPLES = [
    ("0", "Why do leaves fall?", ["trees/0.txt", "trees/1.txt"], ["N/A"]),
    ("1", "Do cats purr?", ["cats/0.txt"], ["trees/1.txt", "trees/0.txt"]),
]


def documents(path, texts, ids=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"id": ids or list(texts), "content": list(texts.values())}
    parquet.write_table(pyarrow.table(table), path)


def examples(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lists = pyarrow.list_(pyarrow.string())
    ids, queries, gold, out = zip(*rows, strict=True)
    columns = {
        "query": pyarrow.array(queries),
        "reasoning": pyarrow.array([""] * len(rows)),
        "id": pyarrow.array(ids),
        "excluded_ids": pyarrow.array(out, lists),
        "gold_ids_long": pyarrow.array([["trees"]] * len(rows), lists),
        "gold_ids": pyarrow.array(gold, lists),
        "gold_answer": pyarrow.array(["N/A"] * len(rows)),
    }
    parquet.write_table(pyarrow.table(columns), path)


def one_set(folder, name="biology", rows=EXAMPLES, texts=DOCUMENTS):
    documents(folder / f"documents/{name}-00000-of-00001.parquet", texts)
    examples(folder / f"examples/{name}-00000-of-00001.parquet", rows)
    return folder / f"examples/{name}-00000-of-00001.parquet"


def test_a_set(tmp_path):
    file = one_set(tmp_path)
    [found] = bright(tmp_path)
    assert found.name == "bright/biology"
    assert found.source == str(file)
    assert found.queries == {"0": "Why do leaves fall?", "1": "Do cats purr?"}
    assert found.qrels == {"0": {"trees/0.txt": 1, "trees/1.txt": 1}, "1": {"cats/0.txt": 1}}
    assert found.excluded == {"1": {"trees/0.txt", "trees/1.txt"}}
    assert dict(found.corpus) == {name: Passage(name, text) for name, text in DOCUMENTS.items()}
    assert list(found.corpus) == list(DOCUMENTS)
    assert (found.lists, found.listed, found.instruction, found.notes) == (None, "", "", ())


def test_all_sets_are_in_the_order_of_the_paper(tmp_path):
    for name in sorted(SETS):
        one_set(tmp_path, name)
    one_set(tmp_path, "another")
    (tmp_path / "long_documents").mkdir()
    assert [found.name for found in bright(tmp_path)] == [f"bright/{name}" for name in SETS]
    file = tmp_path / "examples/theoremqa_questions-00000-of-00001.parquet"
    assert [found.name for found in load_collections([str(file)])] == ["bright/theoremqa_questions"]
    with pytest.raises(InputError, match=r"another-.*\.parquet holds none of BRIGHT's"):
        bright(tmp_path / "examples/another-00000-of-00001.parquet")


def test_parts_are_read_in_their_order_and_short_names_too(tmp_path):
    for part, texts in enumerate([{"b": "second"}, {"a": "first"}]):
        documents(tmp_path / f"documents/pony-0000{part}-of-00002.parquet", texts)
    examples(tmp_path / "examples/pony.parquet", [("0", "q", ["a"], ["N/A"])])
    [found] = bright(tmp_path)
    assert [(p.id, p.text) for p in found.corpus.values()] == [("b", "second"), ("a", "first")]
    (tmp_path / "documents/pony-00000-of-00002.parquet").unlink()
    with pytest.raises(InputError, match="should hold 2 parts of pony, and holds pony-00001-of"):
        bright(tmp_path)


def test_the_hash_is_of_documents_and_examples(tmp_path):
    file = one_set(tmp_path)
    [before] = bright(tmp_path)
    contents = [path.read_bytes() for path in (tmp_path / "documents" / file.name, file)]
    assert before.hash == sha256(b"".join(sha256(c).digest() for c in contents)).hexdigest()
    one_set(tmp_path, texts=DOCUMENTS | {"cats/0.txt": "Cats hiss."})
    assert bright(tmp_path)[0].hash != before.hash


def test_unusual_data_is_noted(tmp_path):
    rows = [*EXAMPLES, ("2", "Nothing is gold here", [], ["N/A"]), ("3", "Lost", ["gone"], ["N/A"])]
    file = one_set(tmp_path, rows=rows)
    texts = {"x": "a text", "y": "another", "z": "the third"}
    documents(tmp_path / "documents" / file.name, texts, ids=["cats/0.txt", "b", "cats/0.txt"])
    [found] = bright(tmp_path)
    assert [*found.corpus.values()] == [Passage("cats/0.txt", "a text"), Passage("b", "another")]
    assert set(found.queries) == {"0", "1", "3"}
    assert remarks(found) == [
        "queries without judgements, left out: 1",
        "documents with a repeated id, left out: 1",
        "judgements of passages that are not in the corpus, counted in the ideal: 3",
    ]


def test_recognising_the_layout(tmp_path):
    file = one_set(tmp_path)
    text = tmp_path / "examples/readme.txt"
    text.touch()
    assert is_bright(tmp_path)
    assert is_bright(file)
    for other in (tmp_path / "documents" / file.name, tmp_path / "examples", text, tmp_path / "x"):
        assert not is_bright(other)
        with pytest.raises(InputError, match="is not BRIGHT's folder"):
            bright(other)
    assert not is_bright(file.with_name("pony-00000-of-00001.parquet"))
    file.unlink()
    assert not is_bright(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("0", "again", ["a"], ["N/A"]), "row 2: the id '0' occurs twice"),
        (("1", None, ["a"], ["N/A"]), "row 2, query must be a string, not None"),
        ((None, "q", ["a"], ["N/A"]), "row 2, id must be a string, not None"),
        (("1", "q", None, ["N/A"]), "row 2, gold_ids must be a list of strings, not None"),
        (("1", "q", ["a"], ["b", None]), "row 2, excluded_ids must be a string, not None"),
        (("1", "q", ["b", "a"], ["a"]), "row 2: 'a' is both gold and excluded"),
    ],
)
def test_examples_that_cannot_be_used(tmp_path, row, message):
    file = one_set(tmp_path, rows=[EXAMPLES[0], row])
    with pytest.raises(InputError) as error:
        bright(tmp_path)
    assert str(error.value) == f"{file}, {message}"


def test_files_that_cannot_be_used(tmp_path):
    file = one_set(tmp_path)
    stored = tmp_path / "documents" / file.name
    parquet.write_table(pyarrow.table({"id": ["a"], "text": ["b"]}), stored)
    [found] = bright(tmp_path)
    with pytest.raises(InputError, match="has no column 'content'"):
        found.corpus["a"]
    parquet.write_table(pyarrow.table({"id": [1], "content": ["b"]}), stored)
    with pytest.raises(InputError, match="an id must be a string, not 1"):
        bright(tmp_path)
    stored.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError) as error:
        bright(tmp_path)
    assert str(error.value).startswith(f"{stored} cannot be read as Parquet: ")
    stored.unlink()
    with pytest.raises(InputError, match="documents has no documents of biology"):
        bright(tmp_path)


def test_without_pyarrow(tmp_path, monkeypatch):
    one_set(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert is_bright(tmp_path)
    with pytest.raises(SetupError, match=re.escape(install_line("bright"))):
        bright(tmp_path)
