import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rearank_agent.errors import InputError
from rearank_agent.present.answer import RerankAnswer, SearchAnswer, as_text, estimate_tokens
from rearank_agent.present.truncate import check_budget, rerank_answer, search_answer
from rearank_agent.types import Fault, Passage, Quote, Ranked, Ranking, Rationale

WHY = Rationale(quotes=(Quote(9, 27),), has=("flea", "jumps"), lacks=("far",))


def ranking_of(*texts, why=None, scored=True, faults=(), partial=False):
    n = len(texts)
    ranked = tuple(
        Ranked(
            Passage(f"a.md:{n - at}", text, place="a.md"),
            rank=at + 1,
            was=n - at,
            score=-float(at),
            scored=scored,
            rationale=why,
            relevance=1 - at / n if scored else None,
        )
        for at, text in enumerate(texts)
    )
    return Ranking("r1", "q", "", "p", "whole", ranked, faults=tuple(faults), partial=partial)


def size(answer):
    structured = json.dumps(asdict(answer), ensure_ascii=False)
    return estimate_tokens(as_text(answer)) + estimate_tokens(structured)


def test_a_list_comes_back_as_numbers_scores_and_reasons():
    ranking = ranking_of("Fleas. A flea jumps 20 cm. It bites.", "Dogs bark.", why=WHY)
    answer = rerank_answer(ranking, 1, True, 4000)
    assert as_text(answer) == "run r1: 1 of 2\n1. [2] 1.000 “flea jumps 20 cm.”; lacks: far"
    assert answer.ranking[0].number == 2
    assert answer.total == 2


def test_a_rationale_with_text_is_given_as_reason():
    ranking = ranking_of("Dogs bark.", why=Rationale("It says\nnothing of fleas."))
    assert as_text(rerank_answer(ranking, 9, True, 4000)).endswith("It says nothing of fleas.")


def test_without_rationale_there_is_none():
    ranking = ranking_of("A flea jumps 20 cm. It bites.", why=WHY)
    assert rerank_answer(ranking, 9, False, 4000).ranking[0].reason == ""


def test_a_short_passage_is_not_given_back_as_its_own_evidence():
    why = Rationale(quotes=(Quote(0, 10),), has=("dogs",))
    answer = rerank_answer(ranking_of("Dogs bark.", why=why), 9, True, 4000)
    assert answer.ranking[0].reason == "has: dogs"


def test_a_search_gives_places_and_snippets():
    answer = search_answer(
        ranking_of("Fleas. A flea jumps 20 cm. It bites.", why=WHY), 9, True, 4000
    )
    assert as_text(answer) == (
        "run r1: 1 of 1\n1. a.md:1 1.000\n   Fleas. A flea jumps 20 cm. It bites.\n"
        "   has: flea, jumps; lacks: far"
    )


@pytest.mark.parametrize(
    ("text", "quote", "snippet"),
    [
        ("word " * 99 + "Here it is. " + "tail " * 99, Quote(495, 506), "Here it is. tail"),
        ("word " * 99 + "Here it is.", Quote(495, 506), "word word"),
        ("word " * 99, None, "word word"),
        ("x" * 999, Quote(990, 995), "x" * 320),
    ],
)
def test_a_snippet_begins_at_the_best_sentence(text, quote, snippet):
    why = Rationale(quotes=(quote,)) if quote else None
    (hit,) = search_answer(ranking_of(text, why=why), 1, True, 4000).ranking
    assert hit.snippet.startswith(snippet)
    assert 250 < len(hit.snippet) <= 320
    if "Here" in text:
        assert "Here it is." in hit.snippet


def test_nothing_found_says_so():
    ranking = ranking_of(faults=[Fault("nothing", (), "no file holds a word of the query")])
    assert as_text(search_answer(ranking, 5, True, 4000)) == (
        "run r1: nothing found\nnote: nothing: no file holds a word of the query"
    )


