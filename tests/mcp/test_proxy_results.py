"""What the proxy makes of a result, with a judge that notes what it is asked."""

import json

import pytest

from helpers.policies import Judge
from rearank_agent import Ranking, Reply, Reranker
from rearank_agent.store import Store
from rearank_mcp.proxy.results import META, ResultReranker
from rearank_mcp.service import DEADLINE, Service

ROWS = [{"title": "a", "text": "short"}, {"title": "b", "text": "the longest of all"}]
RESULT = {"structuredContent": {"results": ROWS}, "content": None}
BEST = {"results": ROWS[::-1]}


class Noting(Judge):
    """Scores by length, and keeps the tasks."""

    scores, scale, blend, window = True, None, 0.25, None

    def __init__(self):
        self.tasks = []

    async def judge(self, task, window):
        self.tasks.append(task)
        lengths = tuple(float(len(task.candidates[at].text)) for at in window)
        return Reply(tuple(sorted(range(len(window)), key=lambda at: -lengths[at])), lengths)


@pytest.fixture
def judge():
    return Noting()


@pytest.fixture
def sorter(judge, tmp_path):
    def make(**more):
        desk = Service(Reranker(judge), (), Store(tmp_path / "runs.sqlite"), 2_000)
        return ResultReranker(desk, **more)

    return make


def block(text):
    return {"type": "text", "text": text}


async def test_the_judge_is_asked_as_the_call_and_the_options_say(sorter, judge):
    making = sorter(query_arg="topic", instruction="Prefer the long.")
    arguments = {"query": "not this", "topic": "this"}
    result = await making.sorted("find", arguments, RESULT, spent=20.0)
    (task,) = judge.tasks
    assert (task.query, task.instruction) == ("this", "Prefer the long.")
    assert task.deadline == pytest.approx(DEADLINE - 20, abs=1)
    assert result["structuredContent"] == BEST
    kept = Ranking.from_json(making.desk.kept.get(result["_meta"][META]["run"]))
    assert kept.blend == 0.25


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({"q": "this", "title": "not"}, "this"),
        ({"subject": "this", "limit": 5}, "this"),
        ({"keywords": "not", "question": "this"}, "this"),
    ],
)
async def test_the_query_is_found(sorter, judge, arguments, query):
    await sorter().sorted("find", arguments, RESULT)
    assert judge.tasks[0].query == query


async def test_a_query_that_is_not_where_it_should_be_is_told(sorter, judge):
    result = await sorter(query_arg="topic").sorted("find", {"query": "q"}, RESULT)
    note = "note: find's result as it came, not reranked: the call has no text as 'topic'"
    assert result == {**RESULT, "content": [block(note)]}
    assert judge.tasks == []


SAME = {
    "JSON of the whole": [block(json.dumps({"results": ROWS}))],
    "a block an item": [block(json.dumps(row)) for row in ROWS],
    "JSON below a heading": [block("Two were found:"), block(json.dumps(ROWS, indent=2))],
}


@pytest.mark.parametrize("form", SAME)
async def test_the_same_list_in_the_text_is_put_in_the_same_order(sorter, form):
    asked = {**RESULT, "content": SAME[form]}
    result = await sorter(top_k=1).sorted("find", {"query": "q"}, asked)
    assert result["structuredContent"] == {"results": [ROWS[1]]}
    *head, reasons = result["content"]
    expected = {
        "JSON of the whole": [block(json.dumps({"results": [ROWS[1]]}))],
        "a block an item": [block(json.dumps(ROWS[1]))],
        "JSON below a heading": [
            block("Two were found:"),
            block(json.dumps([ROWS[1]], indent=2)),
        ],
    }
    assert head == expected[form]
    assert reasons["text"].startswith(
        "reranked for “q”: the best 1 of 2; 1 weaker left out\n1. [2]"
    )


@pytest.mark.parametrize(
    "content",
    [
        [block("a: short"), block("b: the longest of all")],
        [block(json.dumps([*ROWS, {"title": "c", "text": "more"}]))],
        [block("Two were found.")],
    ],
)
async def test_another_text_stays_as_it_came(sorter, content):
    result = await sorter().sorted("find", {"query": "q"}, {**RESULT, "content": content})
    assert result["structuredContent"] == BEST
    assert result["content"][:-1] == content
    said = "the text above is as it came, and not reranked\nreranked for “q”"
    assert result["content"][-1]["text"].startswith(said)


async def test_another_structured_content_stays_as_it_came(sorter):
    asked = {"structuredContent": {"total": 2}, "content": SAME["JSON below a heading"]}
    result = await sorter().sorted("find", {"query": "q"}, asked)
    assert result["structuredContent"] == {"total": 2}
    said = "the structured content is as it came, and not reranked\nreranked for “q”"
    assert result["content"][-1]["text"].startswith(said)


async def test_paths_are_put_in_order_in_both(sorter):
    text = "/notes/a.md\n/notes/longer.md"
    asked = {"structuredContent": {"content": text}, "content": [block(text)]}
    result = await sorter(top_k=1).sorted("find", {"query": "q"}, asked)
    assert result["structuredContent"] == {"content": "/notes/longer.md"}
    assert result["content"][0] == block("/notes/longer.md")
    assert len(result["content"]) == 2


async def test_the_text_is_put_in_order_where_there_is_no_structured_content(sorter):
    asked = {"content": SAME["JSON below a heading"]}
    result = await sorter().sorted("find", {"query": "q"}, asked)
    assert result["content"][0] == block("Two were found:")
    assert json.loads(result["content"][1]["text"]) == ROWS[::-1]


@pytest.mark.parametrize(
    "structured",
    [
        {"results": [ROWS[0]], "tags": ["a", "b"]},
        {"errors": []},
        {"results": [], "suggestions": ROWS[:1]},
    ],
)
async def test_nothing_to_sort_is_untouched(sorter, structured):
    asked = {"structuredContent": structured}
    assert await sorter().sorted("find", {"query": "q"}, asked) is asked


@pytest.mark.parametrize(
    "structured",
    [
        {"ids": [["1", "2"]], "documents": [["a", "b"]]},  # as Chroma has them
        {"items": [1, 2, 3], "errors": []},
        {"left": ROWS, "right": ROWS},
    ],
)
async def test_what_cannot_be_sorted_is_told(sorter, structured):
    result = await sorter().sorted("find", {"query": "q"}, {"structuredContent": structured})
    assert result["structuredContent"] == structured
    assert "not reranked: it holds no list, or not just one" in result["content"][0]["text"]


async def test_the_reasons_keep_their_budget(sorter):
    rows = [{"title": "t" * 200, "text": f"{n} " + "word " * n} for n in range(200)]
    asked = {"structuredContent": {"results": rows}}
    result = await sorter(top_k=200).sorted("find", {"query": "q"}, asked)
    assert len(result["structuredContent"]["results"]) == 200
    said = result["content"][0]["text"]
    assert "lines fit into" in said
    assert len(said) < 3 * 2_000
