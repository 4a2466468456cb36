"""The server as hosts start it: a process with two pipes, read byte by byte."""

import asyncio
import json
import os
import signal
import sys
import textwrap
from pathlib import Path
from time import perf_counter

import pytest
from mcp import Client, StdioServerParameters

from helpers.driver import Driver, until
from helpers.terminal import PROGRAM, in_terminal

# Prints in every way a library may: when it is made, at work, and at the end.
LOUD = textwrap.dedent("""
    import atexit, logging, os, subprocess, sys
    from rearank_agent.policies import lexical
    from rearank_agent.policies import registry as policies
    policy = policies.policy
    def early(name, **asking):
        print("loud at the start")
        return policy(name, **asking)
    policies.policy = early
    judge = lexical.Lexical.judge
    async def loud(self, task, window):
        print("loud", flush=False)
        sys.stdout.write("loud\\n")
        sys.__stdout__.write("loud\\n")
        os.write(1, b"loud\\n")
        subprocess.run(["echo", "loud"])
        logging.getLogger("loud").warning("REARANK_TEST_KEY is %s", os.environ["REARANK_TEST_KEY"])
        return await judge(self, task, window)
    lexical.Lexical.judge = loud
    atexit.register(print, "loud at the end")
    from rearank_agent.cli import main
    main()
""")


