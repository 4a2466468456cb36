"""The loading code is ir_datasets' own, over small files where it keeps what it downloads."""

import gzip
import io
import itertools
import re
import sys
import tarfile
import zipfile
from collections import namedtuple

import pytest

from rearank_agent.data.ir_datasets import BEIR_MISSING, GROUPS, StoredCorpus, ir_dataset
from rearank_agent.data.load import remarks
from rearank_agent.errors import InputError, SetupError
from rearank_agent.extras import install_line
from rearank_agent.types import Passage

SCIFACT = {
    "corpus.jsonl": """{"_id": "4983", "title": "Leaves", "text": "They fall.", "metadata": {}}
{"_id": "31", "title": "", "text": "Bark is dead.", "metadata": {}}
{"_id": "9", "title": "Cats", "text": "Catscan: a scan.", "metadata": {}}
""",
    "queries.jsonl": """{"_id": "1", "text": "Leaves fall", "metadata": {}}
{"_id": "3", "text": "Cats purr", "metadata": {}}
{"_id": "5", "text": "A query to train on", "metadata": {}}
""",
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\n1\t4983\t1\n1\t31\t0\n3\t9\t1\n3\t99\t1\n",
    "qrels/train.tsv": "query-id\tcorpus-id\tscore\n5\t31\t1\n",
}
PASSAGES = "0\tThe caf\u00e9 is open.\n1\tIt is clos\u00c3\u00a9.\n10\tRain.\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The folder of ir_datasets, which it reads once, when it is imported."""
    folder = tmp_path_factory.mktemp("ir_datasets")
    before = {name: sys.modules.pop(name) for name in _modules()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IR_DATASETS_HOME", str(folder))
        patch.setenv("IR_DATASETS_TMP", str(folder / "tmp"))
        patch.setenv("IR_DATASETS_SKIP_DISK_FREE", "true")
        import requests

        def refuse(**request):
            raise requests.exceptions.ConnectionError(f"no way to\n{request['url']}")

        patch.setattr(requests, "get", refuse)
        yield folder
    for name in _modules():
        del sys.modules[name]
    sys.modules.update(before)


def _modules():
    return [name for name in sys.modules if name.partition(".")[0] == "ir_datasets"]


def archive(home, name, files):
    """A set of BEIR as it is downloaded."""
    path = home / "beir" / name / "source.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as file:
        for inside, text in files.items():
            file.writestr(f"{name}/{inside}", text)


@pytest.fixture(scope="module")
def scifact(home):
    archive(home, "scifact", SCIFACT)
    return ir_dataset("beir/scifact/test")


@pytest.fixture(scope="module")
def trec_dl(home):
    folder = home / "msmarco-passage"
    (folder / "trec-dl-2019").mkdir(parents=True)
    (folder / "trec-dl-2020").mkdir()
    with tarfile.open(folder / "collectionandqueries.tar.gz", "w:gz") as file:
        member = tarfile.TarInfo("collection.tsv")
        member.size = len(PASSAGES.encode())
        file.addfile(member, io.BytesIO(PASSAGES.encode()))
    queries = "7\tis the caf\u00e9 open\n8\tnot judged\n"
    (folder / "trec-dl-2019/queries.tsv").write_text(queries)
    (folder / "trec-dl-2020/queries.tsv.gz").write_bytes(gzip.compress(queries.encode()))
    for year in ("2019", "2020"):
        (folder / f"trec-dl-{year}/qrels").write_text("7 Q0 0 3\n7 Q0 1 0\n7 Q0 100 2\n")
    return [ir_dataset(name) for name in GROUPS["trec-dl"]]


def test_a_set_of_beir(scifact):
    assert (scifact.name, scifact.source) == ("beir/scifact/test", "beir/scifact/test")
    assert scifact.queries == {"1": "Leaves fall", "3": "Cats purr"}
    assert scifact.qrels == {"1": {"4983": 1, "31": 0}, "3": {"9": 1, "99": 1}}
    passages = [
        Passage("4983", "They fall.", "Leaves"),
        Passage("31", "Bark is dead."),
        Passage("9", "Catscan: a scan.", "Cats"),
    ]
    assert list(scifact.corpus) == ["4983", "31", "9"]
    assert list(scifact.corpus.values()) == passages
    assert list(scifact.corpus.items()) == [(p.id, p) for p in passages]
    assert [scifact.corpus[name] for name in ("9", "31", "4983")] == passages[::-1]
    assert len(scifact.corpus) == 3
    assert (scifact.lists, scifact.excluded, scifact.instruction) == (None, None, "")
    assert remarks(scifact) == [
        "judgements of passages that are not in the corpus, counted in the ideal: 1"
    ]


def test_the_paper_s_trec_sets(trec_dl):
    assert [found.name for found in trec_dl] == list(GROUPS["trec-dl"])
    for found in trec_dl:
        assert found.queries == {"7": "is the caf\u00e9 open"}
        assert found.qrels == {"7": {"0": 3, "1": 0, "100": 2}}
        assert list(found.corpus.values()) == [
            Passage("0", "The caf\u00e9 is open."),
            Passage("1", "It is clos\u00e9."),  # ir_datasets repairs what MS MARCO encoded twice
            Passage("10", "Rain."),
        ]
        assert "100" not in found.corpus  # longer than any id there, and begins like one
    assert trec_dl[0].hash != trec_dl[1].hash


def test_passages_are_read_one_by_one(home):
    from ir_datasets.formats import BaseDocs, GenericDoc

    class Endless(BaseDocs):
        def docs_iter(self):
            return (GenericDoc(str(number), f"text {number}") for number in itertools.count())

        def docs_store(self):
            return None

    corpus = StoredCorpus(Endless())
    assert list(itertools.islice(corpus, 2)) == ["0", "1"]
    assert next(iter(corpus.values())) == Passage("0", "text 0")
    assert next(iter(corpus.items())) == ("0", Passage("0", "text 0"))


def test_the_hash_is_of_what_is_measured(scifact, home, monkeypatch):
    import ir_datasets

    assert ir_dataset("beir/scifact/test").hash == scifact.hash
    path = home / "beir/scifact/test.qrels"
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    try:
        path.write_text("".join([lines[0], *reversed(lines[1:])]))
        assert ir_dataset("beir/scifact/test").hash == scifact.hash
        path.write_text(text.replace("31\t0", "31\t1"))
        assert ir_dataset("beir/scifact/test").hash != scifact.hash
    finally:
        path.write_text(text)
    monkeypatch.setattr(ir_datasets, "__version__", "0")
    assert ir_dataset("beir/scifact/test").hash != scifact.hash


def small(home, name, **own):
    """A set of two texts under an id; `own`: its rows of documents, queries or judgements."""
    import ir_datasets
    from ir_datasets.formats import BaseDocs, BaseQrels, BaseQueries, GenericQuery
    from ir_datasets.indices import PickleLz4FullStore

    def made(base, kind, rows):
        methods = {
            f"{kind}_iter": lambda self: iter(rows),
            f"{kind}_cls": lambda self: type(rows[0]),
        }
        return type(kind, (base,), methods)()

    texts = home / f"{name}.tsv"
    texts.parent.mkdir(parents=True, exist_ok=True)
    texts.write_text("a\tone\nb\ttwo\n")
    docs = ir_datasets.create_dataset(docs_tsv=str(texts))
    if rows := own.get("docs"):
        docs = made(BaseDocs, "docs", rows)
        path = str(home / f"{name}.store")
        docs.docs_store = lambda: PickleLz4FullStore(
            path, docs.docs_iter, type(rows[0]), "doc_id", ["doc_id"]
        )
        docs.docs_count = lambda: None
    queries = made(BaseQueries, "queries", own.get("queries") or [GenericQuery("1", "number")])
    qrels = made(BaseQrels, "qrels", own["qrels"]) if own.get("qrels") else None
    ir_datasets.registry.register(name, ir_datasets.Dataset(docs, queries, qrels))


def judged(fields, *rows):
    """Judgements of a class with these fields."""
    kind = namedtuple("Judged", ["query_id", "doc_id", "relevance", *fields])
    return [kind(*row) for row in rows]


def test_documents_of_other_shapes(home):
    doc = namedtuple("Doc", ["doc_id", "title", "text"])
    headed = type("Headed", (doc,), {"default_text": lambda self: f"{self.title} {self.text}"})
    docs = [headed("a", "One", ""), headed("b", "", "two"), headed("c", "", "")]
    small(home, "own/headed", docs=docs, qrels=judged([], ("1", "a", 2)))
    found = ir_dataset("own/headed")
    assert list(found.corpus.values()) == [
        Passage("a", "", "One"),
        Passage("b", "two"),
        Passage("c", ""),
    ]
    assert len(found.corpus) == 3
    small(home, "own/bare", docs=[doc("a", "One", "Once")], qrels=judged([], ("1", "a", 2)))
    assert ir_dataset("own/bare").corpus["a"] == Passage("a", "Once")

    body = type("Body", (doc,), {"default_text": lambda self: self.text})
    small(home, "own/body", docs=[body("a", "One", "Oneness")], qrels=judged([], ("1", "a", 2)))
    assert ir_dataset("own/body").corpus["a"] == Passage("a", "Oneness")

    coded = namedtuple("Coded", ["doc_id", "code"])
    small(home, "own/coded", docs=[coded("a", "x = 1")], qrels=judged([], ("1", "a", 2)))
    with pytest.raises(InputError) as error:
        ir_dataset("own/coded")
    assert str(error.value) == ("document a cannot be used: no text among the fields doc_id, code")
    linked = namedtuple("Linked", ["query_id", "url"])
    small(home, "own/linked", queries=[linked("1", "x")], qrels=judged([], ("1", "a", 2)))
    with pytest.raises(InputError, match="own/linked cannot be used: no text among the fields"):
        ir_dataset("own/linked")


def test_judgements_that_contradict_each_other(home):
    rows = judged([], ("1", "a", 2), ("1", "b", 1), ("1", "a", 0), ("1", "b", 1))
    small(home, "own/twice", qrels=rows)
    found = ir_dataset("own/twice")
    assert found.qrels == {"1": {"a": 0, "b": 1}}
    assert found.notes == ("judgements that contradict an earlier one, the last counts: 1",)


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("own/half", judged([], ("1", "a", 0.5)), "own/half: grades are whole numbers, not 0.5"),
        ("own/word", judged([], ("1", "a", "1")), "own/word: grades are whole numbers, not '1'"),
        (
            "own/topics",
            judged(["subtopic_id"], ("1", "a", 1, "2")),
            "own/topics cannot be used: it judges parts of documents or of queries (subtopic_id), "
            "and only whole ones are evaluated here",
        ),
        (
            "own/other",
            judged([], ("2", "a", 1)),
            "own/other: no query has both a text and judgements",
        ),
    ],
)
def test_judgements_that_cannot_be_used(home, name, rows, message):
    small(home, name, qrels=rows)
    with pytest.raises(InputError) as error:
        ir_dataset(name)
    assert str(error.value) == message


