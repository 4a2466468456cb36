"""The reranker in pydantic-ai agents, with scripted models."""

import asyncio
import json
import threading
from dataclasses import dataclass

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, FunctionToolset, ModelRetry, RunContext, ToolReturn
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import (
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

import rearank_agent.llm.limits
from helpers.policies import Down, Judge
from rearank_agent import Ranking, Reply, Reranker
from rearank_agent.agents import Rerank, Reranked, rerank_toolset
from rearank_agent.errors import InputError, SetupError
from rearank_agent.llm.limits import Cap
from rearank_agent.present.answer import RerankAnswer, SearchAnswer
from rearank_agent.present.reading import ReadAnswer
from rearank_agent.search.library import Library

FLEAS = ["Dogs bark.", "A flea jumps. It leaps 20 cm high.", "Cats sleep all day."]
QUERY = "how far can a flea jump"
OPEN = []  # a policy that outlives its event loop is closed by it


def reranker_of(name):
    OPEN.append(Reranker(name))
    return OPEN[-1]


def calls(*arguments, tool="rerank"):
    """A model that calls a tool with each of these arguments, and then ends."""

    def script(messages, info):
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        if turn < len(arguments):
            return ModelResponse([ToolCallPart(tool, arguments[turn])])
        return ModelResponse([TextPart("done")])

    return FunctionModel(script)


def parts(run, kind):
    return [part for m in run.all_messages() for part in m.parts if isinstance(part, kind)]


async def test_an_agent_reranks_what_it_holds():
    agent = Agent(calls({"query": QUERY, "passages": FLEAS}), toolsets=[rerank_toolset(Reranker())])
    (returned,) = parts(await agent.run("go"), ToolReturnPart)
    answer = returned.content
    assert isinstance(answer, RerankAnswer)
    assert answer.ranking[0].number == 2
    assert (answer.total, answer.scored, answer.partial, answer.notes) == (3, True, False, ())
    assert isinstance(returned.metadata, Ranking)
    assert returned.metadata.run == answer.run


async def test_an_agent_searches_files(tmp_path):
    (tmp_path / "a.md").write_text("A flea jumps up to 20 cm.\n")
    toolset = rerank_toolset(Reranker(), Library([tmp_path]))
    agent = Agent(
        calls({"query": QUERY}, {"query": "quarterly VAT return"}, tool="search"),
        toolsets=[toolset],
    )
    found, nothing = parts(await agent.run("go"), ToolReturnPart)
    assert isinstance(found.content, SearchAnswer)
    assert found.content.ranking[0].snippet == "A flea jumps up to 20 cm."
    assert nothing.content.notes == ("nothing: no file holds a word of the query or is near it",)


async def test_an_agent_reads_on_what_it_found(tmp_path):
    lines = [f"Dog number {number}." for number in range(1, 9)]
    (tmp_path / "a.txt").write_text("\n".join(["A flea jumps up to 20 cm.", *lines]))
    toolset = rerank_toolset(Reranker("lexical"), Library([tmp_path]))
    read = []

    def script(messages, info):
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        returned = [part for m in messages for part in m.parts if isinstance(part, ToolReturnPart)]
        if turn == 0:
            return ModelResponse([ToolCallPart("search", {"query": QUERY})])
        if turn == 1:
            answer = returned[0].content
            hit = {"place": answer.ranking[0].place}
            rank = {"place": "1", "run": answer.run}
            return ModelResponse([ToolCallPart("read", hit), ToolCallPart("read", rank)])
        read.extend(part.content for part in returned[1:])
        return ModelResponse([TextPart("done")])

    await Agent(FunctionModel(script), toolsets=[toolset]).run("go")
    by_place, by_rank = read
    assert isinstance(by_place, ReadAnswer)
    assert by_place == by_rank
    assert by_place.place == f"{tmp_path}/a.txt:1-9"
    assert by_place.text.startswith("1: A flea jumps up to 20 cm.\n2: Dog number 1.")


async def test_what_cannot_be_read_is_a_retry(tmp_path):
    (tmp_path / "a.txt").write_text("A flea.\n")
    toolset = rerank_toolset(Reranker("lexical"), Library([tmp_path]))
    for wrong, message in (
        ({"place": "/etc/passwd"}, "is not below"),
        ({"place": "1", "run": "nope"}, "no run 'nope' is in this conversation; search again"),
        ({"place": "a.txt", "part": 2}, "there is no part 2"),
        ({"place": "a.txt", "around": -1}, "greater than or equal to 0"),
    ):
        model = calls(wrong, {"place": "a.txt"}, tool="read")
        run = await Agent(model, toolsets=[toolset]).run("go")
        refused = [*parts(run, RetryPromptPart), *parts(run, ToolReturnPart)][0]
        assert message in str(refused.content)
        assert parts(run, ToolReturnPart)[-1].content.text == "1: A flea."


async def test_a_file_that_takes_long_is_a_result(tmp_path):
    (tmp_path / "a.txt").write_text("A flea.\n")
    library, free = Library([tmp_path]), threading.Event()
    library.worker.submit(free.wait)
    toolset = rerank_toolset(Reranker("lexical", deadline=0.01), library)
    run = await Agent(calls({"place": "a.txt"}, tool="read"), toolsets=[toolset]).run("go")
    free.set()
    (returned,) = parts(run, ToolReturnPart)
    assert returned.content == "the file is still being read; ask again in a moment"


async def test_what_is_left_out_is_told_once_a_conversation(tmp_path):
    (tmp_path / "a.md").write_text("A flea jumps.")
    (tmp_path / "a.png").write_bytes(b"")
    toolset = rerank_toolset(Reranker("lexical"), Library([tmp_path]))
    agent = Agent(calls({"query": QUERY}, {"query": QUERY}, tool="search"), toolsets=[toolset])
    for _ in range(2):
        first, second = parts(await agent.run("go"), ToolReturnPart)
        assert [note.split(":")[0] for note in first.content.notes] == ["binary"]
        assert second.content.notes == ()
        assert second.metadata.faults == first.metadata.faults, "the program is told each time"


async def test_wrong_arguments_are_a_retry(tmp_path):
    (tmp_path / "a.md").write_text("A flea.\n")
    toolset = rerank_toolset(Reranker(), Library([tmp_path]))
    right = {"query": "q", "passages": ["a"]}
    for wrong, message in (
        ({"query": " ", "passages": ["a"]}, "the query is empty"),
        ({"query": "q", "passages": []}, "there are no passages to rank"),
        ({"query": "q", "passages": ["a"], "top_k": 0}, "greater than or equal to 1"),
        ({"query": "q"}, "Field required"),
    ):
        run = await Agent(calls(wrong, right), toolsets=[toolset]).run("go")
        retries = [*parts(run, RetryPromptPart), *parts(run, ToolReturnPart)]
        assert message in str(retries[0].content)
        assert run.output == "done"
    run = await Agent(
        calls({"query": "q", "path": "/etc"}, {"query": "flea"}, tool="search"), toolsets=[toolset]
    ).run("go")
    retries = [*parts(run, RetryPromptPart), *parts(run, ToolReturnPart)]
    assert "is no file or folder below" in str(retries[0].content)


async def test_what_the_model_cannot_fix_is_a_result(tmp_path):
    agent = Agent(
        calls({"query": "q", "passages": ["a", "b"]}), toolsets=[rerank_toolset(Reranker(Down()))]
    )
    (returned,) = parts(await agent.run("go"), ToolReturnPart)
    assert returned.content.partial
    assert returned.content.notes == ("failed: ConnectionError: connection refused [1, 2]",)
    empty = rerank_toolset(Reranker(), Library([tmp_path]))
    (returned,) = parts(
        await Agent(calls({"query": "q"}, tool="search"), toolsets=[empty]).run("go"),
        ToolReturnPart,
    )
    assert returned.content.notes[0].startswith("no text below ")


async def test_usage_is_added_to_the_run(stub, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    agent = Agent(
        calls({"query": "q", "passages": ["a", "b"]}),
        toolsets=[rerank_toolset(reranker_of("openai-chat:x"))],
    )
    own = (await Agent(calls(), toolsets=[]).run("go")).usage
    usage = (await agent.run("go")).usage
    assert len(stub.bodies) == 1
    assert usage.requests == 2 + 1
    assert usage.tool_calls == 1
    assert usage.input_tokens > own.input_tokens + 100


async def test_two_agents_share_a_reranker_and_its_cap(stub, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setattr(rearank_agent.llm.limits, "_cap", [Cap(2)])
    stub.script = lambda body: 0.05
    toolset = rerank_toolset(reranker_of("openai-chat:x"))
    passages = [str(number) for number in range(80)]
    agents = [Agent(calls({"query": "q", "passages": passages}), toolsets=[toolset]) for _ in "ab"]
    runs = await asyncio.gather(*(agent.run("go") for agent in agents))
    assert [run.output for run in runs] == ["done", "done"]
    assert stub.most == 2


@dataclass
class Deps:
    corpus: list[str]


async def test_the_capability_works_with_deps_and_streaming():
    async def script(messages, info):
        last = messages[-1].parts[-1]
        if isinstance(last, ToolReturnPart):
            yield f"best: {last.content.ranking[0].number}"
            return
        assert "rerank them" in info.instructions
        arguments = json.dumps({"query": QUERY, "passages": FLEAS})
        yield {0: DeltaToolCall(name="rerank", json_args=arguments)}

    agent = Agent(
        FunctionModel(stream_function=script), deps_type=Deps, capabilities=[Rerank(Reranker())]
    )

    @agent.tool
    def corpus(ctx: RunContext[Deps]) -> list[str]:
        return ctx.deps.corpus

    async with agent.run_stream("go", deps=Deps(FLEAS)) as run:
        assert await run.get_output() == "best: 2"
    async with agent.run_stream_events("go", deps=Deps(FLEAS)) as events:
        kinds = [type(event).__name__ async for event in events]
    assert "FunctionToolResultEvent" in kinds


async def test_the_instructions_mention_search_only_with_a_library(tmp_path):
    assert "search" not in Rerank(Reranker()).get_instructions()
    assert "search them" in Rerank(Reranker(), Library([tmp_path])).get_instructions()


class Page(BaseModel):
    title: str
    content: str


class Results(BaseModel):
    query: str
    results: list[Page]


PAGES = [Page(title=str(number), content=text) for number, text in enumerate(FLEAS)]
FORMS = {
    "texts": (FLEAS, [FLEAS[1], FLEAS[2]]),
    "objects": ([{"text": text} for text in FLEAS], [{"text": FLEAS[1]}, {"text": FLEAS[2]}]),
    "a list among others": (
        {"total": 3, "hits": [{"snippet": text} for text in FLEAS]},
        {"total": 3, "hits": [{"snippet": FLEAS[1]}, {"snippet": FLEAS[2]}]},
    ),
    "models": (PAGES, [PAGES[1], PAGES[2]]),
    "a model around": (
        Results(query="q", results=PAGES),
        Results(query="q", results=[PAGES[1], PAGES[2]]),
    ),
    "JSON": (json.dumps(FLEAS), json.dumps([FLEAS[1], FLEAS[2]])),
}


def searching(result):
    def search(query: str, limit: int = 3) -> object:
        if isinstance(result, Exception):
            raise result
        return result

    def other(query: str) -> object:
        return result

    return FunctionToolset([search, other])


@pytest.mark.parametrize("form", FORMS)
async def test_another_tools_results_come_reranked_in_their_form(form):
    given, expected = FORMS[form]
    toolset = Reranked(searching(given), reranker=Reranker(Judge()), top_k=2)
    run = await Agent(calls({"query": "q"}, tool="search"), toolsets=[toolset]).run("go")
    (returned,) = parts(run, ToolReturnPart)
    assert returned.content == expected
    assert isinstance(returned.metadata["rerank"], Ranking)
    assert parts(run, UserPromptPart)[-1].content == ("the best 2 of 3 results of search by query")


class Lengths(Judge):
    """Scores by length, out of forty."""

    scores, scale, window = True, 40.0, None

    async def judge(self, task, window):
        lengths = [float(len(task.candidates[p].text)) for p in window]
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        return Reply(tuple(order), tuple(lengths))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("min_score", [0.6, 1.0])
async def test_what_is_below_the_minimum_is_counted_and_left_out(form, min_score):
    given, _ = FORMS[form]
    toolset = Reranked(searching(given), reranker=Reranker(Lengths()), min_score=min_score)
    run = await Agent(calls({"query": "q"}, tool="search"), toolsets=[toolset]).run("go")
    (returned,) = parts(run, ToolReturnPart)
    kept = [text for text in FLEAS if text in str(returned.content)]
    assert kept == ([FLEAS[1]] if min_score < 1 else [])
    assert type(returned.content) is type(given)
    assert parts(run, UserPromptPart)[-1].content == (
        f"the best {len(kept)} of 3 results of search by query; "
        f"{3 - len(kept)} of 3 are below {min_score:g}"
    )


async def test_an_answer_leaves_out_what_is_below_the_minimum():
    shown = {}
    for floor, asked in ((None, 0.6), (0.6, None), (0.6, 0.2), (0.2, 0.6)):
        toolset = rerank_toolset(Reranker(Lengths()), min_score=floor)
        arguments = {"query": "q", "passages": FLEAS} | ({"min_score": asked} if asked else {})
        (returned,) = parts(
            await Agent(calls(arguments), toolsets=[toolset]).run("go"), ToolReturnPart
        )
        answer = returned.content
        shown[floor, asked] = [one.number for one in answer.ranking], answer.notes
    assert set(map(repr, shown.values())) == {repr(([2], ("2 of 3 are below 0.6",)))}


async def test_a_policy_that_orders_has_no_minimum():
    """It is refused where it is set up, and a model is not offered it."""
    refused = "needs a policy whose scores compare, and judge gives orders"
    for make in (
        lambda: Reranked(searching(FLEAS), reranker=Reranker(Judge()), min_score=0.5),
        lambda: rerank_toolset(Reranker(Judge()), min_score=0.5),
        lambda: Agent(calls(), capabilities=[Rerank(Reranker(Judge()), min_score=0.5)]),
    ):
        with pytest.raises(InputError, match=refused):
            make()
    with pytest.raises(InputError, match="a number from 0 to 1: 2"):
        Reranked(searching(FLEAS), reranker=Reranker(Lengths()), min_score=2)
    offered = []

    def script(messages, info):
        offered.append(
            {
                "min_score" in tool.parameters_json_schema["properties"]
                for tool in info.function_tools
            }
        )
        return ModelResponse([TextPart("done")])

    for policy in (Judge(), Lengths()):
        await Agent(FunctionModel(script), toolsets=[rerank_toolset(Reranker(policy))]).run("go")
    assert offered == [{False}, {True}]
    asked = [{"query": "q", "passages": FLEAS, "min_score": 0.5}, {"query": "q", "passages": FLEAS}]
    run = await Agent(calls(*asked), toolsets=[rerank_toolset(Reranker(Judge()))]).run("go")
    first = [*parts(run, RetryPromptPart), *parts(run, ToolReturnPart)][0]
    assert refused in str(first.content)


async def test_other_tools_are_left_alone():
    toolset = Reranked(searching(FLEAS), reranker=Reranker())
    run = await Agent(calls({"query": "flea"}, tool="other"), toolsets=[toolset]).run("go")
    (returned,) = parts(run, ToolReturnPart)
    assert returned.content == FLEAS
    assert returned.metadata is None


@pytest.mark.parametrize(
    ("given", "query", "why"),
    [
        ("Fleas jump.\n\nDogs bark.", "flea", "it holds no list"),
        ({"answer": 42}, "flea", "it holds no list"),
        (FLEAS, " ", "query is empty"),
    ],
)
async def test_what_cannot_be_reranked_passes_with_a_note(given, query, why):
    toolset = Reranked(searching(given), reranker=Reranker())
    run = await Agent(calls({"query": query}, tool="search"), toolsets=[toolset]).run("go")
    (returned,) = parts(run, ToolReturnPart)
    assert returned.content == given
    assert returned.metadata == {"rerank": why}
    note = parts(run, UserPromptPart)[-1].content
    assert note == f"search's result is as it came, not reranked: {why}"


async def test_a_policy_that_failed_leaves_the_result_unchanged_with_a_note():
    toolset = Reranked(searching(FLEAS), reranker=Reranker(Down()), top_k=1)
    run = await Agent(calls({"query": "flea"}, tool="search"), toolsets=[toolset]).run("go")
    (returned,) = parts(run, ToolReturnPart)
    assert returned.content == FLEAS
    assert parts(run, UserPromptPart)[-1].content == (
        "search's result is as it came, not reranked: "
        "failed: ConnectionError: connection refused [1, 2, 3]"
    )


async def test_what_a_tool_returns_beside_its_value_is_kept():
    given = ToolReturn(FLEAS, content="from the web", metadata={"page": 1})
    toolset = Reranked(searching(given), reranker=Reranker(), top_k=1)
    run = await Agent(calls({"query": "flea jump"}, tool="search"), toolsets=[toolset]).run("go")
    (returned,) = parts(run, ToolReturnPart)
    assert returned.content == [FLEAS[1]]
    assert returned.metadata["page"] == 1
    assert parts(run, UserPromptPart)[-1].content == [
        "from the web",
        "the best 1 of 3 results of search by query",
    ]


async def test_a_tool_that_fails_fails_as_before():
    toolset = Reranked(searching(ModelRetry("other words")), reranker=Reranker())
    with pytest.raises(UnexpectedModelBehavior):
        await Agent(calls(*[{"query": "a"}] * 9, tool="search"), toolsets=[toolset]).run("go")


async def test_a_missing_tool_or_argument_is_reported():
    toolset = Reranked(searching(FLEAS), tool="serch")
    with pytest.warns(UserWarning, match="no tool 'serch' to rerank; there is search, other"):
        assert (await Agent(calls(), toolsets=[toolset]).run("go")).output == "done"
    toolset = Reranked(searching(FLEAS), query_arg="q")
    with pytest.raises(SetupError, match="search has no argument 'q'; it has query, limit"):
        await Agent(calls(), toolsets=[toolset]).run("go")
    with pytest.raises(InputError, match="top_k must be at least 1, not 0"):
        Reranked(searching(FLEAS), top_k=0)


async def test_a_heading_stays_in_front_of_the_best():
    heading = f"Results for '{QUERY}'"
    toolset = Reranked(searching([heading, *FLEAS]), reranker=Reranker(), top_k=1)
    run = await Agent(calls({"query": QUERY}, tool="search"), toolsets=[toolset]).run("go")
    (returned,) = parts(run, ToolReturnPart)
    assert returned.content == [heading, FLEAS[1]]


@pytest.mark.parametrize(
    "given",
    [
        [], ["one"], {"results": []}, {"results": [{"text": "a"}]}, "No matches.",
        ["Results for 'flea':", "one"],
    ],
)  # fmt: skip
async def test_a_result_with_nothing_to_rank_has_no_note(given):
    toolset = Reranked(searching(given), reranker=Reranker())
    run = await Agent(calls({"query": "flea"}, tool="search"), toolsets=[toolset]).run("go")
    (returned,) = parts(run, ToolReturnPart)
    assert (returned.content, returned.metadata) == (given, None)
    assert [part.content for part in parts(run, UserPromptPart)] == ["go"]


async def test_the_results_of_an_mcp_server_come_reranked():
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("files")

    @server.tool()
    def search(query: str) -> list[str]:
        return FLEAS

    toolset = Reranked(MCPToolset(server), reranker=Reranker(), top_k=1)
    agent = Agent(calls({"query": QUERY}, tool="search"), toolsets=[toolset])
    async with agent:
        (returned,) = parts(await agent.run("go"), ToolReturnPart)
    assert FLEAS[1] in str(returned.content)
    assert FLEAS[0] not in str(returned.content)
