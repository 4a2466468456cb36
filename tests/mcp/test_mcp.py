"""The tools through the official client, in memory, in both modes of the protocol."""

import asyncio
import json
import re
import sqlite3
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import pytest
from mcp import Client, MCPError
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

import rearank_agent.search.library
from helpers.policies import Down, Faulty, Judge, Slow
from rearank_agent import Reranker
from rearank_agent.policies.embedded.policy import Embedded
from rearank_agent.present.answer import estimate_tokens
from rearank_agent.queueing.work import Work
from rearank_agent.store import Store
from rearank_mcp.server import make_server
from rearank_mcp.service import Service

FLEAS = ["Dogs bark.", "A flea jumps. It leaps 20 cm high.", "Cats sleep all day."]
QUERY = "how far can a flea jump"


@pytest.fixture
def new_service(tmp_path):
    def make(policy="embedded", deadline=None, **more):
        (tmp_path / "files").mkdir(exist_ok=True)
        runs = Store(tmp_path / "runs.sqlite")
        return Service(Reranker(policy, deadline=deadline), [tmp_path / "files"], runs, **more)

    return make


@pytest.fixture(params=["auto", "legacy"])
def client(request):
    @asynccontextmanager
    async def connect(service):
        async with Client(make_server(service), mode=request.param) as client:
            yield client

    return connect


async def text_of(client, tool, **arguments):
    """What a tool says, and whether it is an error."""
    result = await client.call_tool(tool, arguments)
    assert [part.type for part in result.content] == ["text"]
    return result.content[0].text, result.is_error


