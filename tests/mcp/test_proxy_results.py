"""Results as the proxy reranks them, with a policy that records its tasks."""

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


class Recording(Judge):
    """Scores by length, and records the tasks."""

    scores, scale, blend, window = True, None, 0.25, None

    def __init__(self):
        self.tasks = []

    async def judge(self, task, window):
        self.tasks.append(task)
        lengths = tuple(float(len(task.candidates[at].text)) for at in window)
        return Reply(tuple(sorted(range(len(window)), key=lambda at: -lengths[at])), lengths)


@pytest.fixture
def policy():
    return Recording()


@pytest.fixture
def new_reranker(policy, tmp_path):
    def make(**more):
        service = Service(Reranker(policy), (), Store(tmp_path / "runs.sqlite"), 2_000)
        return ResultReranker(service, **more)

    return make


def block(text):
    return {"type": "text", "text": text}


async def test_the_policy_gets_what_the_call_and_the_options_say(new_reranker, policy):
    reranker = new_reranker(query_arg="topic", instruction="Prefer the long.")
    arguments = {"query": "not this", "topic": "this"}
    result = await reranker.rerank("find", arguments, RESULT, spent=20.0)
    (task,) = policy.tasks
    assert (task.query, task.instruction) == ("this", "Prefer the long.")
    assert task.deadline == pytest.approx(DEADLINE - 20, abs=1)
    assert result["structuredContent"] == BEST
    stored = Ranking.from_json(reranker.service.runs.get(result["_meta"][META]["run"]))
    assert stored.blend == 0.25


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({"q": "this", "title": "not"}, "this"),
        ({"subject": "this", "limit": 5}, "this"),
        ({"keywords": "not", "question": "this"}, "this"),
    ],
)
async def test_the_query_is_found(new_reranker, policy, arguments, query):
    await new_reranker().rerank("find", arguments, RESULT)
    assert policy.tasks[0].query == query


async def test_a_missing_query_argument_gives_a_note(new_reranker, policy):
    result = await new_reranker(query_arg="topic").rerank("find", {"query": "q"}, RESULT)
    note = "note: find's result as it came, not reranked: the call has no text argument 'topic'"
    assert result == {**RESULT, "content": [block(note)]}
    assert policy.tasks == []


SAME = {
    "JSON of the whole": [block(json.dumps({"results": ROWS}))],
    "a block an item": [block(json.dumps(row)) for row in ROWS],
    "JSON below a heading": [block("Two were found:"), block(json.dumps(ROWS, indent=2))],
}


@pytest.mark.parametrize("form", SAME)
async def test_the_same_list_in_the_text_is_put_in_the_same_order(new_reranker, form):
    asked = {**RESULT, "content": SAME[form]}
    result = await new_reranker(top_k=1).rerank("find", {"query": "q"}, asked)
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
async def test_another_text_stays_as_it_came(new_reranker, content):
    result = await new_reranker().rerank("find", {"query": "q"}, {**RESULT, "content": content})
    assert result["structuredContent"] == BEST
    assert result["content"][:-1] == content
    note = "the text above is as it came, and not reranked\nreranked for “q”"
    assert result["content"][-1]["text"].startswith(note)


async def test_another_structured_content_stays_as_it_came(new_reranker):
    asked = {"structuredContent": {"total": 2}, "content": SAME["JSON below a heading"]}
    result = await new_reranker().rerank("find", {"query": "q"}, asked)
    assert result["structuredContent"] == {"total": 2}
    note = "the structured content is as it came, and not reranked\nreranked for “q”"
    assert result["content"][-1]["text"].startswith(note)


async def test_paths_are_put_in_order_in_both(new_reranker):
    text = "/notes/a.md\n/notes/longer.md"
    asked = {"structuredContent": {"content": text}, "content": [block(text)]}
    result = await new_reranker(top_k=1).rerank("find", {"query": "q"}, asked)
    assert result["structuredContent"] == {"content": "/notes/longer.md"}
    assert result["content"][0] == block("/notes/longer.md")
    assert len(result["content"]) == 2


async def test_the_text_is_put_in_order_where_there_is_no_structured_content(new_reranker):
    asked = {"content": SAME["JSON below a heading"]}
    result = await new_reranker().rerank("find", {"query": "q"}, asked)
    assert result["content"][0] == block("Two were found:")
    assert json.loads(result["content"][1]["text"]) == ROWS[::-1]


async def test_a_heading_stays_in_front_in_both(new_reranker, policy):
    heading, entries = "Results for 'q'", ["short", "the longest of all", "middle one"]
    asked = {
        "structuredContent": {"result": [heading, *entries]},
        "content": [block(text) for text in (heading, *entries)],
    }
    result = await new_reranker(top_k=2).rerank("find", {"query": "q"}, asked)
    best = [heading, entries[1], entries[2]]
    assert result["structuredContent"] == {"result": best}
    assert result["content"][:-1] == [block(text) for text in best]
    reasons = result["content"][-1]["text"].splitlines()
    assert reasons[0] == "reranked for “q”: the best 2 of 3; 1 weaker left out"
    assert reasons[1].startswith("1. [2] the longest of all")
    assert len(policy.tasks[0].candidates) == 3


@pytest.mark.parametrize(
    "content",
    [
        [block("No results found for 'q'.")],
        [block("Results for 'q'"), block("<entry>the only one</entry>")],
        [block("1. The only one\n   which has two lines")],
    ],
)
@pytest.mark.parametrize("structured", [False, True])
async def test_no_result_and_one_result_have_no_note(new_reranker, content, structured):
    texts = [one["text"] for one in content]
    whole = texts[0] if len(texts) == 1 else texts
    asked = {"content": content} | ({"structuredContent": {"result": whole}} if structured else {})
    assert await new_reranker().rerank("find", {"query": "q"}, asked) is asked


@pytest.mark.parametrize(
    "structured",
    [
        {"results": [ROWS[0]], "tags": ["a", "b"]},
        {"errors": []},
        {"results": [], "suggestions": ROWS[:1]},
    ],
)
async def test_a_result_with_nothing_to_rank_is_unchanged(new_reranker, structured):
    asked = {"structuredContent": structured}
    assert await new_reranker().rerank("find", {"query": "q"}, asked) is asked


@pytest.mark.parametrize(
    "structured",
    [
        {"ids": [["1", "2"]], "documents": [["a", "b"]]},  # as Chroma has them
        {"items": [1, 2, 3], "errors": []},
        {"left": ROWS, "right": ROWS},
    ],
)
async def test_a_result_that_cannot_be_reranked_gets_a_note(new_reranker, structured):
    result = await new_reranker().rerank("find", {"query": "q"}, {"structuredContent": structured})
    assert result["structuredContent"] == structured
    assert "not reranked: it holds no list, or not just one" in result["content"][0]["text"]


async def test_the_reasons_keep_their_budget(new_reranker):
    rows = [{"title": "t" * 200, "text": f"{n} " + "word " * n} for n in range(200)]
    asked = {"structuredContent": {"results": rows}}
    result = await new_reranker(top_k=200).rerank("find", {"query": "q"}, asked)
    assert len(result["structuredContent"]["results"]) == 200
    reasons = result["content"][0]["text"]
    assert "lines fit into" in reasons
    assert len(reasons) < 3 * 2_000
