"""The proxy as hosts start it, before a server that misbehaves in every way."""

import json
import os
import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.types import ElicitResult
from starlette.responses import JSONResponse

from helpers.driver import until
from helpers.proxied import BEST, QUERY, find
from helpers.terminal import PROGRAM
from helpers.wayward import RECORDS, RESULTS, block

TOOLS = {"tools": [{"name": "find", "inputSchema": {"type": "object"}, "x-own": [1, None]}]}


@pytest.fixture(scope="module")
def shared(proxy):
    """A proxy for tests that leave it as they found it."""
    return proxy().start("wayward")


def note(result):
    return result["content"][-1]["text"]


def test_what_is_no_result_of_the_tool_goes_through_as_it_is(shared):
    assert shared.answer(shared.ask("tools/list"))["result"] == TOOLS
    refused = shared.answer(shared.ask("resources/list"))["error"]
    assert refused == {"code": -32601, "message": "no method resources/list"}
    other = shared.call("other", way="blocks", query=QUERY)
    assert other == RESULTS["blocks"]
    refused = shared.answer(shared.ask("tools/call", name="find", arguments={"way": "refuses"}))
    assert refused["error"] == {"code": -32602, "message": "no such shelf"}


def test_the_best_of_a_list_come_back_with_the_reasons(shared):
    result = find(shared, "structured")
    best = {"results": [RECORDS[1], RECORDS[0]], "took": 3}
    assert result["structuredContent"] == best
    text, why = result["content"]
    assert text == block(json.dumps(best, indent=2))
    ranking = result["_meta"]["rearank-agent/ranking"]
    assert why["text"].splitlines() == [
        "reranked for “how far does a flea jump”: the best 2 of 3; 1 weaker left out",
        "1. [2] A fl: has: flea, jump; lacks: far",
        "2. [1] Dogs: lacks: far, flea, jump",
        f"in brackets: the place before; run {ranking['run']}",
    ]
    assert [(line["rank"], line["number"]) for line in ranking["ranking"]] == [(1, 2), (2, 1)]
    assert set(result) == {"structuredContent", "content", "_meta"}


def test_a_text_that_is_no_list_stays_beside_the_list(shared):
    result = find(shared, "structured beside prose")
    assert result["structuredContent"] == {"results": [RECORDS[1], RECORDS[0]]}
    assert result["content"][0] == block("Three things were found.")
    assert note(result).startswith(
        "the text above is as it came, and not reranked\nreranked for “how far"
    )


def test_the_list_that_holds_something_is_put_in_order(shared):
    found = find(shared, "a graph")["structuredContent"]
    assert found == {"entities": [RECORDS[1], RECORDS[0]], "relations": []}


@pytest.mark.parametrize("way", ["blocks", "resources"])
def test_blocks_are_put_in_order(shared, way):
    result = find(shared, way)
    blocks = RESULTS[way]["content"]
    assert result["content"][:-1] == [blocks[1], blocks[0]]
    assert note(result).startswith("reranked for “")


UNTOUCHED = [
    "one", "none", "an error", "a question", "a task", "nothing", "strange content",
    "strange meta", "text beside a list",
]  # fmt: skip


@pytest.mark.parametrize("way", UNTOUCHED)
def test_what_has_nothing_to_put_in_order_is_untouched(shared, way):
    assert find(shared, way) == RESULTS[way]


@pytest.mark.parametrize("way", ["prose", "strange blocks"])
def test_what_is_no_list_comes_with_a_note(shared, way):
    assert find(shared, way) == {
        "content": [
            *RESULTS[way]["content"],
            block(
                "note: find's result as it came, not reranked: it holds no list, or not just one"
            ),
        ]
    }


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"query": " "}, "the query is empty"),
        ({"topic": "a", "shelf": "b"}, "it is not clear which argument is the query"),
        ({"query": "flea " * 5_000}, "the query has 25,000 characters; 20,000 at most"),
    ],
)
def test_an_unusable_query_gives_a_note(shared, arguments, why):
    result = shared.call("find", way="blocks", **arguments)
    assert result["content"][:-1] == RESULTS["blocks"]["content"]
    assert f"not reranked: {why}" in note(result)


def test_a_lone_surrogate_goes_through_and_is_a_fault(shared):
    result = find(shared, "has half a letter")
    assert [part["text"] for part in result["content"][:2]] == [
        "A flea jumps.",
        "Dogs \ud83d bark.",
    ]
    assert "note: surrogate: half characters in the tool's result" in note(result)


def test_a_number_that_json_has_not_goes_through(shared):
    shared.ask(
        "tools/call",
        name="find",
        arguments={"query": QUERY, "way": "has a number that JSON has not"},
    )
    line = shared.process.stdout.readline()
    assert b'"n":1e999' in line
    assert b"reranked" not in line