def test_faults_and_missing_scores_are_reported():
    faults = [Fault("failed", tuple("123456"), "no server")]
    ranking = ranking_of("a", "b", scored=False, faults=faults, partial=True)
    text = as_text(rerank_answer(ranking, 9, True, 4000))
    assert text.splitlines()[:2] == [
        "run r1: 2 of 2; the policy gave an order, no scores; partial: the best order so far",
        "1. [2]",
    ]
    assert "partial" in text
    assert text.endswith("note: failed: no server [1, 2, 3 and 3 more]")


def test_many_notes_are_counted():
    faults = [Fault("cut", (), str(number)) for number in range(11)]
    answer = rerank_answer(ranking_of("a", faults=faults), 1, True, 4000)
    assert answer.notes[-1] == "3 more notes; explain has them"
    assert len(answer.notes) == 9


def test_reasons_shorten_before_lines_go():
    ranking = ranking_of(*("x" * 999,) * 50, why=Rationale("because " * 60))
    full = rerank_answer(ranking, 50, True, 100_000)
    less = rerank_answer(ranking, 50, True, 5_000)
    few = rerank_answer(ranking, 50, True, 700)
    assert len(full.ranking) == len(less.ranking) == 50
    assert len(less.ranking[0].reason) < len(full.ranking[0].reason)
    assert less.notes == ("reasons are shortened; explain has them in full",)
    assert len(few.ranking) < 50
    assert few.notes == (f"{len(few.ranking)} of 50 lines fit into 700 tokens",)


def test_what_is_shortened_in_a_search_is_in_explain_and_read():
    answer = search_answer(
        ranking_of(*("x" * 999,) * 20, why=Rationale("because " * 60)), 20, True, 5_000
    )
    note = "reasons and snippets are shortened; explain has the reasons, read the passages"
    assert answer.notes == (note,)


def test_no_line_more_would_have_fitted():
    ranking = ranking_of(*("x",) * 200)
    answer = rerank_answer(ranking, 200, True, 1_000)
    assert size(answer) <= 1_000
    assert 1_000 - size(answer) < 60


@given(
    st.lists(st.text(min_size=1, max_size=400), min_size=1, max_size=60),
    st.text(max_size=600),
    st.lists(st.text(max_size=300), max_size=12),
    st.integers(500, 6_000),
    st.integers(1, 60),
)
def test_an_answer_keeps_its_budget(texts, rationale, notes, budget, top):
    faults = [Fault("cut", tuple("1234"), note) for note in notes]
    ranking = ranking_of(*texts, why=Rationale(rationale), faults=faults)
    for make, kind in ((rerank_answer, RerankAnswer), (search_answer, SearchAnswer)):
        answer = make(ranking, top, True, budget)
        assert isinstance(answer, kind)
        assert size(answer) <= budget
        assert answer.ranking


def test_notes_and_places_do_not_break_the_budget():
    faults = [Fault("cut", tuple("1234"), "跳" * 300 + str(number)) for number in range(20)]
    place = "/".join(["文件夹" * 20] * 60)
    ranked = Ranked(Passage(place, "跳蚤" * 500, place=place), 1, 1, 0.5, True)
    for lines in ((), (ranked,)):
        ranking = Ranking("r1", "q", "", "p", "whole", lines, faults=tuple(faults))
        answer = search_answer(ranking, 9, True, 500)
        assert size(answer) <= 500
        assert len(answer.ranking) == len(lines)
        assert "more notes; explain has them" in as_text(answer)


def test_a_budget_without_room_is_refused():
    with pytest.raises(InputError, match="an answer needs at least 500 tokens, not 10"):
        check_budget(10)


@pytest.mark.parametrize("make", [rerank_answer, search_answer])
def test_text_is_on_one_line_and_printable(make):
    ranking = ranking_of("a\n\x1b[31mb\x00 c" * 9, why=Rationale("x\r\ny\x07"))
    text = as_text(make(ranking, 1, True, 4000))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert len(text.splitlines()) == (2 if make is rerank_answer else 4)
