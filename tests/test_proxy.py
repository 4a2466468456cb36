"""The proxy as hosts start it, before a server that does all that a server should not."""

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from time import perf_counter

import pytest
from driver import Driver, until
from mcp import Client, StdioServerParameters
from mcp.types import ElicitResult
from starlette.responses import JSONResponse
from terminal import PROGRAM
from wayward import RECORDS, RESULTS, block

WAYWARD = str(Path(__file__).with_name("wayward.py"))
TOOLS = {"tools": [{"name": "find", "inputSchema": {"type": "object"}, "x-own": [1, None]}]}
QUERY = "how far does a flea jump"
BEST = ["A flea jumps 20 cm.", "Dogs bark."]  # as BM25 ranks, with the given order for the rest


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts a proxy before the wayward server, or another command."""
    started = []

    def go(*options, command=(sys.executable, WAYWARD), policy="lexical", **environment):
        cache = str(tmp_path_factory.mktemp("cache"))
        own = ["--rerank", "find", "--top-k", "2", "--policy", policy]
        env = {**os.environ, "REARANK_CACHE": cache, **environment}
        started.append(Driver([PROGRAM, "mcp", "proxy", *own, *options, "--", *command], env=env))
        return started[-1]

    yield go
    for driver in started:
        driver.process.kill()
        driver.process.communicate()


@pytest.fixture(scope="module")
def shared(start):
    """A proxy for tests that leave it as they found it."""
    return start().start("wayward")


def find(driver, way, **arguments):
    return driver.call("find", query=QUERY, way=way, **arguments)


def works(driver):
    return [part["text"] for part in find(driver, "blocks")["content"][:2]] == BEST


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


def test_a_list_comes_back_best_first_and_cut_with_the_reasons(shared):
    result = find(shared, "structured")
    best = {"results": [RECORDS[1], RECORDS[0]], "took": 3}
    assert result["structuredContent"] == best
    text, why = result["content"]
    assert text == block(json.dumps(best, indent=2))
    told = result["_meta"]["rearank-agent/ranking"]
    said = why["text"].splitlines()
    assert said == [
        "reranked for “how far does a flea jump”: the best 2 of 3; 1 weaker left out",
        "1. [2] A fl: has: flea, jump; lacks: far",
        "2. [1] Dogs: lacks: far, flea, jump",
        f"in brackets: the place before; run {told['run']}",
    ]
    assert [(line["rank"], line["number"]) for line in told["ranking"]] == [(1, 2), (2, 1)]
    assert set(result) == {"structuredContent", "content", "_meta"}


def test_a_text_that_is_no_list_stays_beside_the_list(shared):
    result = find(shared, "structured beside prose")
    assert result["structuredContent"] == {"results": [RECORDS[1], RECORDS[0]]}
    assert result["content"][0] == block("Three things were found.")
    assert note(result).startswith(
        "the text above is as it came, the structured content is reranked\nreranked for “how far"
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
def test_a_query_that_cannot_be_ranked_by_is_told(shared, arguments, why):
    result = shared.call("find", way="blocks", **arguments)
    assert result["content"][:-1] == RESULTS["blocks"]["content"]
    assert f"not reranked: {why}" in note(result)


def test_half_a_letter_goes_through(shared):
    result = find(shared, "has half a letter")
    assert [part["text"] for part in result["content"][:2]] == [
        "Dogs \ud83d bark.",
        "A flea jumps.",
    ]
    assert "not reranked: it holds no list" in note(result)


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
    told = []
    while (message := shared.read()).get("id") != key:
        told.append(message["params"])
    assert told == [
        *({"progressToken": "t", "progress": step, "total": 3} for step in (1, 2, 3)),
        {"progressToken": "t", "progress": 4.0, "message": "ranking 3 passages"},
        {
            "progressToken": "t",
            "progress": 5.0,
            "total": 5.0,
            "message": "ranking 3 passages: turn 1 of 1",
        },
    ]


def test_a_server_that_tells_much_is_heard_out(shared):
    key = shared.ask("tools/call", name="find", arguments={"way": "tells much", "query": QUERY})
    told = 0
    while (message := shared.read()).get("id") != key:
        assert message["params"]["data"] == told
        told += 1
    assert told == 5_000
    assert message["result"]["content"][0]["text"] == BEST[0]


def test_what_is_no_message_of_the_host_goes_through(shared):
    for line in (b"", b"[]"):
        shared.write(line)
    assert works(shared)


def failed(driver, way):
    key = driver.ask("tools/call", name="find", arguments={"way": way, "query": QUERY})
    return driver.answer(key)["error"]


def test_garbage_is_left_out_and_a_server_that_ends_is_started_anew(start):
    driver = start("--rerank", "seek").start("wayward")
    driver.answer(driver.ask("tools/list"))
    assert [part["text"] for part in find(driver, "speaks garbage")["content"][:2]] == BEST
    for _ in range(2):
        said = "the wrapped server ended with exit code 3"
        assert failed(driver, "dies") == {"code": -32603, "message": said}
        assert works(driver)  # it was initialized again, unasked
    flood = "the wrapped server was ended, since a message has more than 33,554,432 bytes"
    assert failed(driver, "floods") == {"code": -32603, "message": flood}
    assert works(driver)
    code, out, err = driver.end()
    assert (code, out) == (0, b"")
    warned = [
        line.removeprefix("WARNING mcp_server.relay: the wrapped server ")
        for line in err.splitlines()
    ]
    assert warned == [
        "has no tool seek; it has find",
        "wrote what is no message; left out: Warning: the index is old",
        'wrote what is no message; left out: {"jsonrpc": "2.0", "id":',
        "wrote what is no message; left out: \ufffd\ufffd",
        f"wrote what is no message; left out: {'[' * 119}…",
        *["ended with exit code 3; the next request starts it anew"] * 2,
        "was ended, since a message has more than 33,554,432 bytes; the next request starts it anew",
    ]


def children(driver):
    return (
        Path(f"/proc/{driver.process.pid}/task/{driver.process.pid}/children").read_text().split()
    )


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
def test_a_server_that_ends_while_nobody_waits_is_told_of_once(start):
    driver = start().start("wayward")
    assert works(driver)
    os.kill(int(children(driver)[0]), signal.SIGKILL)
    until(lambda: not children(driver))
    driver.send("notifications/cancelled", requestId=99)  # nobody hears it
    assert failed(driver, "blocks")["message"] == "the wrapped server was ended by SIGKILL"
    assert works(driver)


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
@pytest.mark.parametrize("way", ["end of stdin", "signal"])
def test_a_server_that_hangs_ends_with_the_proxy(start, way):
    driver = start().start("wayward")
    driver.ask("tools/call", name="find", arguments={"way": "hangs"})
    driver.send("notifications/cancelled", requestId=driver.number)
    (child,) = children(driver)
    begun = perf_counter()
    if way == "signal":
        driver.process.send_signal(signal.SIGTERM)
        assert driver.process.wait(15) == 0
    assert driver.end()[:2] == (0, b"")
    assert perf_counter() - begun < 10
    assert not Path(f"/proc/{child}").exists()


def test_cancelling_goes_through_and_ends_the_ranking(start, stub):
    stub.script = lambda body: 60
    own = {"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": "any"}
    driver = start(policy="openai-chat:slow", **own).start("wayward")
    key = driver.ask("tools/call", name="find", arguments={"way": "blocks", "query": QUERY})
    until(lambda: stub.running)
    driver.send("notifications/cancelled", requestId=key)
    until(lambda: stub.given_up)
    assert driver.read()["params"] == {"data": ["cancelled", {"requestId": key}]}
    assert find(driver, "prose")["content"][0] == RESULTS["prose"]["content"][0]


def test_a_policy_that_fails_leaves_the_result_as_it_came(start, stub):
    stub.script = lambda body: JSONResponse({"error": {"message": "no such model"}}, 400)
    own = {"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": "any"}
    driver = start(policy="openai-chat:down", **own).start("wayward")
    result = find(driver, "blocks")
    assert result["content"][:-1] == RESULTS["blocks"]["content"]
    assert "not reranked: failed: PolicyError" in note(result)


def test_the_end_of_the_host_lets_what_is_under_way_be_answered(start):
    driver = start().start("wayward")
    for _ in range(3):
        driver.ask("tools/call", name="find", arguments={"way": "blocks", "query": QUERY})
    code, out, err = driver.end()
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["result"]["content"][0]["text"] for answer in answers] == [BEST[0]] * 3
    assert (code, err) == (0, "")


def test_a_server_that_does_not_start_is_told_of(start):
    driver = start(command=(sys.executable, WAYWARD, "lacks something"))
    for _ in range(2):
        ended = {"code": -32603, "message": "the wrapped server ended with exit code 1"}
        assert driver.answer(driver.ask("initialize", protocolVersion="x"))["error"] == ended
    assert driver.end()[2].count("no key is set") == 2
    driver = start(command=("no-such-program-here",))
    said = "rearank-agent: there is no program 'no-such-program-here' to start as a server\n"
    assert driver.end() == (1, b"", said)
    driver = start("--policy", "nobody")
    code, _, err = driver.end()
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_all_of_a_server_of_the_official_sdk_is_there(mode, tmp_path):
    seen = []

    async def progress(*step):
        seen.append(step)

    async def elicit(ctx, params):
        return ElicitResult(action="accept", content={"name": "top"})

    server = [sys.executable, str(Path(__file__).with_name("sdk_server.py"))]
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


def test_a_host_that_says_too_much_at_once_is_told_so(start):
    driver = start().start("wayward")
    with suppress(BrokenPipeError):  # it does not listen to the end
        driver.process.stdin.write(b"x" * 40_000_000)
    code = driver.process.wait(20)
    said = driver.process.stderr.read().decode()
    assert (code, said) == (
        0,
        "ERROR mcp_server.relay: the host is heard no more: "
        "a message has more than 33,554,432 bytes\n",
    )
