import json
import sys
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rearank_agent.extras import install_line
from rearank_agent.policies.embedded.token_count import READ_TOKENS, count_tokens
from rearank_agent.search.chunk import MIN_TOKENS, Document, chunk_document
from rearank_agent.search.convert import Converter
from rearank_agent.search.decode import decoded
from rearank_agent.search.extract import MAX_BYTES, Extraction
from rearank_agent.search.extract import extract as extract_opened
from rearank_agent.search.held import HeldRoot
from rearank_agent.search.titles import Heading, headings
from rearank_agent.search.unread import FileFault, UnreadError

NO_ENCODING = "is not UTF-8, nor says what it is"
SENTENCE = "The pump in the cellar failed after nine hours of rain. "  # 12 tokens


def extract(path, named=False):
    root = HeldRoot(path)
    with Converter() as converter:
        try:
            return extract_opened(path.name, lambda: root.open(""), converter.convert, named)
        finally:
            root.close()


@pytest.fixture
def file(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return extract(path)

    return write


def rows(extraction):
    assert extraction.faults == ()
    return [
        (chunk.start, chunk.end, chunk.part, chunk.title, chunk.text) for chunk in extraction.chunks
    ]


def document(text, prose=True):
    return Document(text, range(1, text.count("\n") + 2), headings(text) if prose else {}, prose)


BLOCKS = ["", "  ", "# One", "## Two", "Title\n=====", "```\n# no\n```", "x = 1\n    y = 2"]
LONG = [
    "wörter 中文没有空格的文字 " * 9,
    SENTENCE * 2,
    SENTENCE * 15,
    "longword" * 300,
    "。中文" * 200,
]
UNUSUAL = ["Dr. A. Wrapped line\nof one sentence. Another\nstarts.", " " * 90 + "far", "\t\tend  "]
blocks = st.lists(st.sampled_from([*BLOCKS, *LONG, *UNUSUAL]), max_size=12)


@given(blocks, st.sampled_from(["\n", "\n\n", "\n\n\n\n"]), st.booleans())
def test_chunks_are_the_text_in_order_without_overlap(parts, gap, prose):
    text = gap.join(parts)
    lines = text.split("\n")
    at = 0
    for chunk in chunk_document(document(text, prose)):
        start = text.index(chunk.text, at)
        assert not text[at:start].strip(), "only blank space is left out"
        at = start + len(chunk.text)
        assert chunk.start == text.count("\n", 0, start) + 1
        assert chunk.end == text.count("\n", 0, at) + 1
        assert lines[chunk.start - 1].strip()
        assert lines[chunk.end - 1].strip()
        assert count_tokens(" ".join(chunk.text.split())) <= READ_TOKENS - count_tokens(chunk.title)
    assert not text[at:].strip()


@given(blocks, st.booleans())
def test_ids_made_of_lines_and_part_are_unique(parts, prose):
    chunks = chunk_document(document("\n".join(parts), prose))
    assert len({(chunk.start, chunk.end, chunk.part) for chunk in chunks}) == len(chunks)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_paragraphs_are_merged_until_they_are_long_enough(lengths):
    text = "\n\n".join(SENTENCE * length for length in lengths)
    sizes = [count_tokens(chunk.text) for chunk in chunk_document(document(text))]
    assert all(MIN_TOKENS <= tokens <= READ_TOKENS for tokens in sizes[:-1])
    assert sum(sizes) == 12 * sum(lengths)


def test_a_document_split_at_paragraphs(file):
    paragraphs = [SENTENCE.strip() + " " + SENTENCE * 4 for _ in range(4)]  # 60 tokens each
    text = "\n\n".join(paragraph.strip() for paragraph in paragraphs)
    first = "\n\n".join(paragraph.strip() for paragraph in paragraphs[:2])
    assert rows(file("a.txt", text)) == [(1, 3, 1, "", first), (5, 7, 1, "", first)]


def test_a_wrapped_paragraph_is_split_between_sentences_not_lines(file):
    words = (SENTENCE * 30).split()
    text = "\n".join(" ".join(words[i : i + 7]) for i in range(0, len(words), 7))
    chunks = file("a.md", text).chunks
    assert len(chunks) == 2
    assert all(chunk.text.startswith("The pump") for chunk in chunks)
    assert all(chunk.text.endswith("rain.") for chunk in chunks)


def test_code_is_split_between_lines_and_keeps_its_indentation(file):
    body = "".join(f"    total = total + first[{i}] * second[{i}]\n" for i in range(60))
    chunks = file("a.py", f"def add(first, second):\n{body}    return total\n").chunks
    assert len(chunks) > 1
    assert [chunk.start for chunk in chunks[1:]] == [chunk.end + 1 for chunk in chunks[:-1]]
    assert all(chunk.text.startswith("    total") for chunk in chunks[1:])
    assert [chunk.title for chunk in chunks] == ["", *["def add"] * (len(chunks) - 1)]


def test_rows_of_a_table_keep_its_header(file):
    rows_of = "".join(f"pump {i}, failed after {i} hours\n" for i in range(60))
    first, *more = file("a.csv", f"name,state\n{rows_of}").chunks
    assert (first.title, first.text[:10]) == ("", "name,state")
    assert {chunk.title for chunk in more} == {"name,state"}
    table = "".join(f"| pump {i} | failed |\n" for i in range(60))
    first, *more = file("a.md", f"# Cellar\n\n| name | state |\n|---|---|\n{table}").chunks
    assert (first.title, first.start) == ("", 1)
    assert {chunk.title for chunk in more} == {"Cellar > name | state"}


def test_a_heading_stays_with_what_follows_and_titles_what_comes_later(file):
    text = f"# Cellar\n\n{SENTENCE * 9}\n\n## Pumps\n\n{SENTENCE * 25}"
    chunks = file("a.md", text).chunks
    assert [(chunk.start, chunk.end, chunk.part, chunk.title) for chunk in chunks] == [
        (1, 3, 1, ""), (5, 7, 1, "Cellar"), (7, 7, 1, "Cellar > Pumps"),
    ]  # fmt: skip
    assert chunks[1].text.startswith("## Pumps\n\nThe pump")


def test_headings_of_markdown_and_restructuredtext():
    text = "# C# #\ntext\n\nUnder\n=====\n\n```sh\n# no\n```\n\n## Two ##\n#tag\n\nnot\nthis\n---\n\n| a |\n---"
    assert headings(text) == {
        0: Heading(1, "C#"), 3: Heading(1, "Under", 2), 10: Heading(2, "Two"),
        17: Heading(2, "| a |", 2),
    }  # fmt: skip


def test_scripts_without_spaces_are_measured_too(file):
    text = "水泵在下雨九个小时之后坏了。" * 60
    chunks = file("a.txt", text).chunks
    assert "".join(chunk.text for chunk in chunks) == text
    assert all(chunk.text.endswith("。") for chunk in chunks)
    assert all(MIN_TOKENS <= count_tokens(chunk.text) <= READ_TOKENS for chunk in chunks)
    assert [chunk.part for chunk in chunks] == list(range(1, len(chunks) + 1))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "x" * 5_000_000), ("a.md", "x" + " " * 5_000_000 + "y"),
        ("a.js", "f(a,b);" * 700_000), ("a.html", "<!-- " * 200_000), ("b.html", "<a " * 200_000),
    ],
)  # fmt: skip
def test_one_line_without_end_takes_seconds_and_stays_in_bounds(file, name, content):
    start = perf_counter()
    extraction = file(name, content)
    assert perf_counter() - start < 20
    assert all(len(chunk.text) <= READ_TOKENS * 100 for chunk in extraction.chunks)