def test_whole_grades_of_another_type_are_grades(home):
    small(home, "own/float", qrels=judged([], ("1", "a", 2.0)))
    [grade] = ir_dataset("own/float").qrels["1"].values()
    assert (grade, type(grade)) == (2, int)


def test_excluded_passages(home):
    rows = judged([], ("1", "a", 1), ("1", "b", -100), ("2", "a", -100))
    small(home, "bright/own", qrels=rows)
    found = ir_dataset("bright/own")
    assert found.qrels == {"1": {"a": 1}}
    assert found.excluded == {"1": {"b"}, "2": {"a"}}
    small(home, "own/spam", qrels=judged([], ("1", "a", 1), ("1", "b", -100)))
    assert ir_dataset("own/spam").qrels == {"1": {"a": 1, "b": -100}}

    files = {name: text for name, text in SCIFACT.items() if "train" not in name}
    archive(home, "arguana", files)
    assert ir_dataset("beir/arguana").excluded == {"1": {"1"}, "3": {"3"}, "5": {"5"}}


def test_the_paper_s_names(home):
    import ir_datasets

    for name in itertools.chain.from_iterable(GROUPS.values()):
        dataset = ir_datasets.load(name)
        assert (dataset.has_docs(), dataset.has_queries(), dataset.has_qrels()) == (True,) * 3
    assert "disks45/nocr/trec-robust-2004" in BEIR_MISSING
    assert ir_datasets.load("disks45/nocr/trec-robust-2004").has_qrels()
    there = [name for name in ir_datasets.registry if name.startswith("beir/")]
    assert [n for n in there if "robust" in n or "news" in n or "signal" in n] == []


