import json
from decimal import Decimal
from fractions import Fraction

import numpy as np
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
        ({"id": 3.0, "text": "x"}, "a passage's id must be a string or an integer, not float: 3"),
        ({"id": True, "text": "x"}, "a passage's id must be a string or an integer, not bool"),
        ({"id": np.True_, "text": "x"}, "a passage's id must be a string or an integer, not bool"),
        ({"id": None, "text": "x"}, "a passage's id must be a string or an integer, not None"),
        ({"id": "\ud800", "text": "x"}, "a passage's id holds half a character"),
        ({"id": "a", "text": None}, "the text of passage 'a' must be a string, not NoneType"),
        ({"id": "a", "text": b"x"}, "must be a string, not bytes"),
        ({"id": "a", "text": "\ud800"}, "half a character"),
        ({"id": "a", "text": "x", "title": 1}, "the title of passage 'a'"),
        ({"id": "a", "text": "x", "score": float("nan")}, "must be a finite number: nan"),
        ({"id": "a", "text": "x", "score": float("inf")}, "must be a finite number"),
        ({"id": "a", "text": "x", "score": "1"}, "must be a finite number"),
        ({"id": "a", "text": "x", "score": True}, "must be a finite number"),
        ({"id": "a", "text": "x", "score": np.True_}, "must be a finite number"),
        ({"id": "a", "text": "x", "score": np.float32("nan")}, "must be a finite number"),
        ({"id": "a", "text": "x", "score": np.array([1.0, 2.0])}, "must be a finite number"),
        ({"id": "a", "text": "x", "score": 1j}, "must be a finite number"),
        ({"id": "a", "text": "x", "score": 10**400}, "must be a finite number"),
    ],
)
def test_fields_of_the_wrong_kind(fields, message):
    with pytest.raises(InputError, match=message):
        Passage(**fields)


@pytest.mark.parametrize("integer", [7, np.int64(7), np.uint8(7), np.array(7)])
def test_an_integer_id_becomes_its_digits(integer):
    passage = Passage(integer, "x")
    assert passage == Passage("7", "x")
    assert type(passage.id) is str


@pytest.mark.parametrize(
    "number",
    [0.5, np.float64(0.5), np.float32(0.5), np.longdouble(0.5), np.array(0.5), Decimal("0.5"),
     Fraction(1, 2)],
)  # fmt: skip
def test_a_score_is_any_real_number(number):
    passage = Passage("a", "x", score=number)
    assert passage == Passage("a", "x", score=0.5)
    assert type(passage.score) is float
    assert Passage.from_json(passage.to_json()) == passage


def test_none_is_no_title_and_no_place():
    assert Passage("a", "x", None, None, None) == Passage("a", "x")


def test_evidence_is_the_first_quote_or_the_rationale():
    passage = Passage("a", "Fleas jump. Fleas bite.")
    quoted = Rationale("because", (Quote(12, 23),))
    assert Ranked(passage, 1, 1, 1.0, True, quoted).evidence == "Fleas bite."
    assert Ranked(passage, 1, 1, 1.0, True, Rationale("because")).evidence == "because"
    assert Ranked(passage, 1, 1, 1.0, True).evidence == ""


def test_usage_adds_up():
    one = Usage(1, 2, 3, 4, 5, 6, 7.5, 8)
    assert one + Usage(1, seconds=0.5) == Usage(2, 2, 3, 4, 5, 6, 8.0, 8)