def test_line_ends_and_byte_order_mark(file):
    assert rows(file("a.txt", b"\xef\xbb\xbfone\r\ntwo\rthree\n")) == [
        (1, 3, 1, "", "one\ntwo\nthree")
    ]
    assert file("b.txt", "") == file("c.md", " \n\t\n") == Extraction()


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.txt", b"pump\0", FileFault("binary", "is not text")),
        (
            "a.JPG",
            b"\xff\xd8",
            FileFault("binary", "is an image; text in pictures is not read"),
        ),
        (
            "a.tar.gz",
            b"\x1f\x8b",
            FileFault("binary", "is an archive; unpack it to have its files read"),
        ),
        ("a.md", b"x" * 9000 + b"\0", FileFault("binary", "is not text")),
        ("a.txt", b"\x1b[1m\x00", FileFault("binary", "is not text")),
        ("a.txt", "p\0ump".encode("utf-16"), FileFault("binary", "is not text")),
        ("a.txt", b"one\ntw\x81", FileFault("encoding", NO_ENCODING, 2)),
        ("a.txt", b"caf\xe9 \x01", FileFault("encoding", NO_ENCODING, 1)),
        ("a.txt", "насос отказал".encode("cp1251"), FileFault("encoding", NO_ENCODING, 1)),
        ("a.txt", "泵坏了 pump".encode("gb18030"), FileFault("encoding", NO_ENCODING, 1)),
    ],
)
def test_what_is_not_text_by_its_content(file, name, content, fault):
    assert file(name, content) == Extraction(faults=(fault,))


