"""The command line with a model behind the stub server."""

import json
import re
from pathlib import Path

import pytest
from starlette.responses import Response

from helpers.stub import backwards, completion
from helpers.terminal import in_terminal

FLEAS = str(Path(__file__).parents[2] / "examples" / "fleas.jsonl")
ASK = ("rerank", "how long do fleas live", FLEAS, "--policy", "vllm:m")
IDS = [json.loads(line)["id"] for line in Path(FLEAS).read_text().splitlines()]


@pytest.fixture(autouse=True)
def address(stub, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    monkeypatch.setenv("REARANK_CACHE", str(tmp_path_factory.mktemp("cache")))


def ids(out):
    return [json.loads(line)["id"] for line in out.splitlines()]


def test_a_model_ranks_and_its_replies_are_cached(run, stub):
    code, out, err = run(*ASK)
    assert (code, ids(out)) == (0, IDS[::-1])
    assert "note" not in err
    assert json.loads(out.splitlines()[-1])["evidence"] == "[1] is the worst."
    assert run(*ASK)[1] == out
    assert len(stub.bodies) == 1
    assert run(*ASK, "--replay")[1] == out
    run(*ASK, "--no-cache")
    assert len(stub.bodies) == 2


def test_replaying_what_is_not_cached_fails(run, stub):
    code, out, err = run(*ASK, "--replay")
    assert (code, ids(out)) == (3, IDS)
    assert "replaying, and no reply is cached in " in err
    assert stub.bodies == []


def test_prompt_options_reach_the_model(run, stub, tmp_path):
    run(*ASK, "--no-think")
    assert "Do not explain." in stub.bodies[-1]["messages"][-1]["content"]
    assert stub.bodies[-1]["chat_template_kwargs"] == {"enable_thinking": False}
    run(*ASK, "--effort", "low")
    assert stub.bodies[-1]["reasoning_effort"] == "low"
    text = (Path(__file__).parents[2] / "rearank_agent/listwise/templates/default.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("careful judge", "harsh judge"))
    run(*ASK, "--template", str(tmp_path / "mine.toml"))
    assert "harsh judge" in stub.bodies[-1]["messages"][0]["content"]
    stub.script = lambda body: completion(
        "<answer>" + ", ".join(f"[{i}] {i % 11}" for i in range(1, 13)) + "</answer>"
    )
    code, out, _ = run(*ASK, "--format", "scores")
    assert code == 0
    assert json.loads(out.splitlines()[0])["id"] == IDS[9]


def test_votes_have_a_confidence(run, stub):
    code, out, _ = run(*ASK, "--votes", "3")
    assert code == 0
    assert len(stub.bodies) == 3
    assert all(0 <= json.loads(line)["confidence"] <= 1 for line in out.splitlines())


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (
            ("--policy", "lexical", "--no-think"),
            2,
            "the policy lexical is no language model and takes no options: think",
        ),
        (("--policy", "lexical", "--votes", "3"), 2, "ranks by the whole request"),
        (("--policy", "lexical", "--replay"), 2, "ranks by the whole request"),
        (("--no-think", "--effort", "low"), 2, "effort is for a model that thinks"),
        (("--votes", "1"), 2, "Invalid value for '--votes'"),
        (("--effort", "huge"), 2, "Invalid value for '--effort'"),
        (("--template", "none.toml"), 1, "the template none.toml cannot be used"),
        (("--template", "rearank-8b"), 1, "this package has: default, rearank-7b"),
        (("--window", "1"), 2, "Invalid value for '--window'"),
        (("--cut", "39"), 2, "Invalid value for '--cut'"),
        (("--policy", "lexical", "--cut", "400"), 2, "takes no options: cut"),
        (("--schedule", "groups"), 2, "needs scores that compare"),
        (("--policy", "anthropic:x"), 1, "pydantic-ai-slim[anthropic]"),
        (("--policy", "nobody:x"), 1, "nobody:x: Unknown"),
    ],
)
def test_options_that_do_not_go_together(run, more, code, said):
    got, out, err = run(*ASK, *more)
    assert (got, out) == (code, "")
    assert said in " ".join(re.sub(r"[│╭╮╰╯─]", " ", err).split())


def test_a_server_that_refuses_says_why(run, stub):
    stub.script = lambda body: Response('{"error": {"message": "no m here"}}', status_code=404)
    code, out, err = run(*ASK)
    assert (code, ids(out)) == (3, IDS)
    assert "note: failed: PolicyError: the server answered 404: no m here" in err


def test_a_person_sees_at_once_that_nothing_was_ranked(stub):
    stub.script = lambda body: Response('{"error": {"message": "no m here"}}', status_code=404)
    code, shown = in_terminal([*ASK, "--top", "2"])
    plain = [line.split() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown).splitlines()]
    assert code == 3
    said = "not ranked, the order is as given: failed: PolicyError: the server answered 404:"
    head = next(at for at, line in enumerate(plain) if line[:2] == ["rank", "moved"])
    assert plain[head - 2] == said.split()  # a busy machine shows before that how far it is
    assert plain[head - 1][:3] == ["no", "m", "here"]
    assert [line[:3] for line in plain if line[:1] in (["1"], ["2"])] == [
        ["1", "=", "–"],
        ["2", "=", "–"],
    ]


def test_a_person_sees_what_it_cost():
    code, shown = in_terminal([*ASK, "--top", "2"])
    plain = " ".join(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown).split())
    assert code == 0
    assert re.search(
        r"12 passages by vllm:m, tournament:20, \d+\.\d\d s, 1 call, 110 tokens;", plain
    )
    again = " ".join(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", in_terminal([*ASK])[1]).split())
    assert "0 calls, 1 from the cache, 0 tokens" in again


def test_the_plan_of_a_model(run, stub):
    code, out, _ = run("plan", FLEAS, "--policy", "vllm:m", "--json")
    rows = {row["schedule"]: row for row in json.loads(out)}
    assert code == 0
    one = rows["sliding:20:10"]
    assert (one["calls"], one["reply_tokens"], one["format"]) == (1, 2048, "any")
    assert 700 < one["prompt_tokens"] < 1500
    assert rows["groups:20"]["format"] == "--format scores"
    assert stub.bodies == []
    code, out, _ = run("plan", "--policy", "vllm:m")
    assert "prompt tokens" in out


def test_the_doctor_asks_the_server(run, stub, tmp_path):
    stub.models = [{"id": "m", "root": str(tmp_path), "max_model_len": 32768}]
    stub.count = lambda body: 10
    code, out, _ = run("doctor", "--policy", "vllm:m", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["policy"] == "vllm:m (--policy)"
    assert (report["model"], report["takes"]) == (str(tmp_path), "32768 tokens")
    assert "20 passages" in report
    assert [key for key in report if key.startswith(("note", "problem"))] == []

    code, out, _ = run("doctor", "--policy", "vllm:other", "--json")
    assert code == 1
    assert json.loads(out)["problem"] == f"{stub.url} serves m, and no 'other'"


def test_the_doctor_and_the_published_model(run, stub):
    stub.models = [{"id": "rearank", "root": "org/Rearank-7B", "max_model_len": 32768}]
    stub.script = backwards
    _, out, _ = run("doctor", "--policy", "vllm:rearank", "--json")
    assert "--template rearank-7b" in json.loads(out)["note: words"]


def test_the_doctor_without_a_server(run, monkeypatch):
    monkeypatch.delenv("VLLM_BASE_URL")
    code, out, _ = run("doctor", "--policy", "vllm:m", "--json")
    assert code == 1
    assert json.loads(out)["problem"].startswith("no vLLM server is known: set VLLM_BASE_URL")