@pytest.fixture
def drive():
    started = []

    def start(*options, command=(PROGRAM,), **more):
        started.append(Driver([*command, "mcp", *options], **more))
        return started[-1]

    yield start
    for driver in started:
        driver.process.kill()
        driver.process.communicate()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A server for tests that leave it as they found it."""
    env = {**os.environ, "REARANK_CACHE": str(tmp_path_factory.mktemp("cache"))}
    driver = Driver([PROGRAM, "mcp", "--policy", "lexical"], env=env).start()
    yield driver
    driver.process.kill()
    driver.process.communicate()


def works(driver):
    result = driver.call("rerank", query="flea", passages=["a dog", "a flea"])
    return result["structuredContent"]["ranking"][0]["number"] == 2


def test_it_speaks_until_stdin_ends(drive):
    driver = drive().start()
    assert works(driver)
    start = perf_counter()
    assert driver.end() == (0, b"", "")
    assert perf_counter() - start < 5


def test_only_the_protocol_is_on_stdout_whatever_prints(drive, monkeypatch):
    monkeypatch.setenv("REARANK_TEST_KEY", "hush-hush")
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # what is printed waits for the end
    driver = drive("--policy", "lexical", command=(sys.executable, "-c", LOUD)).start()
    for _ in range(3):
        assert works(driver)
    code, out, err = driver.end()
    assert (code, out) == (0, b"")
    assert err.count("loud\n") >= 12
    assert "loud at the start" in err
    assert "REARANK_TEST_KEY is ***" in err
    assert "hush-hush" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(drive, number):
    driver = drive().start()
    assert works(driver)
    driver.process.send_signal(number)
    assert driver.process.wait(10) == 0
    assert driver.end() == (0, b"", "")


@pytest.mark.parametrize("way", ["signal", "end of stdin"])
def test_ending_it_ends_the_model_calls(drive, stub, monkeypatch, way):
    stub.script = lambda body: 60
    monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    driver = drive("--policy", "openai-chat:slow").start()
    driver.ask("tools/call", name="rerank", arguments={"query": "q", "passages": ["a", "b"]})
    until(lambda: stub.running)
    if way == "signal":
        driver.process.send_signal(signal.SIGTERM)
        assert driver.process.wait(10) == 0
    assert driver.end()[0] == 0
    until(lambda: stub.given_up)


NOISE = {
    "not JSON": b"hello",
    "invalid UTF-8": b'{"jsonrpc": "2.0", "id": 7, "method": "\xff\xfe"}',
    "not a message": b'{"a": 1}',
    "a list": b"[]",
    "null": b"null",
    "nothing": b"",
    "deep": b"[" * 100_000,
    "a surrogate": b'{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"rerank",'
    b'"arguments":{"query":"\\ud800","passages":["a"]}}}',
    "an unknown method": b'{"jsonrpc": "2.0", "id": "x", "method": "nope"}',
    "20 MB": json.dumps(
        {
            "jsonrpc": "2.0",
            "id": "x",
            "method": "tools/call",
            "params": {
                "name": "rerank",
                "arguments": {"query": "q", "passages": ["a" * 20_000_000]},
            },
        }
    ).encode(),
}


@pytest.mark.parametrize("id_first", [True, False])
def test_very_many_values_are_answered_before_they_are_parsed(shared, id_first):
    shared.number += 1
    head = {"jsonrpc": "2.0", "method": "tools/call"}
    arguments = {"query": 'q {"id": 9}', "passages": [""] * 200_000}
    params = {"params": {"name": "rerank", "arguments": arguments}}
    own = {"id": shared.number}
    message = {**head, **own, **params} if id_first else {**head, **params, **own}
    shared.write(json.dumps(message).encode())
    answer = shared.answer(shared.number)
    assert answer["error"]["code"] == -32602
    assert "at most 1,000 passages are ranked in one request" in answer["error"]["message"]
    assert "structuredContent" in shared.call("rerank", query="q", passages=["a"])


@pytest.mark.parametrize("key", [r'"\x"', r'"\ud83d"', '"\t"'])
def test_an_id_that_is_no_json_ends_nothing(shared, key):
    values = b"[0" + b",0" * 60_000 + b"]"
    shared.write(b'{"jsonrpc":"2.0","id":%s,"method":"a","params":%s}' % (key.encode(), values))
    assert shared.answer(None)["error"]["code"] == -32602
    assert works(shared)


def test_half_an_emoji_is_answered(shared):
    for text, shown in (
        (r"flea \ud83d", "flea \ufffd"),
        (r"\uDC00 flea \ud83d\ude00", "\ufffd flea \U0001f600"),
        (r"flea \\ud83d", "flea \\ud83d"),
    ):
        shared.number += 1
        shared.write(
            f'{{"jsonrpc":"2.0","id":{shared.number},"method":"tools/call","params":{{"name":'
            f'"rerank","arguments":{{"query":"{text}","passages":["a","b"]}}}}}}'.encode()
        )
        run = shared.answer(shared.number)["result"]["structuredContent"]["run"]
        assert f"query: {shown}\n" in shared.call("explain", run=run)["structuredContent"]["text"]


def test_noise_does_no_harm(shared):
    for case, noise in NOISE.items():
        shared.write(noise)
        number = shared.ask("ping")
        assert "error" not in shared.answer(number), case
        assert works(shared), case


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_speaks_with_it(mode, tmp_path):
    (tmp_path / "a.md").write_text("A flea jumps up to 20 cm.\n")
    server = StdioServerParameters(command=PROGRAM, args=["mcp", "--root", str(tmp_path)])
    async with Client(server, mode=mode) as client:
        assert client.server_info.name == "rearank-agent"
        assert "search: the answer is in files" in client.instructions
        result = await client.call_tool("search", {"query": "how far can fleas jump"})
        assert "20 cm" in result.structured_content["ranking"][0]["snippet"]
        call = client.call_tool("rerank", {"query": "q", "passages": ["flea " * 99] * 900})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call, 0.2)
        result = await client.call_tool("rerank", {"query": "q", "passages": ["a", "b"]})
        assert not result.is_error


def test_what_is_not_configured_is_one_line_on_stderr(drive, tmp_path):
    for options, message in (
        (("--policy", "nope"), "nope"),
        (("--root", str(tmp_path / "none")), "there is no file or folder"),
        (("--policy", "vllm:x"), "VLLM_BASE_URL"),
    ):
        code, out, err = drive(*options).end()
        assert (code, out) == (2 if "VLLM" not in message else 1, b"")
        assert message in err
        assert len(err.strip().splitlines()) == 1


def test_a_host_that_starts_it_in_the_root_gets_no_whole_disk(drive):
    driver = drive(cwd=Path("/")).start()
    result = driver.call("search", query="flea")
    assert result["isError"]
    assert "no folder was named" in result["content"][0]["text"]


def test_in_a_terminal_it_says_what_it_waits_for():
    code, shown = in_terminal(["mcp"], "Ctrl-C ends it")
    assert code == 0
    assert "speaking MCP on stdin and stdout" in shown
