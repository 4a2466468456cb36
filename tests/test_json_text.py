"""JSON that can be written again unchanged."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.mutations import deep
from rearank_agent import Passage, Ranking, Reranker
from rearank_agent.errors import InputError, SetupError
from rearank_agent.json_text import parse_json
from rearank_agent.listwise.template import Template

REFUSED = {
    "NaN": ('{"a": NaN}', "NaN is no JSON"),
    "infinite": ('{"a": [-Infinity]}', "-Infinity is no JSON"),
    "too large": ('{"a": 1e999}', "1e999 is too large"),
    "digits": ('{"a": 0.1234567890123456789012345678901}', "more digits than can be kept"),
    "half a character": (r'{"a": "\ud83d"}', "half a character"),
    "half a key": (r'{"\uDC00": 1}', "half a character"),
    "more digits, tiny": ("1." + "0" * 20 + "1e-" + "9" * 20, "more digits than can be kept"),
    "one level too many": ("[" * 101 + "]" * 101, "100 levels are read"),
    "deep": ("[" * 100_000, "nested too deep"),
    "deep objects": ('{"a":' * 100_000, "nested too deep"),
    "none": ("{", "Expecting property name"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("kind", [str, str.encode])
def test_what_only_python_takes_for_json_is_refused(case, kind):
    text, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        parse_json(kind(text))


@pytest.mark.parametrize(
    "text", ["0.1", "0.30000000000000004", "1e-300", "-0.0", "0.10000000000000000000000", "1" * 40,
             r'"\ud83d\ude00"', r'"\\ud83d"', "[" * 100 + "]" * 100]
)  # fmt: skip
def test_what_is_kept_is_read(text):
    assert parse_json(text) == json.loads(text)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_whatever_is_written_is_read_again(value):
    for ascii_only in (True, False):
        again = parse_json(json.dumps(value, ensure_ascii=ascii_only))
        assert json.dumps(again) == json.dumps(value)
    assert not (isinstance(value, float) and math.isnan(value))


@pytest.mark.parametrize("text", ['"\ud83d"', b'"\xed\xa0\xbd"', b'"\xff"'])
def test_what_is_no_utf_8_is_refused(text):
    with pytest.raises(ValueError, match=r"half a character|utf-8"):
        parse_json(text)


def test_what_is_read_can_be_written_and_read_in_a_ranking():
    meta = parse_json('{"a": ' * 99 + "[]" + "}" * 99)
    ranking = Reranker("lexical").rerank_sync("flea", [Passage("a", "a flea", meta=meta)])
    assert Ranking.from_json(ranking.to_json()) == ranking


@pytest.mark.parametrize("value", [object(), float("nan"), "\ud83d", deep(5_000)])
def test_what_is_no_json_is_an_input_error_when_it_is_written(value):
    with pytest.raises(InputError, match="JSON"):
        Passage("a", "a flea", meta={"a": value}).to_json()


def test_keys_that_are_no_text_are_written_without_a_warning():
    assert Passage.from_json(Passage("a", "b", meta={1: 2}).to_json()).meta == {"1": 2}


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"kind": "ranking", "version": 1, "steps": ' + "[" * 100_000]
)
def test_a_ranking_nested_too_deep_is_an_input_error(text):
    with pytest.raises(InputError):
        Ranking.from_json(text)


def test_a_template_nested_too_deep_is_a_setup_error():
    with pytest.raises(SetupError, match="nested too deep"):
        Template.parse("a = " + "[" * 100_000)


@pytest.mark.parametrize("text", ["a = ", "a = " + "9" * 5_000])
def test_what_is_no_toml_is_a_setup_error(text):
    with pytest.raises(SetupError, match="it is no TOML"):
        Template.parse(text)


def test_a_line_that_is_no_json_is_named(run):
    for value, message in (("NaN", "NaN is no JSON"), (r'"\ud83d"', "half a character")):
        lines = '{"text": "a"}\n{"text": "b", "page": ' + value + "}\n"
        code, out, err = run("rerank", "q", "--policy", "lexical", stdin=lines.encode())
        assert (code, out) == (2, "")
        assert "stdin, line 2: not JSON: " in err
        assert message in err