def test_a_large_result_goes_through_with_a_note(shared):
    result = find(shared, "is large")
    assert [len(part["text"]) for part in result["content"][:2]] == [20_000_000, 7]
    assert "the passages have 20,000,007 bytes; 4,194,304 at most" in note(result)


def test_strange_answers_and_identifiers_go_through(shared):
    key = shared.ask("tools/call", name="find", arguments={"way": "answers what nobody asked"})
    assert [shared.read()["id"] for _ in range(2)] == ["nobody", [1]]
    assert shared.read()["id"] == key
    for key in ("1", 0, ""):
        arguments = {"way": "blocks", "query": QUERY}
        params = {"name": "find", "arguments": arguments}
        request = {"jsonrpc": "2.0", "id": key, "method": "tools/call", "params": params}
        shared.write(json.dumps(request).encode())
        answer = shared.read()
        assert answer["id"] == key
        assert answer["result"]["content"][0]["text"] == BEST[0]


def test_progress_goes_through_and_goes_on(shared):
    arguments = {"way": "tells how far", "query": QUERY}
    meta = {"progressToken": "t"}
    key = shared.ask("tools/call", name="find", arguments=arguments, _meta=meta)
    reported = []
    while (message := shared.read()).get("id") != key:
        reported.append(message["params"])
    assert reported == [
        *({"progressToken": "t", "progress": step, "total": 3} for step in (1, 2, 3)),
        {"progressToken": "t", "progress": 4.0, "message": "ranking 3 passages"},
        {
            "progressToken": "t",
            "progress": 5.0,
            "total": 5.0,
            "message": "ranking 3 passages: turn 1 of 1",
        },
    ]


def test_many_notifications_all_go_through(shared):
    key = shared.ask("tools/call", name="find", arguments={"way": "tells much", "query": QUERY})
    count = 0
    while (message := shared.read()).get("id") != key:
        assert message["params"]["data"] == count
        count += 1
    assert count == 5_000
    assert message["result"]["content"][0]["text"] == BEST[0]


def test_invalid_messages_of_the_host_go_through(shared):
    for line in (b"", b"[]", b"no message"):
        shared.write(line)
    shared.send("notifications/echo", said="as it is")
    assert shared.read()["params"] == {"data": {"said": "as it is"}}


def test_cancelling_goes_through_and_ends_the_ranking(proxy, stub):
    stub.script = lambda body: 60
    own = {"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": "any"}
    driver = proxy(policy="openai-chat:slow", **own).start("wayward")
    key = driver.ask("tools/call", name="find", arguments={"way": "blocks", "query": QUERY})
    until(lambda: stub.running)
    driver.send("notifications/cancelled", requestId=key)
    until(lambda: stub.given_up)
    assert driver.read()["params"] == {"data": ["cancelled", {"requestId": key}]}
    assert find(driver, "prose")["content"][0] == RESULTS["prose"]["content"][0]


def test_a_policy_that_fails_leaves_the_result_as_it_came(proxy, stub):
    stub.script = lambda body: JSONResponse({"error": {"message": "no such model"}}, 400)
    own = {"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": "any"}
    driver = proxy(policy="openai-chat:down", **own).start("wayward")
    result = find(driver, "blocks")
    assert result["content"][:-1] == RESULTS["blocks"]["content"]
    assert "not reranked: failed: PolicyError" in note(result)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_all_of_a_server_of_the_official_sdk_is_there(mode, tmp_path):
    seen = []

    async def progress(*step):
        seen.append(step)

    async def elicit(ctx, params):
        return ElicitResult(action="accept", content={"name": "top"})

    server = [sys.executable, str(Path(__file__).parents[1] / "helpers" / "sdk_server.py")]
    own = ["mcp", "proxy", "--rerank", "find", "--rerank", "seek", "--top-k", "1"]
    options = [*own, "--policy", "lexical", "--", *server]
    env = {**os.environ, "REARANK_CACHE": str(tmp_path)}
    proxy = StdioServerParameters(command=PROGRAM, args=options, env=env)
    async with Client(proxy, mode=mode, elicitation_callback=elicit) as client:
        assert client.server_info.name == "shelf"
        assert [tool.name for tool in (await client.list_tools()).tools] == ["find", "seek"]
        found = await client.call_tool("find", {"query": QUERY}, progress_callback=progress)
        best = {"title": "row 1", "text": "A flea jumps 20 cm."}
        assert found.structured_content == {"result": [best]}
        assert json.loads(found.content[0].text) == best
        assert found.content[1].text.startswith("reranked for “")
        sought = await client.call_tool("seek", {"query": "flea"})
        assert sought.content[0].text == "flea: top"
        whole = await client.read_resource("shelf://all")
        assert whole.contents[0].text.splitlines()[0] == "Dogs bark."
        asked = await client.get_prompt("ask", {"topic": "a flea"})
        assert asked.messages[0].content.text == "What is a flea?"
        wrong = await client.call_tool("nope", {})
        assert wrong.is_error
    assert [step[0] for step in seen] == [1, 2, 3]
