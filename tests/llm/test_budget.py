from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rearank_agent import Passage, PolicyError
from rearank_agent.listwise import build_prompt
from rearank_agent.llm.budget import answer_tokens, estimate_tokens, fit_window
from rearank_agent.reranker import run_sync


def fit(texts, most, count, budget=500, cut=1200):
    passages = [Passage(str(i), text) for i, text in enumerate(texts)]

    async def counted(messages):
        return count(messages)

    return run_sync(
        fit_window(
            lambda cut: partial(build_prompt, "query", passages)(cut=cut),
            lengths=[len(text) for text in texts], cut=cut, budget=budget, max_tokens=most, count=counted,
        )
    )  # fmt: skip


def by_characters(messages):
    return sum(len(message["content"]) for message in messages) // 4 + 5 * len(messages)


@given(
    st.lists(st.integers(0, 3000), min_size=2, max_size=20),
    st.integers(1500, 12_000),
    st.sampled_from([by_characters, lambda messages: None]),
)
def test_a_fitted_window_fits_and_shows_as_much_as_it_can(sizes, most, count):
    texts = ["word " * (size // 5) for size in sizes]
    try:
        asked, room = fit(texts, most, count)
    except PolicyError as error:
        assert "does not fit" in str(error)  # noqa: PT017
        least = build_prompt(
            "query", [Passage(str(i), text) for i, text in enumerate(texts)], cut=40
        )
        needed = count(least.messages) or estimate_tokens(least.messages)
        assert needed > most - 100 - answer_tokens(len(texts)) - min(500, most // 2)
        return
    tokens = count(asked.messages) or estimate_tokens(asked.messages)
    assert tokens + room + answer_tokens(len(texts)) <= most
    assert room >= min(500, most // 2) or room == 500
    whole = build_prompt("query", [Passage(str(i), text) for i, text in enumerate(texts)], cut=1200)
    if estimate_tokens(whole.messages) + 500 + 100 + answer_tokens(len(texts)) <= most:
        assert (asked, room) == (whole, 500)


def test_the_estimate_is_rather_too_high_for_text_in_many_scripts():
    for text in (
        "plain English words and some more of them",
        "ein Satz über Flöhe",
        "跳蚤能活多久",
    ):
        messages = build_prompt("q", [Passage("a", text * 20)]).messages
        assert estimate_tokens(messages) > sum(len(m["content"].encode()) for m in messages) / 4


def test_windows_that_surely_fit_are_not_counted():
    def never(messages):
        raise AssertionError("counted")

    asked, room = fit(["short", "texts"], 32_768, never, budget=2048)
    assert (room, asked.faults) == (2048, ())


def test_a_query_too_long_for_the_model():
    with pytest.raises(PolicyError, match=r"the model takes 300 tokens.*use smaller windows"):
        fit(["a", "b"], 300, by_characters)
