"""What is odd about a model's reply is a fault, whichever provider it came from."""

import json

import pytest
from starlette.responses import Response

from helpers.stub import backwards, completion
from rearank_agent import Fault, Passage, Reranker
from rearank_agent.llm.chat_reply import same_model
from rearank_agent.llm.policy import LLM
from rearank_agent.text import whole_characters

PASSAGES = [Passage("a", "a flea"), Passage("b", "a dog")]
HALF = Fault(
    "surrogate", (), "half characters (lone surrogates) in the model's reply are shown as U+FFFD"
)
ANSWER = "<think>\n[1] is bad \ud83d.\n</think>\n<answer>[2] > [1]</answer>"

KEPT = []  # one that is collected leaves its connections to chance


def kept(name):
    KEPT.append(LLM(name))
    return KEPT[-1]


def responses(body):
    """A reply of OpenAI's responses, with half a character."""
    part = {"type": "output_text", "text": ANSWER, "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
    return {
        "id": "r", "object": "response", "created_at": 1, "model": body["model"], "tools": [],
        "status": "completed", "output": [message | {"content": [part]}], "tool_choice": "auto",
        "parallel_tool_calls": True,
    }  # fmt: skip


@pytest.mark.parametrize("provider", ["vllm", "openai-chat", "openai"])
def test_half_a_character_in_a_reply_is_replaced(provider, stub, monkeypatch):
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
    monkeypatch.setenv("OPENAI_API_KEY", "any-key")
    stub.script = responses if provider == "openai" else lambda body: completion(ANSWER)
    ranking = Reranker(kept(f"{provider}:gpt-4o")).rerank_sync("flea", PASSAGES)
    assert [one.id for one in ranking.passages] == ["b", "a"]
    assert ranking.steps[0].reply.reasoning == "[1] is bad \ufffd."
    assert [one for one in ranking.faults if one.kind != "setting"] == [HALF]
    json.loads(ranking.to_json().encode())


def test_half_a_character_in_an_error_is_replaced(stub, monkeypatch):
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    stub.script = lambda body: Response('{"error": "no \\ud83d here"}', status_code=400)
    ranking = Reranker(kept("vllm:m")).rerank_sync("flea", PASSAGES)
    detail = "PolicyError: the server answered 400: no \ufffd here"
    assert ranking.faults == (Fault("failed", ("a", "b"), detail),)


def test_a_key_in_a_reply_is_struck_out(stub, monkeypatch):
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    monkeypatch.setenv("VLLM_API_KEY", "very-secret-key")
    text = "<think>\n[1] has very-secret-key.\n</think>\n<answer>[2] > [1]</answer>"
    stub.script = lambda body: completion(text)
    ranking = Reranker(kept("vllm:m")).rerank_sync("flea", PASSAGES)
    assert ranking.steps[0].reply.reasoning == "[1] has ***."
    assert ranking.passages[1].rationale.text == "[1] has ***."
    assert "very-secret-key" not in ranking.to_json()


def test_whole_characters_stay():
    assert whole_characters("é 😀 \udc00\ud83d") == "é 😀 \ufffd\ufffd"


def test_another_model_in_the_reply_is_a_fault(stub, monkeypatch):
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    stub.script = lambda body: backwards(body) | {"model": "tiny\n\ud83d"}
    ranking = Reranker(kept("vllm:big")).rerank_sync("flea", PASSAGES)
    assert [one.id for one in ranking.passages] == ["b", "a"]
    assert ranking.faults == (Fault("model", (), "tiny \ufffd answered, where big was asked for"),)


@pytest.mark.parametrize(
    ("asked", "named", "same"),
    [
        ("gpt-x", "gpt-x-2026-01-01", True),
        ("gpt-x-2026-01-01", "gpt-x-2026-02-01", False),
        ("gpt-x", "gpt-x-mini", False),
        ("gpt-x", "gpt-x-mini-2026-01-01", False),
        ("claude-latest", "claude-20260101", True),
        ("gemini-2.0-flash", "models/gemini-2.0-flash-001", True),
        ("Qwen/Qwen3-8B", "qwen3-8b", True),
        ("qwen3-8b", "/srv/models/Qwen3-8B.gguf", True),
        ("qwen3-8b", "/srv/models/Qwen3-8B/", True),
        ("qwen3", "qwen3:latest", True),
        ("qwen3:8b", "qwen3:14b", False),
        ("a/model", "b/model", False),
        ("m", "", True),
    ],
)
def test_an_alias_is_the_same_model_and_another_version_is_not(asked, named, same):
    assert same_model(asked, named) is same
    assert same_model(named, asked) is same or not named