def test_ids_that_do_not_exist(home):
    with pytest.raises(InputError) as error:
        ir_dataset("beir/scifacts/test")
    assert str(error.value) == (
        "beir/scifacts/test is no collection: neither a file or folder that exists, nor an id of "
        "ir_datasets. Similar ids: beir/scifact/test, beir/scifact/train, beir/fiqa/test. A collection "
        "is a folder in BEIR's format, BRIGHT's folder, an id of ir_datasets, or one of the names "
        "trec-dl and beir"
    )
    with pytest.raises(InputError, match="Similar ids: msmarco-passage/trec-dl-2019,"):
        ir_dataset("TREC-DL-2019")
    with pytest.raises(InputError, match=r"of ir_datasets\. A collection is"):
        ir_dataset("runs/of/mine")


def test_ids_without_judgements(home):
    with pytest.raises(InputError) as error:
        ir_dataset("beir/scifact")
    assert str(error.value).startswith(  # later versions have more ids
        "beir/scifact cannot be used: it has no judgements. "
        "Similar ids: beir/scifact/test, beir/scifact/train"
    )
    with pytest.raises(InputError, match="has no documents and no queries and no judgements"):
        ir_dataset("beir")


def test_without_a_network(home, capfd):
    with pytest.raises(SetupError) as error:
        ir_dataset("beir/trec-covid")
    place = home / "downloads/ce62140cb23feb9becf6270d0d1fe6d1"
    assert str(error.value).startswith(
        "ir_datasets cannot load beir/trec-covid: its files are not here, and cannot be downloaded: "
        "there is no connection; "
    )
    assert str(error.value).endswith(
        f"you can symlink it here to avoid downloading it again: {place} "
        "(IR_DATASETS_HOME moves that)"
    )
    with pytest.raises(SetupError) as error:
        ir_dataset("beir/nfcorpus/test")
    assert str(error.value).endswith(
        f"; it keeps its files in {home} (IR_DATASETS_HOME moves that)"
    )
    assert capfd.readouterr() == ("", "")


