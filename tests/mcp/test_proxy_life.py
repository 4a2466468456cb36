"""How a proxy and the server behind it start and end."""

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from time import perf_counter

import pytest

from helpers.driver import until
from helpers.proxied import BEST, QUERY, WAYWARD, find, works

linux = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")


def failed(driver, way):
    key = driver.ask("tools/call", name="find", arguments={"way": way, "query": QUERY})
    return driver.answer(key)["error"]


def test_garbage_is_left_out_and_a_server_that_ends_is_restarted(proxy):
    driver = proxy("--rerank", "seek").start("wayward")
    driver.answer(driver.ask("tools/list"))
    assert [part["text"] for part in find(driver, "speaks garbage")["content"][:2]] == BEST
    for _ in range(2):
        message = "the wrapped server ended with exit code 3"
        assert failed(driver, "dies") == {"code": -32603, "message": message}
        assert works(driver)  # it was initialized again, unasked
    flood = "the wrapped server was ended, since a message has more than 33,554,432 bytes"
    assert failed(driver, "floods") == {"code": -32603, "message": flood}
    assert works(driver)
    code, out, err = driver.end()
    assert (code, out) == (0, b"")
    warned = [
        line.removeprefix("WARNING rearank_mcp.proxy.relay: the wrapped server ")
        for line in err.splitlines()
    ]
    assert warned == [
        "has no tool seek; it has find",
        "wrote no JSON-RPC message; left out: Warning: the index is old",
        'wrote no JSON-RPC message; left out: {"jsonrpc": "2.0", "id":',
        "wrote no JSON-RPC message; left out: \ufffd\ufffd",
        f"wrote no JSON-RPC message; left out: {'[' * 119}…",
        *["ended with exit code 3; the next request restarts it"] * 2,
        "was ended, since a message has more than 33,554,432 bytes; the next request restarts it",
    ]


def children(driver):
    return (
        Path(f"/proc/{driver.process.pid}/task/{driver.process.pid}/children").read_text().split()
    )


@linux
def test_a_server_that_ends_while_nobody_waits_is_reported_once(proxy):
    driver = proxy().start("wayward")
    assert works(driver)
    os.kill(int(children(driver)[0]), signal.SIGKILL)
    until(lambda: not children(driver))
    driver.send("notifications/cancelled", requestId=99)  # nobody hears it
    assert failed(driver, "blocks")["message"] == "the wrapped server was ended by SIGKILL"
    assert works(driver)


@linux
@pytest.mark.parametrize("way", ["end of stdin", "signal"])
def test_a_server_that_hangs_ends_with_the_proxy(proxy, way):
    driver = proxy().start("wayward")
    key = driver.ask("tools/call", name="find", arguments={"way": "hangs"})
    (child,) = children(driver)
    begun = perf_counter()
    if way == "signal":
        driver.process.send_signal(signal.SIGTERM)
        assert driver.process.wait(15) == 0
    code, out, _ = driver.end()
    assert code == 0
    if way == "end of stdin":
        assert json.loads(out) == refusal(key, "is ended with its host")
    assert perf_counter() - begun < 10
    assert not alive(child)


def refusal(key, ending):
    error = {"code": -32603, "message": f"the wrapped server {ending}"}
    return {"jsonrpc": "2.0", "id": key, "error": error}


def alive(pid):
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


@linux
@pytest.mark.parametrize("waits", [[], [0, 0.1], [0.4]])
def test_a_server_that_only_sigkill_ends_ends_with_the_proxy(proxy, waits):
    driver = proxy(command=(sys.executable, WAYWARD, "ends by force alone")).start("wayward")
    assert works(driver)
    (child,) = children(driver)
    if waits != [0, 0.1]:
        driver.process.stdin.close()
    for wait in waits:
        time.sleep(wait)
        driver.process.send_signal(signal.SIGTERM)
    assert driver.process.wait(15) == 0
    until(lambda: not alive(child))


@linux
def test_a_server_that_hangs_after_a_restart_ends_with_the_host(proxy, tmp_path):
    command = (sys.executable, WAYWARD, "hangs the second time", str(tmp_path / "once"))
    driver = proxy(command=command).start("wayward")
    assert failed(driver, "dies") == refusal(2, "ended with exit code 3")["error"]
    key = driver.ask("tools/call", name="find", arguments={"way": "blocks"})
    gone = driver.ask("tools/call", name="find", arguments={"way": "blocks"})
    driver.send("notifications/cancelled", requestId=gone)
    until(lambda: children(driver))
    (child,) = children(driver)
    code, out, _ = driver.end()
    assert (code, json.loads(out)) == (0, refusal(key, "is ended with its host"))
    assert not alive(child)