@pytest.mark.parametrize(
    ("content", "text", "guessed"),
    [
        ("une\nflèche “café”".encode("cp1252"), "une\nflèche “café”", 2),
        ("flèche".encode("utf-16"), "flèche", 0),
        ("\ufeffпомпа".encode("utf-16-be"), "помпа", 0),
        ("\ufeffпомпа".encode("utf-32-le"), "помпа", 0),
        ("int main(void)\r\n".encode("utf-16-le"), "int main(void)", 0),
        ("int main(void)".encode("utf-16-be"), "int main(void)", 0),
        ("# coding: koi8-r\nнасос".encode("koi8-r"), "# coding: koi8-r\nнасос", 0),
        ("<?xml encoding='Shift_JIS'?>ポンプ".encode("shift_jis"), "<?xml encoding='Shift_JIS'?>ポンプ", 0),
        ("coding: none, flèche".encode("cp1252"), "coding: none, flèche", 1),
    ],
)  # fmt: skip
def test_text_in_other_encodings(file, content, text, guessed):
    guess = FileFault("encoding", "is not UTF-8; it was read as Windows-1252", guessed)
    extraction = file("a.txt", content)
    assert [chunk.text for chunk in extraction.chunks] == [text]
    assert extraction.faults == ((guess,) if guessed else ())


def test_a_page_is_read_in_the_encoding_that_it_declares(file):
    content = '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251"><p>насос'
    assert rows(file("a.html", content.encode("cp1251"))) == [(1, 1, 1, "", "насос")]


@given(
    st.binary(max_size=60), st.sampled_from([b"", b"coding: utf-7\n", b"coding:unicode_escape "])
)
def test_any_bytes_are_text_or_refused(data, head):
    try:
        text, _ = decoded(head + data)
    except UnreadError:
        return
    text.encode()
    assert "\0" not in text


def test_too_large(tmp_path):
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.write(b"pump")
        file.truncate(MAX_BYTES + 1)
        file.seek(0)
        file.write(b"x" * 9000)
    assert extract(path) == Extraction(faults=(FileFault("large", "is larger than 64 MiB"),))


def test_what_may_change_without_the_file_is_not_cacheable(tmp_path, monkeypatch):
    gone = extract(tmp_path / "gone.txt")
    assert gone == Extraction(
        (), (FileFault("vanished", "was gone before it was read"),), cacheable=False
    )
    (tmp_path / "link.txt").symlink_to("gone.txt")
    (fault,) = extract(tmp_path / "link.txt").faults
    assert fault.kind == "link", "a link that took a file's place is not followed"


def test_json_lines(file):
    content = (
        '{"id": 7, "title": "Pumps", "text": "They fail."}\n\n'
        '{"_id": "b", "text": "No title"}\nnot json\n[1]\n{"text": " "}\n{"text": "\\ud800"}\n'
        '{"text": "plain", "title": 3}\n' + "[" * 100_000
    )
    extraction = file("a.jsonl", content)
    assert [(p.start, p.end, p.part, p.title, p.text, p.meta) for p in extraction.chunks] == [
        (1, 1, 1, "Pumps", "They fail.", {"id": 7}),
        (3, 3, 1, "", "No title", {"id": "b"}),
        (8, 8, 1, "", "plain", {}),
    ]
    assert extraction.faults == (
        FileFault("line", "is not JSON", 4),
        FileFault("line", "has no text", 5),
        FileFault("line", "has no text", 6),
        FileFault("line", "holds half a character (a lone surrogate)", 7),
        FileFault("line", "is not JSON", 9),
    )


def test_a_long_row_is_several_passages(file):
    row = {"id": 7, "title": "word " * 80, "text": "\n".join([(SENTENCE * 12).strip()] * 2)}
    first, second = file("a.jsonl", f"\n{json.dumps(row)}").chunks
    assert f"{first.text}\n{second.text}" == row["text"]
    places = [(chunk.start, chunk.end, chunk.part, chunk.meta) for chunk in (first, second)]
    assert places == [(2, 2, 1, {"id": 7}), (2, 2, 2, {"id": 7})]
    assert first.title == second.title == "word " * 48 + "word…"


def notebook(*cells):
    listed = [
        {"cell_type": kind, "source": source, "outputs": ["x" * 900]} for kind, source in cells
    ]
    return json.dumps({"cells": listed, "nbformat": 4})


