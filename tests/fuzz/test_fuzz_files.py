"""Files and values of callers: whatever is in them, only our own errors come out."""

import contextlib
import io
import json
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import strategies as st

from helpers.mutations import ODD, blobs, fuzz, json_blobs, texts, values
from rearank_agent import Passage, Ranking, Reranker
from rearank_agent.cli.read_passages import read_passages
from rearank_agent.data.beir import read_folder
from rearank_agent.data.trec import qrels_text, read_qrels, read_run, run_text
from rearank_agent.errors import InputError, SetupError
from rearank_agent.intake.passages import as_passages
from rearank_agent.json_text import parse_json
from rearank_agent.listwise.prompt import build_prompt
from rearank_agent.listwise.template import Template
from rearank_agent.search.decode import decoded
from rearank_agent.search.extract import extract
from rearank_agent.search.unread import UnreadError

RECORD = {"id": 7, "text": "A flea jumps 20 cm.", "title": "Fleas", "score": 0.5, "place": "a:1",
          "meta": {"n": [1, None]}, "url": "x"}  # fmt: skip
LINES = "".join(json.dumps({**RECORD, "id": n}) + "\n" for n in range(3))
ARRAY = json.dumps([RECORD, {"text": "Dogs bark."}, "A text"])
PLAIN = "A flea jumps.\nDogs bark.\n[1] is a text\n"
RUN = "q1 Q0 d1 1 9.5 tag\nq1 Q0 d2 2 8 tag\nq2\tQ0\td 3\t1\t1e3\ttag\n"
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td 3\t2\n"
MARKDOWN = "# Fleas\n\nFleas bite. They jump!\n\nFar\n===\n\n```\n# code\n```\n" + "word " * 300
CODE = "def flea():\n    return 20\n" * 60
HTML = "<!DOCTYPE html><title>Fleas</title><h1>On <b>fleas</b></h1><p>A &amp; b<br>c<pre> x\n y</pre>" \
       "<!-- no --><table><tr><td>1<td>2</table><script>no()</script><![CDATA[x]]><p>end"  # fmt: skip
RANKING = Reranker("lexical").rerank_sync("flea", [RECORD, {"id": "d", "text": "Dogs."}]).to_json()
TEMPLATE = Template.default()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@fuzz(st.one_of(blobs(LINES.encode(), ARRAY.encode(), PLAIN.encode()),
                json_blobs(RECORD, [RECORD, RECORD, "A text"])))  # fmt: skip
def test_passages_of_a_file(folder, data):
    file = folder / "passages"
    file.write_bytes(data)
    with contextlib.suppress(InputError), contextlib.redirect_stderr(io.StringIO()):
        for passage in read_passages(str(file)):
            assert Passage.from_json(passage.to_json().encode()) == passage


class Hostile:
    """An object whose repr, numbers and fields raise."""

    def __repr__(self):
        raise RuntimeError

    __float__ = __str__ = __repr__


OBJECTS = (
    *ODD, 10**5_000, -(10**5_000), Hostile(), object(), Hostile, Decimal("sNaN"), Decimal("1e999"),
    b"bytes", {1, 2}, {1: 2}, {10**5_000: 1}, 1j, SimpleNamespace(text="a", meta=3),
    SimpleNamespace(node=SimpleNamespace(text="a", metadata={"a": 1}), score=Hostile()),
)  # fmt: skip


@fuzz(st.one_of(values([RECORD, RECORD, "A text", {"page_content": "x", "metadata": {}}], odd=OBJECTS),
                st.sampled_from(OBJECTS)))  # fmt: skip
def test_passages_of_a_caller(items):
    with contextlib.suppress(InputError):
        found = as_passages(items)
        assert len({one.id for one in found}) == len(found) == len(items)
        with contextlib.suppress(InputError):  # what is no JSON in `meta`
            for one in found:
                one.to_json().encode()


@fuzz(st.one_of(blobs(ARRAY.encode()), json_blobs(RECORD, [1.5, "a", True])))
def test_json(data):
    for text in (data, data.decode(errors="surrogateescape")):
        with contextlib.suppress(ValueError):
            value = parse_json(text)
            written = json.dumps(value, ensure_ascii=False, allow_nan=False)
            assert parse_json(written.encode()) == value


@fuzz(st.one_of(texts(RANKING), json_blobs(json.loads(RANKING))))
def test_a_ranking_as_json(text):
    with contextlib.suppress(InputError):
        ranking = Ranking.from_json(text)
        assert Ranking.from_json(ranking.to_json().encode()) == ranking


@fuzz(blobs(RUN.encode(), QRELS.encode()))
def test_runs_and_judgements(folder, data):
    file = folder / "rows"
    file.write_bytes(data)
    for read, write in ((read_run, lambda run: run_text(run, "tag")), (read_qrels, qrels_text)):
        with contextlib.suppress(InputError):
            found = read(file)
            file.write_bytes(write(found).encode())
            assert read(file) == found
            file.write_bytes(data)


@fuzz(
    st.sampled_from(("corpus.jsonl", "queries.jsonl", "qrels.tsv", "candidates.jsonl")),
    st.one_of(blobs(LINES.encode(), QRELS.encode()), json_blobs(
        {"_id": "q1", "text": "far"}, {"_id": "d1", "text": "A flea", "title": None},
        {"query-id": "q1", "corpus-ids": ["d1", 2]})),
)  # fmt: skip
def test_a_collection(folder, name, data):
    valid = {
        "corpus.jsonl": b'{"_id": "d1", "text": "A flea."}\n{"_id": 2, "text": "Dogs."}\n',
        "queries.jsonl": b'{"_id": "q1", "text": "far"}\n',
        "qrels.tsv": b"q1\td1\t1\n",
        "candidates.jsonl": b'{"query-id": "q1", "corpus-ids": ["d1", 2]}\n',
    }
    for file, content in {**valid, name: data}.items():
        (folder / file).write_bytes(content)
    with contextlib.suppress(InputError):
        found = read_folder(folder)
        for passage in found.corpus.values():
            passage.to_json().encode()


@fuzz(
    texts(
        TEMPLATE_FILE := 'name = "a"\nsystem = ""\nopening = "{query}"\n'
         'instruction = "{instruction}"\nopening_reply = "ok"\npassage = "{number} {text}"\n'
         'passage_reply = "ok"\n[closing]\nthink = "a"\ndirect = "b"\norder = "c"\nscores = "d"\n'
         'again = "e"\n'
    )
)  # fmt: skip
def test_a_template(folder, text):
    file = folder / "template.toml"
    file.write_bytes(text.encode(errors="surrogatepass"))
    with contextlib.suppress(SetupError):
        assert Template.parse(text).fingerprint
    with contextlib.suppress(SetupError):
        template = Template.load(file)
        build_prompt("far {n}", [Passage("a", "b")], instruction="{text}", template=template)


@fuzz(
    st.sampled_from((".md", ".py", ".html", ".jsonl", ".rst")),
    blobs(MARKDOWN.encode(), CODE.encode(), HTML.encode(), LINES.encode()),
)
def test_chunks_of_a_file(folder, suffix, data):
    file = folder / f"file{suffix}"
    file.write_bytes(data)
    found = extract(file.name, lambda: file.open("rb"), lambda data, suffix: "")
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") + 1
    with contextlib.suppress(UnreadError):
        text, _ = decoded(data)
    for chunk in found.chunks:
        assert 1 <= chunk.start <= chunk.end <= lines
        assert chunk.text.strip()
        chunk.text.encode()
        if suffix in (".md", ".py", ".rst"):
            assert chunk.text in text
