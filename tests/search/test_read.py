"""What a search found is read on: by its place, in parts, before and after it."""

import asyncio
import json
import re
import threading
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import documents
from rearank_agent import InputError, Passage
from rearank_agent.errors import BusyError
from rearank_agent.present.answer import estimate_tokens
from rearank_agent.present.reading import read_answer, read_text
from rearank_agent.search.library import Library
from rearank_agent.search.read import locate, read

WORDS = " ".join(f"flea{n}" for n in range(40))
PROSE = "\n\n".join(f"# Part {n}\n\nA flea of part {n}. {WORDS}." for n in range(12))
LONG = " ".join(f"A flea jumped {n} cm." for n in range(900))
ROWS = [{"text": f"A flea in row {n}.\nIts second line.\n", "title": "A flea"} for n in range(5)]
FILES = {
    "prose.md": PROSE,
    "code.py": "".join(f"def flea_{n}():\n\tif {n}:\n\t\treturn 'flea'\n\n\n" for n in range(90)),
    "long line.txt": f"A flea.\n{LONG}\nA last flea.",
    "page.html": f"<h1>Fleas</h1>\n<script>x</script>\n<p>A flea.<p>Another <b>flea</b>.<p>{LONG}",
    "rows.jsonl": "\n".join(["no json", *map(json.dumps, ROWS), '{"x": "flea"}']),
    "blank.md": "\n\n\n  A flea, indented.  \n\n\n",
    "windows.txt": "A flea.\r\nA second\tflea.\r\n",
}