def test_a_server_whose_child_keeps_its_stdout_is_seen_to_end(proxy):
    driver = proxy().start("wayward")
    key = driver.ask("tools/call", name="find", arguments={"way": "leaves a child"})
    child = driver.read()["params"]["data"]
    assert driver.answer(key) == refusal(key, "ended with exit code 6")
    until(lambda: not alive(child))
    assert works(driver)


def test_a_server_that_ends_in_the_handshake_gets_all_of_it_again(proxy, tmp_path):
    command = (sys.executable, WAYWARD, "ends in the first handshake", str(tmp_path / "once"))
    driver = proxy(command=command)
    driver.answer(driver.ask("initialize", protocolVersion="x"))
    line = driver.process.stderr.readline()
    assert line.endswith(b"ended with exit code 7; the next request restarts it\n")
    driver.send("notifications/initialized")
    assert failed(driver, "blocks") == refusal(2, "ended with exit code 7")["error"]
    assert works(driver)


def test_requests_of_a_server_that_ended_are_cancelled(proxy):
    driver = proxy().start("wayward")
    key = driver.ask("tools/call", name="find", arguments={"way": "asks and dies"})
    assert driver.read()["method"] == "elicitation/create"
    params = {"requestId": 0, "reason": "the server ended with exit code 3"}
    taken_back = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
    assert driver.read() == taken_back
    assert driver.read() == refusal(key, "ended with exit code 3")


@linux
def test_each_request_of_a_batch_is_answered_when_the_server_has_ended(proxy):
    driver = proxy().start("wayward")
    os.kill(int(children(driver)[0]), signal.SIGKILL)
    until(lambda: not children(driver))
    time.sleep(0.2)
    call = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "find"}}
    driver.write(json.dumps([{**call, "id": key} for key in (1.5, "a")]).encode())
    assert [driver.read() for _ in range(2)] == [
        refusal(key, "was ended by SIGKILL") for key in (1.5, "a")
    ]


def test_open_requests_are_answered_when_the_host_closes(proxy):
    driver = proxy().start("wayward")
    for _ in range(3):
        driver.ask("tools/call", name="find", arguments={"way": "blocks", "query": QUERY})
    code, out, err = driver.end()
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["result"]["content"][0]["text"] for answer in answers] == [BEST[0]] * 3
    assert (code, err) == (0, "")


def test_a_server_that_does_not_start_is_an_error(proxy):
    driver = proxy(command=(sys.executable, WAYWARD, "lacks something"))
    for _ in range(2):
        ended = {"code": -32603, "message": "the wrapped server ended with exit code 1"}
        assert driver.answer(driver.ask("initialize", protocolVersion="x"))["error"] == ended
    assert driver.end()[2].count("no key is set") == 2
    driver = proxy(command=("no-such-program-here",))
    message = "rearank-agent: there is no program 'no-such-program-here' to start as a server\n"
    assert driver.end() == (1, b"", message)
    driver = proxy("--policy", "nobody")
    code, _, err = driver.end()
    assert (code, err.count("\n")) == (2, 1)


def test_a_message_of_the_host_that_is_too_long_is_an_error(proxy):
    driver = proxy().start("wayward")
    with suppress(BrokenPipeError):  # it does not listen to the end
        driver.process.stdin.write(b"x" * 40_000_000)
    code = driver.process.wait(20)
    err = driver.process.stderr.read().decode()
    assert (code, err) == (
        0,
        "ERROR rearank_mcp.proxy.relay: cannot read from the host any more: "
        "a message has more than 33,554,432 bytes\n",
    )


def test_numbers_and_names_that_no_protocol_has_end_nothing(proxy):
    driver = proxy().start("wayward")
    assert [part["text"] for part in find(driver, "tells an odd progress")["content"][:2]] == BEST
    key = driver.ask("tools/call", name=["find"], arguments={"query": QUERY})
    assert "result" in driver.answer(key)
    driver.write(b'{"jsonrpc":"2.0","id":NaN,"method":"resources/list"}')
    assert [part["text"] for part in find(driver, "blocks")["content"][:2]] == BEST
    code, _, err = driver.end()
    assert (code, "Traceback" in err, "restarts" in err) == (0, False, False)
