"""A bound on replies for pydantic-ai's own providers."""

import gzip
import json

import pytest
from starlette.responses import Response

from helpers.stub import completion
from rearank_agent import Reranker
from rearank_agent.llm import bounded
from rearank_agent.llm.bounded import UnboundedReplyError, unbounded_reply
from rearank_agent.llm.policy import LLM


@pytest.fixture
def ask(stub, monkeypatch):
    """Rank two passages by a provider of pydantic-ai's; gives the ranking."""
    monkeypatch.setenv("OLLAMA_BASE_URL", stub.url)
    monkeypatch.setenv("OLLAMA_API_KEY", "any")

    async def go(response):
        stub.script = lambda body: response
        judge = LLM("ollama:m")
        ranking = await Reranker(judge).rerank("q", ["a", "b"])
        await judge.chat.close()
        return ranking

    return go


async def test_a_reply_within_the_bound_is_read(ask):
    ranking = await ask(completion("<answer>[2] > [1]</answer>"))
    assert (ranking.ids, ranking.faults) == (("2", "1"), ())


async def test_a_reply_over_the_bound_is_not_read_nor_asked_for_again(ask, stub, monkeypatch):
    monkeypatch.setattr(bounded, "MAX_BYTES", 10_000)
    ranking = await ask(completion("x" * 20_000))
    (fault,) = ranking.faults
    assert (fault.kind, ranking.partial, len(stub.bodies)) == ("failed", True, 1)
    assert "the server sent more than 10,000 bytes" in fault.detail


async def test_a_packed_reply_is_not_unpacked(ask, stub):
    packed = gzip.compress(json.dumps(completion("x" * 100)).encode())
    head = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    ranking = await ask(Response(packed, headers=head))
    assert "the server packed its reply (gzip) unasked" in ranking.faults[0].detail
    assert len(stub.bodies) == 1


def test_errors_that_cause_each_other_in_a_circle_are_searched_once():
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert unbounded_reply(one) is None
    other.__cause__ = UnboundedReplyError("too much")
    assert str(unbounded_reply(one)) == "too much"