def test_sets_that_need_a_licence(home, capfd):
    folder = home / "disks45"
    folder.mkdir(exist_ok=True)
    (folder / "qrels.robust2004.txt").write_text("301 0 FBIS3-10082 1\n")
    topic = (
        "<top>\n<num> Number: 301\n<title> Crime\n<desc> Description:\n<narr> Narrative:\n</top>"
    )
    (folder / "04.testset.gz").write_bytes(gzip.compress(topic.encode()))
    with pytest.raises(SetupError) as error:
        ir_dataset("disks45/nocr/trec-robust-2004")
    message = str(error.value)
    assert message.startswith(
        "ir_datasets cannot load disks45/nocr/trec-robust-2004: The TREC Robust document collection "
    )
    assert f"place the uncompressed source here: {folder / 'corpus'}" in message
    assert "\n" not in message
    out, err = capfd.readouterr()
    assert out == ""
    assert {line for line in err.splitlines() if line.startswith("[")} == {
        "[INFO] Please confirm you agree to the TREC data usage agreement found at "
        "<https://trec.nist.gov/data/cd45/index.html>"
    }


def test_files_that_are_broken(home):
    folder = home / "beir/scidocs"
    folder.mkdir(parents=True)
    (folder / "source.zip").write_text("<html>")
    with pytest.raises(SetupError, match="load beir/scidocs: BadZipFile: File is not a zip file"):
        ir_dataset("beir/scidocs")


def test_without_ir_datasets(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(SetupError, match=re.escape(install_line("eval"))):
        ir_dataset("beir/scifact/test")