def keys(schema):
    if isinstance(schema, dict):
        for key, value in schema.items():
            yield key
            yield from keys(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from keys(value)


async def test_what_is_left_out_is_told_a_client_once(client, new_service, tmp_path):
    service = new_service("lexical")
    (tmp_path / "files" / "flea.md").write_text("A flea jumps.")
    (tmp_path / "files" / "a.png").write_bytes(b"")

    async def notes(connected):
        result = await connected.call_tool("search", {"query": QUERY})
        return [note.split(":")[0] for note in result.structured_content["notes"]]

    for _ in range(2):
        async with client(service) as connected:
            assert await notes(connected) == ["binary"]
            assert await notes(connected) == []
            (tmp_path / "files" / "b.png").write_bytes(b"")
            result = await connected.call_tool("search", {"query": QUERY})
            assert "binary: " in result.content[0].text, "another file"
            again = await connected.call_tool("search", {"query": QUERY})
            assert "binary: " not in again.content[0].text
            text, _ = await text_of(connected, "explain", run=again.structured_content["run"])
            assert "binary" in text, "a run that is kept has all faults"
            (tmp_path / "files" / "b.png").unlink()


async def test_the_tools_are_small_and_flat(client, new_service):
    async with client(new_service()) as connected:
        tools = (await connected.list_tools()).tools
    assert [tool.name for tool in tools] == ["rerank", "search", "read", "explain"]
    for tool in tools:
        entry = tool.model_dump(by_alias=True, exclude_none=True)
        assert len(json.dumps(entry, ensure_ascii=False).encode()) < 2048
        assert len(tool.input_schema["properties"]) <= 6
        assert not {"anyOf", "oneOf", "$ref", "$defs"} & set(keys(entry))
        assert '"null"' not in json.dumps(entry)
        assert tool.title
        assert tool.annotations.read_only_hint
        assert tool.output_schema["type"] == "object"
        kinds = {p["type"] for p in tool.input_schema["properties"].values()}
        assert kinds <= {"string", "integer", "number", "boolean", "array"}


async def test_nothing_is_advertised_that_is_not_there(client, new_service):
    async with client(new_service()) as connected:
        capabilities = connected.server_capabilities.model_dump(exclude_none=True)
        assert capabilities == {"tools": {"list_changed": False}}
        for listing in (connected.list_resources, connected.list_prompts):
            with pytest.raises(MCPError, match=r"(?i)not found"):
                await listing()


async def test_what_is_below_the_minimum_score_is_counted_and_not_shown(client, new_service):
    async with client(new_service()) as connected:
        arguments = {"query": QUERY, "passages": FLEAS, "min_score": 0.99}
        text, error = await text_of(connected, "rerank", **arguments)
        assert (error, text.splitlines()[1:]) == (
            False,
            [f"note: {len(FLEAS)} of {len(FLEAS)} are below 0.99"],
        )
        text, error = await text_of(connected, "rerank", **arguments | {"min_score": 2})
        assert error
        assert "min_score" in text


async def test_a_list_is_reranked_and_not_given_back(client, new_service):
    async with client(new_service()) as connected:
        result = await connected.call_tool("rerank", {"query": QUERY, "passages": FLEAS})
    answer = result.structured_content
    assert not result.is_error
    assert answer["ranking"][0]["number"] == 2
    assert sorted(line["number"] for line in answer["ranking"]) == [1, 2, 3]
    assert all(isinstance(line["score"], float) for line in answer["ranking"])
    assert (answer["scored"], answer["partial"], answer["total"]) == (True, False, 3)
    text = result.content[0].text
    lines = text.splitlines()
    assert lines[0] == f"run {answer['run']}: 3 of 3"
    assert re.fullmatch(r"1\. \[2\] 0\.\d{3} “A flea jumps\.”; lacks: far", lines[1])
    assert not any(passage in text + json.dumps(answer) for passage in FLEAS)


async def test_an_order_only_policy_says_that_it_is_one(client, new_service):
    async with client(new_service(Judge())) as connected:
        result = await connected.call_tool("rerank", {"query": "q", "passages": ["a", "bb"]})
    answer = result.structured_content
    assert answer["scored"] is False
    assert not [line for line in answer["ranking"] if "score" in line]
    (text,) = result.content
    assert text.text.splitlines()[1:] == ["1. [2]", "2. [1]"]
    assert text.text.startswith(f"run {answer['run']}: 2 of 2; the policy gave an order, no scores")


async def test_files_are_searched_in_one_call(client, new_service, tmp_path):
    service = new_service()
    (tmp_path / "files" / "a.md").write_text("# Cats\n\nCats sleep all day long.\n")
    (tmp_path / "files" / "b.md").write_text("# Fleas\n\nA flea jumps up to 20 cm.\n")
    (tmp_path / "files" / "more").mkdir()
    (tmp_path / "files" / "more" / "c.md").write_text("The flea is an insect that jumps.\n")
    async with client(service) as connected:
        result = await connected.call_tool("search", {"query": QUERY})
        below, _ = await text_of(connected, "search", query=QUERY, path="more")
        one, _ = await text_of(connected, "search", query=QUERY, path="b.md")
    hits = result.structured_content["ranking"]
    assert [hit["place"].rpartition("/")[2] for hit in hits] == ["b.md:1-3", "c.md:1"]
    assert "flea jumps up to 20 cm." in hits[0]["snippet"]
    assert "c.md:1 " in below
    assert "b.md" not in below
    assert "b.md:1-3 " in one


async def test_a_hit_is_read_with_what_is_around_it(client, new_service, tmp_path):
    service = new_service("lexical")
    lines = [f"Line {number} is about dogs." for number in range(1, 400)]
    lines[199] = "A flea jumps up to 20 cm."
    (tmp_path / "files" / "dogs.txt").write_text("\n".join(lines) + "\n")
    async with client(service) as connected:
        found = await connected.call_tool("search", {"query": QUERY})
        run, hits = (found.structured_content[name] for name in ("run", "ranking"))
        place = hits[0]["place"]
        path, _, span = place.rpartition(":")
        first, last = map(int, span.split("-"))
        read = await connected.call_tool("read", {"place": place, "around": 3})
        assert not read.is_error
        shown = "\n".join(f"{number}: {lines[number - 1]}" for number in range(first - 3, last + 4))
        assert read.structured_content == {
            "place": f"{path}:{first - 3}-{last + 3}",
            "of": 399,
            "part": 1,
            "parts": 1,
            "text": shown,
            "before": f"{path}:{max(1, first - 53)}-{first - 4}",
            "after": f"{path}:{last + 4}-{min(399, last + 53)}",
            "notes": [],
        }
        assert read.content[0].text == (
            f"{path}:{first - 3}-{last + 3} of 399 lines\n{shown}\n"
            f"more before: read {path}:{max(1, first - 53)}-{first - 4}\n"
            f"more after: read {path}:{last + 4}-{min(399, last + 53)}"
        )
        by_rank = await connected.call_tool("read", {"place": 1, "run": run, "around": 3})
        assert by_rank.structured_content == read.structured_content
        (tmp_path / "files" / "dogs.txt").write_text("A cat.\n" + "\n".join(lines) + "\n")
        moved, _ = await text_of(connected, "read", place=place, run=run, around=0)
        assert moved.startswith(f"{path}:{first + 1}-{last + 1} of 400 lines\n")
        assert (
            f"note: the file has changed since the search: the passage of lines {span} is in "
            f"lines {first + 1}-{last + 1} now"
        ) in moved


async def test_a_long_file_is_read_in_parts_within_the_budget(client, new_service, tmp_path):
    service = new_service("lexical", max_tokens=500)
    text = "\n".join(
        f'{{"name": "\\t{number}", "é": "{"x" * (number * 7)}"}}' for number in range(60)
    )
    (tmp_path / "files" / "a.py").write_text(text)
    shown, part, parts = "", 0, 1
    async with client(service) as connected:
        while part < parts:
            part += 1
            read = await connected.call_tool("read", {"place": "a.py", "part": part})
            answer, said = read.structured_content, read.content[0].text
            whole = json.dumps(answer, ensure_ascii=False)
            assert estimate_tokens(said) + estimate_tokens(whole) <= 500
            parts = answer["parts"]
            more = f"more: ask read again with part={part + 1}"
            assert (more in said) == (part < parts)
            for line in answer["text"].split("\n"):
                number, _, rest = line.partition(": ")
                shown += rest if number.endswith("…") else f"\n{rest}"
        beyond, error = await text_of(connected, "read", place="a.py", part=parts + 1)
    assert shown[1:] == text
    assert parts > 3
    assert (beyond, error) == (f"there is no part {parts + 1}: parts go from 1 to {parts}", True)


FAR_FROM_ALL = "quarterly VAT return"


async def test_no_word_found_is_no_error(client, new_service, tmp_path):
    service = new_service()
    (tmp_path / "files" / "a.md").write_text("Cats sleep.\n")
    async with client(service) as connected:
        text, error = await text_of(connected, "search", query=FAR_FROM_ALL)
    assert not error
    assert re.fullmatch(
        r"run \w+: nothing found\n"
        r"note: nothing: no file holds a word of the query or is near it",
        text,
    )


async def test_explain_gives_the_rationale(client, new_service):
    async with client(new_service()) as connected:
        ranked = await connected.call_tool("rerank", {"query": QUERY, "passages": FLEAS})
        run = ranked.structured_content["run"]
        whole, _ = await text_of(connected, "explain", run=run)
        one, _ = await text_of(connected, "explain", run=run, passage="2")
        none, error = await text_of(connected, "explain", run=run, passage="9")
    assert f"query: {QUERY}" in whole
    assert "best first, 3 of 3:\n1. passage 2, was 2: “A flea jumps.”\n2. passage" in whole
    assert "window 1 (turn 1, 3 passages" in whole
    assert one.startswith("passage 2: rank 1 of 3, was 2\nscore 0.")
    assert "evidence: “A flea jumps.”" in one
    assert error
    assert none == "no passage '9' in this run; there are 2, 1, 3"


async def test_a_long_explanation_comes_in_parts_that_say_so(client, new_service):
    service = new_service(Faulty(), max_tokens=500)
    passages = [f"passage number {number} " + "x" * number for number in range(60)]
    async with client(service) as connected:
        ranked = await connected.call_tool("rerank", {"query": "q", "passages": passages})
        run = ranked.structured_content["run"]
        first = (await connected.call_tool("explain", {"run": run})).structured_content
        parts = [first["text"]]
        for part in range(2, first["parts"] + 1):
            answer = await connected.call_tool("explain", {"run": run, "part": part})
            parts.append(answer.content[0].text)
            whole = json.dumps(answer.structured_content, ensure_ascii=False)
            assert estimate_tokens(answer.content[0].text) + estimate_tokens(whole) <= 500
        beyond, error = await text_of(connected, "explain", run=run, part=first["parts"] + 1)
    assert first["parts"] > 2
    assert parts[0].endswith(f"(part 1 of {first['parts']}; ask explain again with part=2)")
    assert "best first, 10 of 60:\n1. passage 60, was 60\n2. " in "".join(parts)
    assert error
    assert beyond.startswith(f"there is no part {first['parts'] + 1}")


async def test_results_keep_their_budget_and_say_what_was_left_out(client, new_service):
    passages = [f"{number} fleas and a long word " + "x" * 50 for number in range(200)]
    async with client(new_service("lexical", max_tokens=1_000)) as connected:
        result = await connected.call_tool(
            "rerank", {"query": "fleas", "passages": passages, "top_k": 200}
        )
    whole = result.content[0].text + json.dumps(result.structured_content, ensure_ascii=False)
    assert estimate_tokens(whole) <= 1_000
    assert re.search(r"note: \d+ of 200 lines fit into 1000 tokens", whole)


async def test_progress_rises_turn_by_turn(client, new_service):
    seen = []

    async def note(*step):
        seen.append(step)

    passages = [f"{number}" for number in range(100)]
    async with client(new_service(Slow(0.01))) as connected:
        await connected.call_tool(
            "rerank", {"query": "q", "passages": passages}, progress_callback=note
        )
    done = [step[0] for step in seen]
    assert done == sorted(set(done))
    assert seen[0] == (0, None, "ranking 100 passages")
    total = seen[-1][1]
    assert len(seen) == total + 1 > 3
    assert seen[-1][2] == f"ranking 100 passages: turn {total:.0f} of {total:.0f}"


async def test_a_ping_is_answered_during_a_rerank(client, new_service):
    passages = [f"{number} " + "The flea is an insect. " * 9 for number in range(200)]
    async with client(new_service()) as connected:
        await connected.call_tool("rerank", {"query": "warm", "passages": ["up"]})
        ranking = asyncio.create_task(
            connected.call_tool("rerank", {"query": QUERY, "passages": passages})
        )
        await asyncio.sleep(0.05)
        answered = 0
        while not ranking.done():
            await connected.list_tools(cache_mode="bypass")
            answered += 1
            await asyncio.sleep(0.01)
        assert not (await ranking).is_error
    assert answered > 5


async def test_cancelling_stops_the_policy(client, new_service):
    slow = Slow(30)
    async with client(new_service(slow)) as connected:
        call = connected.call_tool("rerank", {"query": "q", "passages": ["a"] * 60})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call, 0.3)
        for _ in range(100):
            if slow.cancelled:
                break
            await asyncio.sleep(0.02)
        assert slow.begun == slow.cancelled > 0
        text, error = await text_of(connected, "explain", run="nope")
    assert error
    assert text == "no run 'nope' is kept (any more); rank again"