def test_a_notebook_is_its_cells(file):
    content = notebook(
        ("markdown", ["# Cellar\n", SENTENCE * 10]),
        ("code", []),
        ("code", ["import pump\r\n", "# no heading"]),
        ("markdown", f"## Pumps\n\n{SENTENCE * 12}"),
        ("code", "pump.start()\n" * 30),
    )
    assert rows(file("a.ipynb", content)) == [
        (1, 1, 1, "", f"# Cellar\n{(SENTENCE * 10).strip()}"),
        (3, 4, 1, "Cellar", f"import pump\n# no heading\n\n## Pumps\n\n{(SENTENCE * 12).strip()}"),
        (5, 5, 1, "Cellar > Pumps", ("pump.start()\n" * 30).strip()),
    ]
    assert file("b.ipynb", notebook()) == Extraction()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"cells": 1}', "[" * 100_000, notebook(("code", "\ud800"))]
)
def test_what_is_no_notebook(file, content):
    fault = FileFault("unreadable", "is no notebook of format 4")
    assert file("a.ipynb", content) == Extraction(faults=(fault,))


LONG_LINE = "f(a,b);" * 900


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("Cargo.lock", "x", "is a lock file"),
        ("package-lock.json", "{}", "is a lock file"),
        ("a.min.js", "x", "is minified, or a source map"),
        ("a.css.map", "{}", "is minified, or a source map"),
        (
            "a.go",
            "// Code generated by protoc-gen-go. DO NOT EDIT.\n",
            "says that a program made it",
        ),
        ("a.json", "[1,\n" * 70_000, "is JSON of more than 256 KiB"),
        ("a.js", LONG_LINE, "has lines of more than 500 characters on the average"),
        ("a.js", f"{LONG_LINE[:3_000]}\n\n\n", ""),
        ("a.txt", LONG_LINE, ""),
        ("a.py", f"{'#' * 1_000}\n# DO NOT EDIT\n", ""),
        ("a.md", "Files that say @generated are left out.", ""),
        ("lock.json", "{}", ""),
    ],
)
def test_what_programs_make_is_left_out_unless_it_is_named(tmp_path, name, content, why):
    path = tmp_path / name
    path.write_text(content)
    fault = FileFault("generated", f"{why}; name the file itself to search it")
    named = extract(path, named=True)
    assert extract(path) == (Extraction(faults=(fault,)) if why else named)
    assert named.chunks
    assert named.faults == ()


def test_html_is_its_visible_text(file):
    content = """<!DOCTYPE html><html><head><title>Cellar
guide</title><style>p { color: red }</style></head>
<body><h1>The <em>pump</em></h1><script>var hidden = 1 < 2;</script>
<p>Fails &amp; floods<br>at
night.</p><ul><li>one<li>two</ul><pre>  a
    b</pre><table><tr><td>x</td><td>y</td></tr></table>
tail 3 > 2"""
    assert rows(file("a.html", content)) == [
        (1, 7, 1, "", "Cellar guide\n\nThe pump\n\nFails & floods\nat\nnight.\n\none\ntwo\n\n  a\n    b\n\nx y\n\ntail 3 > 2")
    ]  # fmt: skip


def test_html_headings_are_titles(file):
    content = f"<title>Guide</title><h1>Cellar</h1><h2>Pumps</h2>\n<p>{SENTENCE * 30}</p>"
    assert [(p.start, p.end, p.title) for p in file("a.htm", content).chunks] == [
        (1, 2, ""), (2, 2, "Guide > Cellar > Pumps"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.pptx", "a.xlsx"])
def test_without_the_extra_the_pip_line_is_named(file, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "markitdown", None)
    assert file(name, b"%PDF") == Extraction(
        (),
        (FileFault("extra", f"needs: {install_line('docs')}"),),
        cacheable=False,
    )


@pytest.mark.parametrize("section", ["<![if x]>", "<![foo[x]]>", "<![>", "<![CDATA[x]]>", "<!x>"])
def test_html_of_other_programs_is_read(file, section):
    ((start, end, _, _, text),) = rows(file("a.html", f"<p>a</p>{section}\n<p>far</p>"))
    assert (start, end, text[0], text[-3:]) == (1, 2, "a", "far")


@pytest.mark.parametrize("end", ["&#10;", "&#x0A;", "&NewLine;", "&#000010"])
def test_a_line_end_as_a_reference_is_no_line_of_the_file(file, end):
    (chunk,) = file("a.html", f"<p>a{end}{end}b&#100;</p>\n<p>c").chunks
    assert (chunk.text, chunk.start, chunk.end) == ("a bd\n\nc", 1, 2)
