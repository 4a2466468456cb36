"""The proxy before servers of other people, which work on files of their own."""

import asyncio
import json
import os
import re
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from helpers.terminal import PROGRAM

BIN = Path(os.environ["REARANK_TEST_NODE"]) / "node_modules" / ".bin"
FLEAS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "examples" / "fleas.jsonl").read_text().splitlines()
]
README = Path(__file__).parents[2] / "README.md"
TREATMENT = "Getting rid of fleas"


def direct(*command, **environment):
    return StdioServerParameters(
        command=str(BIN / command[0]), args=[*command[1:]], env={**os.environ, **environment}
    )


def proxied(tool, *command, **environment):
    options = ["mcp", "proxy", "--rerank", tool, "--top-k", "3", "--", str(BIN / command[0])]
    return StdioServerParameters(
        command=PROGRAM, args=[*options, *command[1:]], env={**os.environ, **environment}
    )


async def both(tool, arguments, *command, **environment):
    """What the tool gives alone and through the proxy; the tools that both list are the same."""
    results, offered = [], []
    for server in (direct(*command, **environment), proxied(tool, *command, **environment)):
        async with Client(server) as client:
            listed = (await client.list_tools()).tools
            offered.append([one.model_dump(exclude={"meta"}) for one in listed])
            results.append(await client.call_tool(tool, arguments))
    assert offered[0] == offered[1]
    return results


async def test_notes_in_markdown(tmp_path):
    """A server of the newest protocol that answers with JSON in a text block."""
    for one in FLEAS:
        (tmp_path / f"{one['id']}.md").write_text(f"# {one['title']}\n\n{one['text']}\n")
    asked = {"query": "fleas come back after treatment", "limit": 20}
    before, after = await both("search_notes", asked, "mcpvault", str(tmp_path))
    found, best = (json.loads(result.content[0].text) for result in (before, after))
    assert len(found) > len(best) == 3
    assert all(one in found for one in best)
    assert best[0]["p"] == "treatment.md"
    assert after.content[1].text.startswith(
        "reranked for “fleas come back after treatment”: the best 3 of "
    )
    numbers = [line["number"] for line in after.meta["rearank-agent/ranking"]["ranking"]]
    assert [found[number - 1] for number in numbers] == best


async def test_a_knowledge_graph(tmp_path):
    """A server that gives structured content, which its client checks, and the same as text."""
    graph = tmp_path / "graph.jsonl"
    entities = [
        {"name": one["title"], "entityType": "note", "observations": [one["text"]]} for one in FLEAS
    ]
    graph.write_text("".join(json.dumps({"type": "entity", **one}) + "\n" for one in entities))
    before, after = await both(
        "search_nodes", {"query": "fleas"}, "mcp-server-memory", MEMORY_FILE_PATH=str(graph)
    )
    found, best = before.structured_content, after.structured_content
    assert len(found["entities"]) > 3
    assert best["entities"][0]["name"] == TREATMENT
    assert len(best["entities"]) == 3
    assert all(one in found["entities"] for one in best["entities"])
    assert best["relations"] == found["relations"] == []
    assert json.loads(after.content[0].text) == best
    shown = re.search(r"```text\n(reranked for “fleas”.*?)```", README.read_text(), re.DOTALL)[1]
    said = after.content[1].text
    assert said.rpartition(" run ")[0] == shown.rpartition(" run ")[0]


async def test_a_server_that_has_everything():
    """Progress, cancelling, resources and prompts of another SDK."""
    steps = []

    async def progress(*step):
        steps.append(step)

    async with Client(proxied("echo", "mcp-server-everything")) as client:
        work = {"duration": 0.3, "steps": 3}
        done = await client.call_tool(
            "trigger-long-running-operation", work, progress_callback=progress
        )
        assert done.content[0].text.startswith("Long running operation completed.")
        assert [step[:2] for step in steps] == [(1, 3), (2, 3), (3, 3)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.call_tool("trigger-long-running-operation", {"duration": 60})
        said = await client.call_tool("echo", {"message": "hello"})
        assert [part.text for part in said.content] == ["Echo: hello"], "one item needs no note"
        assert (await client.list_resources()).resources
        assert (await client.list_prompts()).prompts
        image = await client.call_tool("get-tiny-image", {})
        assert "image" in [part.type for part in image.content]