async def test_the_deadline_gives_the_best_so_far(client, new_service):
    start = perf_counter()
    async with client(new_service(Slow(30), deadline=0.5)) as connected:
        result = await connected.call_tool("rerank", {"query": "q", "passages": ["a", "b"]})
    assert perf_counter() - start < 5
    assert result.structured_content["partial"] is True
    assert "partial: the best order so far" in result.content[0].text
    assert "note: deadline: " in result.content[0].text


async def test_a_model_that_is_down_is_a_flagged_result(client, new_service):
    async with client(new_service(Down())) as connected:
        text, error = await text_of(connected, "rerank", query="q", passages=["a", "b"])
    assert not error
    assert "partial" in text
    assert "note: failed: ConnectionError: connection refused" in text


WRONG = {
    "unknown tool": (
        "nope",
        {},
        "there is no tool 'nope'; there are rerank, search, read, explain",
    ),
    "nothing": ("rerank", {}, "rerank: query: field required; passages: field required"),
    "types": (
        "rerank",
        {"query": {}, "passages": "x"},
        "rerank: query: input should be a valid string; passages: input should be a valid list",
    ),
    "objects": (
        "rerank",
        {"query": "q", "passages": [{"text": "secret"}]},
        "rerank: passages.0: input should be a valid string",
    ),
    "strange": (
        "rerank",
        {"query": "q", "passages": ["a"], "docs": []},
        "rerank has no argument docs; it has query, passages, instruction, top_k, rationale",
    ),
    "hostile": (
        "rerank",
        {"query": "q", "passages": ["a"], "docs\x1b[31m\nnote:\u202e": []},
        "rerank has no argument docs[31m note:; it has query, passages, instruction, top_k, "
        "rationale",
    ),
    "no query": ("rerank", {"query": " ", "passages": ["a"]}, "the query is empty"),
    "no passages": ("rerank", {"query": "q", "passages": []}, "there are no passages to rank"),
    "many": (
        "rerank",
        {"query": "q", "passages": ["a"] * 5000},
        "5,000 passages are too many for one request: give the best 1,000 of a first stage, "
        "or use search over files",
    ),
    "long": (
        "rerank",
        {"query": "q" * 100_000, "passages": ["a"]},
        "the query has 100,000 characters; 20,000 at most",
    ),
    "big": (
        "rerank",
        {"query": "q", "passages": ["a" * 5_000_000]},
        "the passages have 5,000,000 bytes; 4,194,304 at most",
    ),
    "top": (
        "rerank",
        {"query": "q", "passages": ["a"], "top_k": 0},
        "rerank: top_k: input should be greater than or equal to 1",
    ),
    "words for a number": (
        "rerank",
        {"query": "q", "passages": ["a"], "top_k": "abc", "rationale": "abc"},
        "rerank: top_k: input should be a valid integer, unable to parse string as an integer; "
        "rationale: input should be a valid boolean, unable to interpret input",
    ),
    "no null for what is required": (
        "explain",
        {"run": None},
        "explain: run: input should be a valid string",
    ),
    "part": ("explain", {"run": "x", "part": 0}, "explain: part: input should be greater than"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_bad_input_is_a_clear_error(client, new_service, case):
    tool, arguments, expected = WRONG[case]
    async with client(new_service()) as connected:
        text, error = await text_of(connected, tool, **arguments)
        assert error
        assert text.startswith(expected)
        _, error = await text_of(connected, "rerank", query="q", passages=["a"])
        assert not error


@pytest.mark.parametrize("unset", [None, "", " "])
async def test_every_optional_argument_may_be_null_or_empty(client, new_service, tmp_path, unset):
    service = new_service()
    (tmp_path / "files" / "b.md").write_text("A flea jumps up to 20 cm.\n")
    required = {"rerank": {"query": QUERY, "passages": FLEAS}, "search": {"query": QUERY}}
    required["read"] = {"place": "b.md:1"}
    async with client(service) as connected:
        tools = {tool.name: tool.input_schema for tool in (await connected.list_tools()).tools}
        run = (await connected.call_tool("rerank", required["rerank"])).structured_content["run"]
        for name, schema in tools.items():
            arguments = required.get(name, {"run": run})
            assert set(schema["required"]) == set(arguments)
            optional = set(schema["properties"]) - set(arguments)
            assert optional
            plain = await connected.call_tool(name, arguments)
            null = await connected.call_tool(name, arguments | dict.fromkeys(optional, unset))
            assert not null.is_error
            drop = {"run": ""}  # each ranking has its own
            assert null.structured_content | drop == plain.structured_content | drop


async def test_numbers_and_strings_are_taken_for_one_another(client, new_service):
    async with client(new_service()) as connected:
        passages = ["cats", 1984, "the year 1984"]
        given = {"query": 1984, "passages": passages, "top_k": "2", "rationale": "false"}
        result = await connected.call_tool("rerank", given)
        assert len(result.structured_content["ranking"]) == 2
        assert {line["reason"] for line in result.structured_content["ranking"]} == {""}
        run = result.structured_content["run"]
        by_number, error = await text_of(connected, "explain", run=run, passage=2, part="1")
        assert not error
        assert by_number.startswith("passage 2: rank ")
        assert (by_number, False) == await text_of(connected, "explain", run=run, passage="2")
        text, _ = await text_of(connected, "explain", run=run)
        assert text.startswith("query: 1984\n")


READ_WRONG = {
    "a rank alone": ({"place": "1"}, "1 is a hit's number: its run is needed too"),
    "no such run": ({"place": "1", "run": "nope"}, "no run 'nope' is kept (any more); rank again"),
    "no such file": ({"place": "b.md:1"}, "'b.md:1' is not below "),
    "outside": ({"place": "../secret.md"}, "'../secret.md' is not below "),
    "a link": ({"place": "link.md"}, "'link.md' is not below "),
    "hidden": ({"place": ".env"}, "'.env' is not below "),
    "ignored": ({"place": "ignored.md"}, "'ignored.md' is not below "),
    "beyond": ({"place": "a.md:9"}, "files/a.md has no text at 9; it has lines 1 to 1"),
    "a picture": ({"place": "a.png"}, "files/a.png is an image; text in pictures is not read"),
}


@pytest.mark.parametrize("case", READ_WRONG)
async def test_what_cannot_be_read_is_a_clear_error(new_service, tmp_path, monkeypatch, case):
    arguments, expected = READ_WRONG[case]
    service = new_service("lexical")
    monkeypatch.chdir(tmp_path)
    service.roots = [Path("files")]
    (tmp_path / "secret.md").write_text("A secret flea.\n")
    for name in ("a.md", ".env", "ignored.md", "a.png"):
        (tmp_path / "files" / name).write_text("A flea.\n")
    (tmp_path / "files" / ".gitignore").write_text("ignored.md\n")
    (tmp_path / "files" / "link.md").symlink_to(tmp_path / "secret.md")
    async with Client(make_server(service)) as connected:
        text, error = await text_of(connected, "read", **arguments)
        assert (text[: len(expected)], error) == (expected, True)


async def test_a_run_that_was_given_a_list_has_no_place_to_read(client, new_service):
    async with client(new_service("lexical")) as connected:
        ranked = await connected.call_tool("rerank", {"query": QUERY, "passages": FLEAS})
        run = ranked.structured_content["run"]
        text, error = await text_of(connected, "read", place="2", run=run)
    assert (text, error) == ("passage '2' came in a list, not from a file", True)


@pytest.mark.parametrize("path", ["..", "../secret.md", "/etc/passwd", "link.md", "\0", "a" * 9999])
async def test_nothing_outside_the_roots_is_read(new_service, tmp_path, path):
    service = new_service()
    (tmp_path / "secret.md").write_text("A secret flea.\n")
    (tmp_path / "files" / "a.md").write_text("A flea.\n")
    (tmp_path / "files" / "link.md").symlink_to(tmp_path / "secret.md")
    async with Client(make_server(service)) as connected:
        text, error = await text_of(connected, "search", query="flea", path=path)
        every, _ = await text_of(connected, "search", query="flea secret")
    assert error
    assert "is no file or folder below" in text
    assert "secret.md" not in every.replace("note: outside", "")[:200]


async def test_search_without_a_folder_says_how_to_name_one(new_service, tmp_path):
    service = Service(Reranker(), [], Store(tmp_path / "runs.sqlite"))
    async with Client(make_server(service)) as connected:
        text, error = await text_of(connected, "search", query="flea")
    assert (text, error) == (
        "no folder was named for search: start the server with --root FOLDER",
        True,
    )


async def test_reading_of_files_goes_on_after_the_deadline(new_service, tmp_path, monkeypatch):
    service = new_service(deadline=1.0)
    (tmp_path / "files" / "a.md").write_text("A flea.\n")
    read = rearank_agent.search.library.Library.search

    def slowly(self, *args):
        time.sleep(1.5)
        return read(self, *args)

    monkeypatch.setattr(rearank_agent.search.library.Library, "search", slowly)
    async with Client(make_server(service)) as connected:
        text, error = await text_of(connected, "search", query="flea")
        assert error
        assert text.startswith("the files are still being read")
        monkeypatch.undo()
        await asyncio.sleep(0.7)
        _, error = await text_of(connected, "search", query="flea")
        assert not error


async def test_slow_reading_of_files_does_not_delay_others(new_service, tmp_path, monkeypatch):
    service = new_service("lexical", deadline=1.0)
    (tmp_path / "files" / "a.md").write_text("A flea.\n")
    read = rearank_agent.search.library.Library.search

    def slowly(self, *args):
        time.sleep(4)
        return read(self, *args)

    monkeypatch.setattr(rearank_agent.search.library.Library, "search", slowly)
    async with Client(make_server(service)) as connected:
        answers = await asyncio.gather(*(text_of(connected, "search", query="a") for _ in range(8)))
        assert {text[:32] for text, _ in answers} == {"the files are still being read ("}
        start = perf_counter()
        _, error = await text_of(connected, "rerank", query="q", passages=["a", "b"])
        assert not error
        assert perf_counter() - start < 1


async def test_a_store_that_is_in_use_does_not_hold_an_answer(new_service, tmp_path):
    service = new_service("lexical")
    async with Client(make_server(service)) as connected:
        await text_of(connected, "rerank", query="q", passages=["a", "b"])
        other = sqlite3.connect(tmp_path / "runs.sqlite")
        other.execute("BEGIN IMMEDIATE")
        start = perf_counter()
        calls = [text_of(connected, "rerank", query="q", passages=["a", "b"]) for _ in range(3)]
        answers = await asyncio.gather(*calls)
        assert perf_counter() - start < 3
        other.close()
    assert all("note: unkept: " in text for text, error in answers if not error)


async def test_explain_knows_hits_by_rank_and_place(new_service, tmp_path):
    service = new_service("lexical")
    (tmp_path / "files" / "long.md").write_text("flea and word " * 900 + "\n")
    (tmp_path / "files" / "other.md").write_text("A flea in another file.\n")
    async with Client(make_server(service)) as connected:
        found = await connected.call_tool("search", {"query": "flea in another file"})
        run, hits = (found.structured_content[name] for name in ("run", "ranking"))
        assert len({hit["place"] for hit in hits}) == len(hits) > 3
        for hit in hits:
            for name in (str(hit["rank"]), hit["place"]):
                text, _ = await text_of(connected, "explain", run=run, passage=name)
                assert text.startswith(f"{hit['place']}: rank {hit['rank']} of ")


@pytest.mark.parametrize("path", [".", "./", ""])
async def test_here_means_all_roots(new_service, tmp_path, path):
    service = new_service("lexical")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text(f"A flea in {name}.\n")
    service.roots = [tmp_path / "one", tmp_path / "two"]
    async with Client(make_server(service)) as connected:
        text, _ = await text_of(connected, "search", query="flea", path=path)
        assert "one/a.md" in text
        assert "two/a.md" in text
        place = f"{tmp_path}/two/a.md:1"
        text, _ = await text_of(connected, "search", query="flea", path=place)
        assert "one/a.md" not in text


async def test_an_error_does_not_give_back_what_was_long(new_service, tmp_path):
    service = new_service("lexical")
    (tmp_path / "files" / "a.md").write_text("A flea.\n")
    async with Client(make_server(service)) as connected:
        text, error = await text_of(connected, "search", query="flea", path="a" * 120_000)
    assert error
    assert len(text) < 600


async def test_a_request_that_others_kept_from_beginning_is_told_to_come_again(new_service):
    policy, busy, free = Embedded(threads=1), threading.Event(), threading.Event()

    def hold():
        busy.set()
        free.wait(60)

    holding = policy._scorer._pool.run(Work(1), hold)
    await asyncio.to_thread(busy.wait, 60)
    async with Client(make_server(new_service(policy, deadline=0.5))) as connected:
        calls = [text_of(connected, "rerank", query="q", passages=["a", "b"]) for _ in range(3)]
        answers = await asyncio.gather(*calls)
        assert answers == [("too many requests are being ranked; ask again in a moment", True)] * 3
        free.set()
        await holding
        text, error = await text_of(connected, "rerank", query="q", passages=["a", "b"])
    assert not error
    assert "[1]" in text


async def test_a_store_that_fails_costs_only_the_explanation(new_service, tmp_path):
    service = new_service()
    service.runs = Store(tmp_path / "files" / "a.md" / "runs.sqlite")
    (tmp_path / "files" / "a.md").write_text("no folder")
    async with Client(make_server(service)) as connected:
        text, error = await text_of(connected, "rerank", query="q", passages=["a"])
    assert not error
    assert "note: unkept: explain and read will not find this run" in text


async def test_an_agent_of_pydantic_ai_calls_the_tools(new_service):
    seen = []

    def script(messages, info):
        last = messages[-1].parts[-1]
        if isinstance(last, ToolReturnPart):
            return ModelResponse([TextPart(f"number {last.content['ranking'][0]['number']}")])
        assert {tool.name for tool in info.function_tools} == {
            "rerank",
            "search",
            "read",
            "explain",
        }
        return ModelResponse([ToolCallPart("rerank", {"query": QUERY, "passages": FLEAS})])

    async def note(*step):
        seen.append(step)

    toolset = MCPToolset(make_server(new_service()), progress_handler=note)
    agent = Agent(FunctionModel(script), toolsets=[toolset])
    async with agent:
        assert (await agent.run("go")).output == "number 2"
    assert seen[-1] == (1, 1, "ranking 3 passages: turn 1 of 1")
