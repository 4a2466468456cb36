import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rearank_agent import (
    Fault,
    InputError,
    Passage,
    Quote,
    Ranked,
    Ranking,
    Rationale,
    Reply,
    Step,
    Task,
    Usage,
)  # fmt: skip
from rearank_agent.types import as_passages

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
COUNT = st.integers(0, 10**9)
PASSAGES = st.builds(
    Passage, TEXT, TEXT, TEXT, st.none() | NUMBER, TEXT,
    st.dictionaries(TEXT, st.none() | NUMBER | TEXT | st.lists(COUNT), max_size=2),
)  # fmt: skip
FAULTS = st.builds(Fault, TEXT, st.tuples(TEXT), TEXT)
RATIONALES = st.builds(
    Rationale, TEXT, st.tuples(st.builds(Quote, COUNT, COUNT)), st.tuples(TEXT), st.tuples(TEXT)
)
USAGES = st.builds(Usage, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, NUMBER, COUNT)
REPLIES = st.builds(
    Reply, st.tuples(COUNT), st.none() | st.tuples(NUMBER), st.tuples(RATIONALES),
    st.tuples(NUMBER), TEXT, st.tuples(FAULTS), USAGES,
)  # fmt: skip
TASKS = st.builds(Task, TEXT, TEXT, TEXT, st.tuples(PASSAGES, PASSAGES), st.none() | NUMBER)
RANKINGS = st.builds(
    Ranking, TEXT, TEXT, TEXT, TEXT, TEXT,
    st.tuples(st.builds(Ranked, PASSAGES, COUNT, COUNT, NUMBER, st.booleans(),
                        st.none() | RATIONALES, st.none() | NUMBER)),
    st.tuples(st.builds(Step, COUNT, st.tuples(COUNT, COUNT), REPLIES, NUMBER)),
    st.tuples(FAULTS), st.booleans(), USAGES,
)  # fmt: skip


@given(st.one_of(PASSAGES, TASKS, REPLIES, RANKINGS))
def test_json_round_trip(value):
    assert type(value).from_json(value.to_json()) == value


def test_the_json_form():
    assert json.loads(Passage("a", "Fleas bite.", score=1.5).to_json()) == {
        "kind": "passage", "version": 1, "id": "a", "text": "Fleas bite.", "title": "",
        "score": 1.5, "place": "", "meta": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not the JSON of a passage: "),
        ("[]", 'must hold "kind": "passage"'),
        ('{"kind": "task", "version": 1}', 'must hold "kind": "passage"'),
        ('{"kind": "passage", "version": 2}', "version 2; this program reads 1"),
        ('{"kind": "passage", "version": 1, "id": "a"}', "text"),
        ('{"kind": "passage", "version": 1, "id": 3, "text": "x"}', "string"),
    ],
)
def test_invalid_json(text, message):
    with pytest.raises(InputError, match=message):
        Passage.from_json(text)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": 3, "text": "x"}, "a passage's id must be a string, not int: 3"),
        ({"id": "a", "text": None}, "the text of passage 'a' must be a string, not NoneType"),
        ({"id": "a", "text": b"x"}, "must be a string, not bytes"),
        ({"id": "a", "text": "\ud800"}, "half a character"),
        ({"id": "a", "text": "x", "title": 1}, "the title of passage 'a'"),
        ({"id": "a", "text": "x", "score": float("nan")}, "must be a finite number: nan"),
        ({"id": "a", "text": "x", "score": float("inf")}, "must be a finite number"),
        ({"id": "a", "text": "x", "score": "1"}, "must be a finite number"),
        ({"id": "a", "text": "x", "score": True}, "must be a finite number"),
    ],
)
def test_fields_of_the_wrong_kind(fields, message):
    with pytest.raises(InputError, match=message):
        Passage(**fields)


def test_plain_strings_get_their_position_as_id():
    assert as_passages(["x", Passage("b", "y"), "z"]) == (
        Passage("1", "x"), Passage("b", "y"), Passage("3", "z"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "there are no passages"),
        ("text", "not one string"),
        ([Passage("a", "x"), Passage("a", "y")], "two passages have the id 'a'"),
        ([Passage("2", "x"), "y"], "two passages have the id '2'"),
        ([3], "passage 1 must be a Passage or a string: 3"),
    ],
)
def test_lists_that_cannot_be_ranked(items, message):
    with pytest.raises(InputError, match=message):
        as_passages(items)


def test_evidence_is_the_first_quote_or_the_rationale():
    passage = Passage("a", "Fleas jump. Fleas bite.")
    quoted = Rationale("because", (Quote(12, 23),))
    assert Ranked(passage, 1, 1, 1.0, True, quoted).evidence == "Fleas bite."
    assert Ranked(passage, 1, 1, 1.0, True, Rationale("because")).evidence == "because"
    assert Ranked(passage, 1, 1, 1.0, True).evidence == ""


def test_usage_adds_up():
    one = Usage(1, 2, 3, 4, 5, 6, 7.5, 8)
    assert one + Usage(1, seconds=0.5) == Usage(2, 2, 3, 4, 5, 6, 8.0, 8)