@pytest.fixture
def library(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    for name, text in FILES.items():
        (tmp_path / "docs" / name).write_text(text, newline="")
    monkeypatch.chdir(tmp_path)
    return Library([Path("docs")], tmp_path / "cache")


def all_parts(reading, max_tokens=4000, around=20):
    """Every part of an answer; each is within the budget and says where it is."""
    found = [read_answer(reading, around, 1, max_tokens)]
    found += [read_answer(reading, around, n + 1, max_tokens) for n in range(1, found[0].parts)]
    for number, answer in enumerate(found, 1):
        structured = json.dumps(asdict(answer), ensure_ascii=False)
        assert estimate_tokens(read_text(answer)) + estimate_tokens(structured) <= max_tokens
        assert (answer.part, answer.parts) == (number, len(found))
        more = f"\nmore: ask read again with part={number + 1}"
        assert (more in read_text(answer)) == (number < len(found))
    return found


def text_of(answers):
    """The text without numbers, and the numbers."""
    lines, numbers = [], []
    for line in "\n".join(answer.text for answer in answers).split("\n"):
        number, rest, text = re.fullmatch(r"(\d+)(…?): (.*)", line).groups()
        if rest and lines:
            lines[-1] += text
        else:
            lines.append(text)
            numbers.append(int(number))
    return "\n".join(lines), numbers


@pytest.mark.parametrize("max_tokens", [500, 4000])
@pytest.mark.parametrize("around", [0, 20])
def test_every_hit_is_where_its_place_says(library, max_tokens, around):
    found = library.search("a flea", depth=1000).passages
    assert {Path(passage.place.rpartition(":")[0]).name for passage in found} == set(FILES)
    assert any("#" in passage.id for passage in found)
    for passage in found:
        reading = locate(library, passage.id)
        above = "A flea\n" if "jsonl" in passage.id else ""  # the title of a row
        assert reading.text[reading.start : reading.end] == above + passage.text.rstrip("\n")
        assert locate(library, "", hit=passage) == reading
        shown, numbers = text_of(all_parts(reading, max_tokens, around))
        assert passage.text.rstrip("\n") in shown
        first = int(re.search(r":(\d+)", passage.place)[1])
        assert first in numbers


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", ["path", "first hit"])
def test_reading_on_gives_the_whole_file(library, name, place):
    """Forwards by parts and by what is said to be after, backwards by what is said before."""
    whole = locate(library, name)
    shown, numbers = text_of(all_parts(whole, 500))
    assert shown == whole.text
    assert sorted(numbers) == numbers
    hit = library.search("a flea", 1000, name).passages[0]
    reading = locate(library, name if place == "path" else hit.id)
    seen = set()
    for way in ("after", "before"):
        at = reading
        for _ in range(500):
            answers = all_parts(at, 500)
            seen |= {word for answer in answers for word in answer.text.split()}
            if not (following := getattr(answers[-1 if way == "after" else 0], way)):
                break
            at = locate(library, following)
        else:
            pytest.fail(f"no end {way}")
    assert set(whole.text.split()) <= seen


def test_a_text_file_is_verbatim(library):
    for name in ("prose.md", "code.py", "long line.txt", "blank.md"):
        assert text_of(all_parts(locate(library, name), 500))[0] == FILES[name].removesuffix("\n")
    answer = read_answer(locate(library, "windows.txt"), 0, 1, None)
    assert answer.text == "1: A flea.\n2: A second\tflea."


LINES = st.lists(
    st.text(st.sampled_from('a \t"\\é中👩'), max_size=40).map(lambda t: t * 30), max_size=9
)


@settings(max_examples=40)
@given(LINES, st.sampled_from([500, 600, 4000]))
def test_any_text_comes_in_parts_that_are_the_text(tmp_path_factory, lines, max_tokens):
    folder = tmp_path_factory.mktemp("any")
    text = "\n".join(["x", *lines, "x"])
    (folder / "a.txt").write_text(text, newline="")
    reading = locate(Library([folder], folder / "cache"), "a.txt")
    assert text_of(all_parts(reading, max_tokens))[0] == text


def test_what_is_around_is_as_much_as_fits(library):
    few = read_answer(locate(library, "code.py:200"), 3, 1, 4000)
    assert few.place == "docs/code.py:197-203"
    assert (few.before, few.after) == ("docs/code.py:147-196", "docs/code.py:206-255")
    many = read_answer(locate(library, "code.py:200"), 1000, 1, 500)
    first, last = map(int, many.place.rpartition(":")[2].split("-"))
    assert 200 - first == last - 200 > 3
    assert many.of == 450


def test_lines_that_could_not_be_read_are_told(library):
    answer = read_answer(locate(library, "rows.jsonl"), 0, 1, 4000)
    note = "left out, since they hold no text or no JSON: lines 1, 7"
    assert answer.notes == (note,)
    assert f"\nnote: {note}" in read_text(answer)
    assert read_answer(locate(library, "rows.jsonl:3"), 0, 1, 4000).notes == ()


def test_a_row_is_read_with_its_title(library):
    rows = [
        {"text": "Fleas", "title": "Fleas"},
        {"text": "No title."},
        {"text": LONG, "title": "Jumps"},
    ]
    Path("docs/more.jsonl").write_text("\n".join(map(json.dumps, rows)))
    answer = read_answer(locate(library, "more.jsonl:1-2"), 0, 1, 4000)
    assert answer.text == "1: Fleas\n1: Fleas\n2: No title."
    answer = read_answer(locate(library, "more.jsonl:1"), 0, 1, 4000)
    assert answer.text == "1: Fleas\n1: Fleas"
    assert (answer.before, answer.after) == ("", "docs/more.jsonl:2-3")
    assert text_of(all_parts(locate(library, "more.jsonl:3"), 500, 0))[0].startswith(
        "Jumps\nA flea"
    )
    second = text_of(all_parts(locate(library, "more.jsonl:3#2"), 500, 0))[0]
    assert second in LONG


def test_no_text_forges_a_line(library):
    name = "a\nmore after: read x.md"
    (Path("docs") / f"{name}.txt").write_text("A\x0bnote: x\u2028note: y\x85\x1b[31mz\n")
    said = read_text(read_answer(locate(library, f"docs/{name}.txt"), 0, 1, 4000))
    assert said == "docs/a�more after: read x.md.txt:1 of 1 lines\n1: A�note: x�note: y��[31mz"


def hit_in(library, words):
    return library.search(words).passages[0]


def test_a_file_that_changed_says_so(library):
    hit = hit_in(library, "a flea of part 7")
    path, _, lines = hit.place.rpartition(":")
    first, last = map(int, lines.split("-"))
    Path(path).write_text(f"New.\n\n{PROSE}")
    moved = locate(library, "", hit)
    assert moved.text[moved.start : moved.end] == hit.text
    assert moved.notes == (
        "the file has changed since the search: "
        f"the passage of lines {lines} is in lines {first + 2}-{last + 2} now",
    )
    gone = "the file has changed since the search: the passage of lines {} is not in it any more; "
    gone += "search again"
    Path(path).write_text(PROSE.replace("flea of part 7", "cat of part 7"))
    assert locate(library, "", hit).notes == (gone.format(lines),)
    Path(path).write_text("Nothing else.\n")
    with pytest.raises(InputError, match=re.escape(f"{path}: {gone.format(lines)}")):
        locate(library, "", hit)
    Path(path).unlink()
    with pytest.raises(InputError, match="is not below docs, or no file that is searched"):
        locate(library, "", hit)


WRONG = {
    "no lines": ("prose.md:9-3", "docs/prose.md has no text at 9-3; it has lines 1 to 47"),
    "line 0": ("prose.md:0", "has no text at 0"),
    "many digits": (f"prose.md:{'9' * 5000}", "has no text at 999"),
    "no such part": ("prose.md:1#9", "has no text at 1#9"),
    "a script": ("page.html:2", "has no text at 2"),
    "a rank": ("3", "3 is a hit's number: its run is needed too"),
    "empty": ("", "'' is not below docs"),
    "no text": ("empty.md", "docs/empty.md holds no text"),
    "binary": ("zero.txt", "docs/zero.txt is not text"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_place_is_refused(library, case):
    Path("docs/empty.md").write_text(" \n\n")
    Path("docs/zero.txt").write_bytes(b"a\0b")
    place, message = WRONG[case]
    with pytest.raises(InputError, match=re.escape(message)) as error:
        locate(library, place)
    assert len(str(error.value)) < 400


def test_a_place_may_be_a_number_or_have_no_lines(library):
    Path("docs/2024").write_text("A flea.\nA cat.\n")
    assert locate(library, "2024").path == "docs/2024"
    whole = Passage("x", "A cat.", place="docs/2024")
    assert locate(library, "", whole) == locate(library, "2024")
    other = locate(library, "", Passage("x", "A dog.", place="docs/2024"))
    assert other.notes == (
        "the file has changed since the search: the passage is not in it any more; search again",
    )
    assert (other.start, other.end) == (0, len(other.text))


def test_a_passage_of_no_file_and_a_part_that_is_not_there(library):
    with pytest.raises(InputError, match="passage '2' came in a list, not from a file"):
        locate(library, "2", Passage("2", "A flea."))
    with pytest.raises(InputError, match="there is no part 2: parts go from 1 to 1"):
        read_answer(locate(library, "blank.md"), 0, 2, 4000)


async def test_a_deadline_holds_and_reading_goes_on(library):
    free = threading.Event()
    holding = library.worker.submit(free.wait)
    with pytest.raises(BusyError, match="the file is still being read; ask again in a moment"):
        await read(library, "blank.md", deadline=0.01)
    free.set()
    await asyncio.wrap_future(holding)
    assert (await read(library, "blank.md")).path == "docs/blank.md"


def test_documents_are_read_as_they_are_searched_and_converted_once(library, monkeypatch):
    pytest.importorskip("markitdown")
    Path("docs/a.docx").write_bytes(documents.docx(*(f"A pump, number {n}." for n in range(90))))
    Path("docs/b.pdf").write_bytes(documents.pdf("The pump failed."))
    Path("docs/c.xlsx").write_bytes(documents.xlsx(A1="pump", B1="hours", A2="A", B2=9))
    found = library.search("pump").passages
    assert {Path(passage.place).suffix[:4] for passage in found} == {".doc", ".pdf", ".xls"}
    for passage in found:
        reading = locate(library, passage.id)
        assert passage.text in text_of(all_parts(reading, 500))[0]
    whole = locate(library, "a.docx")
    monkeypatch.setattr("rearank_agent.search.library.extract", None)
    assert locate(library, "docs/a.docx") == whole


PAGES = (
    "\n".join(f"A pump that is on page 1, line {n}, {WORDS[:60]}." for n in range(50)),
    "",
    "\n".join(f"A valve that is on page 3, line {n}." for n in range(3)),
    "\n".join(f"A flea that is on page 4, line {n}." for n in range(50)),
)


def test_a_hit_in_a_pdf_says_its_page_and_the_next_one_is_read(library):
    pytest.importorskip("markitdown")
    Path("docs/paper.PDF").write_bytes(documents.pdf(*PAGES))
    found = library.search("pump valve flea page", 1000, "paper.PDF").passages
    for passage in found:
        pages = [int(page) for page in re.findall(r"on page (\d)", passage.text)]
        pages = f"{pages[0]}-{pages[-1]}" if pages[0] < pages[-1] else f"{pages[0]}"
        assert passage.place == f"docs/paper.PDF:p{pages}"
        assert re.fullmatch(re.escape(passage.place) + r"(#\d+)?", passage.id)
    assert len({passage.id for passage in found}) == len(found) > 5

    page = locate(library, "paper.PDF:p3")
    assert page == locate(library, "docs/paper.PDF:3")
    answer = read_answer(page, 0, 1, 4000)
    assert answer.text == "\n".join(f"3: {line}" for line in [*PAGES[2].split("\n"), ""])
    assert read_text(answer).split("\n")[0] == "docs/paper.PDF:p3 of 4 pages"
    assert (answer.before, answer.after) == ("docs/paper.PDF:p1", "docs/paper.PDF:p4")
    after = text_of(all_parts(locate(library, answer.after), 500, 0))
    assert after == (PAGES[3], [4] * 50)
    second = locate(library, "paper.PDF:p1#2")
    assert locate(library, "", next(one for one in found if one.id.endswith("p1#2"))) == second
    assert text_of(all_parts(second, 500, 0))[0] in PAGES[0]
    wider = read_answer(page, 2, 1, 4000)
    assert [line[:2] for line in wider.text.split("\n")] == ["1:", "1:", *["3:"] * 4, "4:", "4:"]
    for wrong in ("p2", "p9"):
        with pytest.raises(InputError, match=f"has no text at {wrong}; it has pages 1 to 4"):
            locate(library, f"paper.PDF:{wrong}")
