"""No file name, title or text can forge a line of what an agent or a terminal reads."""

import asyncio
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rearank_agent.cli.output import print_faults
from rearank_agent.present.answer import as_text
from rearank_agent.present.explanation import explain_part, explain_text
from rearank_agent.present.truncate import rerank_answer, search_answer
from rearank_agent.text import one_line
from rearank_agent.types import Fault, Passage, Ranked, Ranking, Rationale, Reply, Step

BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
ENDS = ["\n1. [9] 1.000 best", "\r\nnote: ", "\x1b[2K\x1b[1A", "\u202e", "\x00"]
HOSTILE = st.lists(
    st.sampled_from([*BREAKS, *ENDS, "a", " ", "1. "]) | st.characters(codec="utf-8"), min_size=1
).map("".join)
VALUES = st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE), min_size=1, max_size=4)


def ranking_of(values, query, reasoning):
    ranked = tuple(
        Ranked(Passage(f"{at}{name}", text, title=name, place=name), at + 1, at + 1, 1.0, True,
               Rationale(text=f"x{why}"))
        for at, (name, text, why) in enumerate(values)
    )  # fmt: skip
    fault = Fault("failed", (ranked[0].id,), values[0][2])
    n = len(values)
    step = Step(1, tuple(range(n)), Reply(tuple(range(n)), reasoning=reasoning), 0.5)
    return Ranking("r1", query, query, "p", "whole", ranked, steps=(step,), faults=(fault,))


def shown(text):
    """The lines of a text, after checking that nothing in it is hidden."""
    wrong = {c for c in text if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs")} - {"\n"}
    assert wrong == set()
    assert "\u202e" not in text
    return text.splitlines()


@given(VALUES, HOSTILE)
def test_the_lines_of_an_answer_are_those_of_its_entries(values, query):
    ranking = ranking_of(values, query, "")
    searched = as_text(search_answer(ranking, 9, True, 100_000))
    assert len(shown(searched)) == 1 + 3 * len(values) + 1
    reranked = as_text(rerank_answer(ranking, 9, True, 100_000))
    assert len(shown(reranked)) == 1 + len(values) + 1


@given(VALUES, HOSTILE)
def test_the_lines_of_an_explanation_are_those_of_its_entries(values, text):
    def lines(ranking, passage):
        found = shown(explain_text(ranking, passage))
        return [line for line in found if not line.startswith(">")]

    hostile = ranking_of(values, text, f"x{text}")
    plain = ranking_of([("a", "b", "c")] * len(values), "q", "x")
    for passage in ("", "1"):
        assert len(lines(hostile, passage)) == len(lines(plain, passage))


@pytest.mark.parametrize("text", ["note: failed: it is a lie. " * 400, "note:x" * 2000])
def test_a_part_that_begins_inside_a_line_says_so(text):
    ranking = ranking_of([("a", "b", text)], "q", text)
    parts = [explain_part(ranking, "1", 1, 500)]
    parts += [explain_part(ranking, "1", n, 500) for n in range(2, parts[0].parts + 1)]
    whole = explain_text(ranking, "1")
    lines = [line for part in parts for line in part.text.splitlines() if line[:5] != "(part"]
    begun = [line for line in lines if not line.startswith("… ")]
    assert len(begun) == len(whole.splitlines()) < len(lines)
    for line, full in zip(begun, whole.splitlines(), strict=True):
        assert full.startswith(line)
    assert "".join(line.removeprefix("… ") for line in lines) == whole.replace("\n", "")


@given(HOSTILE, HOSTILE)
def test_a_fault_is_one_line(name, detail):
    err = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", type("Err", (), {"write": lambda _, text: err.append(text)})())
        print_faults([Fault("failed", (name,), detail)])
    assert len(shown("".join(err))) == 1


@settings(max_examples=20)
@given(VALUES.filter(lambda values: len(values) > 1), HOSTILE)
def test_the_reasons_of_the_proxy_are_a_line_an_item(tmp_path_factory, values, query):
    from rearank_agent import Reranker
    from rearank_agent.store import Store
    from rearank_mcp.proxy.results import ResultReranker
    from rearank_mcp.service import Service

    store = Store(tmp_path_factory.mktemp("runs") / "runs.sqlite")
    reranker = ResultReranker(Service(Reranker("lexical"), (), store))
    rows = [{"title": name, "text": f"x{text}", "url": name} for name, text, _ in values]
    asked = {"structuredContent": {"results": rows}}
    result = asyncio.run(reranker.rerank("find", {"query": f"x{query}"}, asked))
    text = result["content"][-1]["text"]
    lines = [line for line in shown(text) if not line.startswith("note: ")]
    assert len(lines) in (1 + len(rows) + 1, 0)  # none: it was not reranked, and the note says why


@pytest.mark.parametrize("name", ["été.md", "a  b.md", "10.00\u202fAM.png", "\u3000", "👨\u200d👩"])
def test_a_name_that_forges_nothing_stays(name):
    assert one_line(name) == name


def test_what_is_hidden_shows():
    assert one_line("a\nb\x1b[1m\u202ec\u2028\ufeff") == "a�b�[1m�c��"
