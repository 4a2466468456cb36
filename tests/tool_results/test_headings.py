"""Headings in front of a list, and results that hold nothing to rank."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rearank_agent.tool_results.lists import find_list
from rearank_agent.tool_results.nothing import too_few

QUERY = "how far  do fleas jump"
WORDS = ["Cats purr.", "A flea leaps 20 cm.", "Dogs bark:\nloudly."]
ENTRIES = [f"<entry><content>{word}</content></entry>" for word in WORDS]
RECORDS = [{"title": word[:4], "text": word} for word in WORDS]


def block(text):
    return {"type": "text", "text": text}


HEADED = {
    "qdrant": ("Results for the query 'how far do fleas jump'", ENTRIES),
    "words before JSON": ("Three were found.\nBest first.", [json.dumps(one) for one in RECORDS]),
    "words before records": ("Three were found", RECORDS),
    "words before resources": (
        block("Three were found"),
        [{"type": "resource", "resource": {"uri": word, "text": word}} for word in WORDS],
    ),
    "a colon": ("Three were found:", WORDS),
    "a wide colon": ("見つかりました：", WORDS),
    "the query in quotes": ("Results for “How far do fleas jump”.", WORDS),
    "a line before bullets": ("Three were found", [f"- {word}" for word in WORDS]),
    "a line before numbers": ("Three were found", [f"{n}. {w}" for n, w in enumerate(WORDS)]),
    "a heading before deeper ones": ("Found: 3", [f"Title: {word}" for word in WORDS]),
}


@pytest.mark.parametrize("name", HEADED)
@pytest.mark.parametrize("form", [list, tuple, lambda items: {"result": list(items)}])
def test_a_heading_stays_in_front_and_is_no_item(name, form):
    heading, entries = HEADED[name]
    found = find_list(form([heading, *entries]), QUERY)
    assert found.items == tuple(entries)
    assert [one.id for one in found.passages] == ["1", "2", "3"]
    assert found.reordered([2, 0]) == form([heading, entries[2], entries[0]])
    assert too_few(form([heading, entries[0]]), QUERY) == (name not in NEED_MORE)
    assert too_few(form([heading]), QUERY)


NEED_MORE = ("a line before bullets", "a line before numbers", "a heading before deeper ones")

NO_HEADING = {
    "words": WORDS,
    "the query without quotes": ["How far do fleas jump is asked often.", *WORDS],
    "the query in quotes in two": ['"how far do fleas jump"', "'How far do fleas jump'", "x"],
    "colons in two": ["Cats:", "Dogs:", "Fleas jump."],
    "a long text with a colon": ["x" * 500 + ":", *WORDS],
    "two lines with a colon": ["Cats\npurr:", *WORDS],
    "a sentence before bullets": ["Cats purr.", "- Dogs", "- Fleas"],
    "words before different things": ["Cats", "- Dogs", "1. Fleas"],
    "all with the same mark": ["- Cats:", "- Dogs", "- Fleas"],
    "all data": ENTRIES,
    "all records": RECORDS,
}


@pytest.mark.parametrize("name", NO_HEADING)
def test_an_item_like_the_others_is_ranked(name):
    items = NO_HEADING[name]
    assert find_list(items, QUERY).items == tuple(items)
    assert find_list([block(str(item)) for item in items], QUERY).reordered([1, 0])[0] == block(
        str(items[1])
    )


@pytest.mark.parametrize("text", ["1. Cats:\n2. Dogs\n3. Fleas", '{"text": "a:"}\n{"text": "b"}'])
def test_the_first_entry_of_a_text_is_no_heading(text):
    assert len(find_list(text, QUERY).items) == len(text.splitlines())


ITEMS = st.lists(st.text("ab1-<{:'\n ", min_size=1).filter(str.strip), min_size=2, max_size=5)


@given(ITEMS, st.text("ab ", max_size=3), st.data())
def test_nothing_is_dropped(items, query, data):
    found = find_list(items, query)
    if found:
        order = data.draw(st.permutations(range(len(found.items))))
        assert sorted(found.reordered(order)) == sorted(items)
        assert len(items) - len(found.items) in (0, 1)


NOTHING = {
    "a line": "No results found for 'fleas'.",
    "an empty text": "",
    "a block of a line": [block("No matches")],
    "a field of a line": {"result": "No matches found."},
    "a heading alone": ["Results for the query 'fleas':"],
    "one entry in a text": "Found 1:\n\n1. Fleas\n   They jump.",
    "one heading in a text": "# Fleas\n\nThey jump.",
    "one record of fields": "Title: Fleas\nURL: http://a\nText: They jump.\nThey bite.",
    "one record in a block": [block('{"title": "Fleas", "text": "They jump."}')],
    "no hits in a block": [block('{"took": 1, "hits": {"hits": []}}')],
    "a picture": [{"type": "image", "data": ""}],
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_to_rank(name):
    assert find_list(NOTHING[name]) is None
    assert too_few(NOTHING[name])


SOMETHING = {
    "prose": "Fleas jump.\n\nDogs bark.",
    "prose in a block": [block("Fleas jump.\n\nDogs bark.")],
    "numbers": {"items": [1, 2]},
    "no list and no text": {"answer": 42},
    "columns": [block('{"ids": [["1", "2"]], "documents": [["a", "b"]]}')],
    "a list of one list": [["a", "b"]],
}


@pytest.mark.parametrize("name", SOMETHING)
def test_what_may_hold_a_list_is_not_passed_over(name):
    assert find_list(SOMETHING[name]) is None
    assert not too_few(SOMETHING[name])


def test_a_cycle_is_no_single_item():
    cycle = {}
    cycle["results"] = cycle
    assert not too_few(cycle)
