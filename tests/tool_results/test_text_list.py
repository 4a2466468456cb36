"""Lists in plain text, as search tools write them, and prose, which is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rearank_agent.tool_results.lists import find_list
from rearank_agent.tool_results.text_list import TextList, find_text_list

A, B = "A flea jumps.\n   It leaps 20 cm.", "Dogs bark."

LISTS = {
    "numbers": ("Found 2:\n\n", [f"1. {A}", f"2. {B}"], "\n", "\n"),
    "numbers in brackets": ("", [f"[0] {A}", f"[1] {B}"], "\n\n", ""),
    "bold numbers": ("", [f"**1.** {A}", f"**2.** {B}"], "\n", ""),
    "numbered headings": ("# Results\n\n", [f"## 1. {A}", f"## 2. {B}"], "\n\n", "\n\n"),
    "headings": ("# Results\n\n", [f"## Fleas\n{A}", f"## Dogs\n### Barking\n{B}"], "\n\n", ""),
    "bullets": ("Results:\n", [f"- {A}", f"- {B}\n  - and growl"], "\n", "\n"),
    "bullets with fields": ("", [f"- title: a\n  url: b\n  text: {A}", "- title: c"], "\n", ""),
    "fields": (
        "Query: flea\n\n",
        [f"Title: Fleas\nURL: http://a\nText: {A}", f"Title: Dogs\nURL: http://b\nText: {B}"],
        "\n\n",
        "",
    ),
    "bold fields": ("", [f"**Title:** Fleas\n{A}", f"**Title:** Dogs\n{B}"], "\n\n", ""),
    "fields between rules": ("", [f"Title: a\n{A}", f"Title: b\n{B}"], "\n\n---\n\n", "\n"),
    "numbers with fields": ("", [f"1. Title: a\n   Text: {A}", "2. Title: b"], "\n", ""),
    "numbers inside bullets": ("", ["- a\n  1. x\n  2. y", "- b\n  1. z"], "\n", ""),
    "paths": ("", ["/notes/flea.md", "/notes/dog-bark.md"], "\n", "\n"),
    "addresses": ("", ["https://example.org/a", "https://example.org/b?c=1"], "\n", ""),
    "ends of lines as in Windows": ("", ["1. a\r\n   b", "2. c"], "\r\n", "\r\n"),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_found(name):
    head, entries, between, end = LISTS[name]
    text = f"{head}{between.join(entries)}{end}"
    assert find_text_list(text) == TextList(head, tuple(entries), between, end)
    found = find_list([{"type": "text", "text": text}])
    assert [one.text for one in found.passages] == entries
    reversed_text = f"{head}{between.join(entries[::-1])}{end}"
    assert found.reordered([1, 0]) == [{"type": "text", "text": reversed_text}]
    assert found.reordered([1])[0]["text"] == f"{head}{entries[1]}{end}"


PROSE = {
    "nothing": "",
    "a line": "Dogs bark, and a flea jumps 20 cm.",
    "one number": "1. Only this was found.",
    "numbers that do not count": "In\n1969. A year.\n12. Not the next.",
    "a paragraph": "Dogs bark.\nA flea jumps.\n\nCats sleep.",
    "one heading": "# Fleas\n\nThey jump.\n\nThey bite.",
    "a time of day": "at 10:30 it began\nat 11:30 it was over",
    "lines that are not all paths": "/a/b.md\nand more",
}


@pytest.mark.parametrize("name", PROSE)
def test_prose_is_no_list(name):
    assert find_text_list(PROSE[name]) is None
    assert find_list(PROSE[name]) is None


def test_a_text_in_a_field_that_is_called_a_result_is_read():
    assert find_list({"result": "1. a\n2. b"}).reordered([1, 0]) == {"result": "2. b\n1. a"}
    assert find_list({"advice": "1. a\n2. b"}) is None
    rows = {"result": '[{"text": "a"}, {"text": "b"}]'}
    assert find_list(rows).reordered([1]) == {"result": '[{"text": "b"}]'}


@given(st.text(st.sampled_from("12.[]#-*:\r\n\t ab/\u2028"), max_size=60))
def test_any_text_keeps_its_words(text):
    def words(text):
        return "".join(text.split()).translate(dict.fromkeys(map(ord, "-*_=")))

    if found := find_text_list(text):
        assert len(found.entries) > 1
        assert all(entry.strip() for entry in found.entries)
        assert words(found.with_entries(found.entries)) == words(text)
