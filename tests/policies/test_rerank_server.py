"""Rerank endpoints as policies: servers of every shape, and what is done with their odd answers."""

import pytest

from helpers.json_server import json_server
from helpers.rerank_stub import lengths, results
from rearank_agent import InputError, Reranker, SetupError
from rearank_agent.errors import UnsetError
from rearank_agent.llm.policy import LLM
from rearank_agent.llm.rerank_api import PROVIDERS
from rearank_agent.policies.registry import RERANK_SERVERS, policy
from rearank_agent.policies.rerank_server import RerankServer

QUERY = "how far do fleas jump"
TEXTS = ["The moon barks.", "Fleas jump far. Dogs do not.", "Fleas."]


def voyage(path, body):
    rows = results(path, body)[1]["results"]
    return 200, {"object": "list", "data": rows, "usage": {"total_tokens": 12}}


def embeddings_inference(path, body):
    if path != "/rerank":
        return 404, b""
    if "texts" not in body:
        return 422, {"error": "missing field `texts` at line 1", "error_type": "validation"}
    return 200, [{"index": i, "score": score} for i, score in enumerate(lengths(body["texts"]))]


@pytest.fixture
def ask(monkeypatch):
    """The ranking of `TEXTS` by a server with this answer, and what it was asked."""

    def go(answer, name="rerank:tiny", texts=TEXTS, **options):
        with json_server(answer) as (url, asked):
            kind = name.partition(":")[0]
            monkeypatch.setenv(f"{PROVIDERS[kind].variable}_BASE_URL", url)
            monkeypatch.setenv(f"{PROVIDERS[kind].variable}_API_KEY", "a-key-of-mine")
            return Reranker(policy(name)).rerank_sync(QUERY, texts, **options), asked

    return go


@pytest.mark.parametrize(
    ("name", "answer", "sent"),
    [
        ("rerank:tiny", results, {"top_n": 3, "return_documents": False}),
        ("cohere:rerank-v3.5", results, {"top_n": 3}),
        ("jina:jina-reranker-v3", results, {"top_n": 3, "return_documents": False}),
        ("voyage:rerank-2.5", voyage, {"top_k": 3}),
    ],
)
def test_each_provider_is_asked_in_its_form(ask, name, answer, sent):
    ranking, ((path, body, key),) = ask(answer, name)
    assert path == "/v1/rerank"
    assert body == {"model": name.partition(":")[2], "query": QUERY, "documents": TEXTS, **sent}
    assert key == "Bearer a-key-of-mine"
    assert ranking.ids == ("2", "1", "3")
    assert [one.score for one in ranking.passages] == [0.28, 0.15, 0.06]
    assert [one.relevance for one in ranking.passages] == [0.28, 0.15, 0.06]
    assert ranking.passages[0].evidence == "Fleas jump far."
    assert ranking.faults == ()
    assert (ranking.usage.calls, ranking.usage.prompt_tokens) == (1, 12)
    assert ranking.policy.startswith(f"{name} at=http://127.0.0.1:")
    assert "a-key-of-mine" not in ranking.to_json()


def test_text_embeddings_inference_has_its_own_form_which_is_remembered(ask, monkeypatch):
    with json_server(embeddings_inference) as (url, asked):
        monkeypatch.setenv("RERANK_BASE_URL", url)
        reranker = Reranker(policy("rerank:tei"))
        assert reranker.rerank_sync(QUERY, TEXTS).ids == ("2", "1", "3")
        assert [path for path, *_ in asked] == ["/v1/rerank", "/rerank", "/rerank"]
        assert reranker.rerank_sync(QUERY, TEXTS).ids == ("2", "1", "3")
        assert len(asked) == 4
        assert asked[-1][1] == {
            "query": QUERY,
            "texts": TEXTS,
            "raw_scores": False,
            "truncate": True,
        }


def test_many_documents_are_several_calls_at_once(ask):
    texts = [f"text {'x' * i}" for i in range(230)]
    ranking, asked = ask(results, texts=texts)
    assert sorted(len(body["documents"]) for _, body, _ in asked) == [30, 100, 100]
    assert ranking.ids[:2] == ("230", "229")
    assert ranking.usage.turns == 1


def odd(rows):
    return lambda path, body: (200, {"results": rows})


def row(index, score):
    return {"index": index, "relevance_score": score}


def test_odd_results_are_faults_and_lose_nothing(ask):
    rows = [row(2, 0.9), row(2, 0.1), row(7, 0.5), row(-1, 0.5), row(0, 0.0), "x", row(1, None)]
    ranking, _ = ask(odd(rows))
    assert ranking.ids == ("3", "1", "2")
    assert {(f.kind, f.ids) for f in ranking.faults} == {
        ("foreign", ()), ("repeated", ("3",)), ("missing", ("2",)),
    }  # fmt: skip
    assert [one.relevance for one in ranking.passages] == [0.9, 0.0, 0.0]


def test_logits_are_put_through_the_sigmoid(ask):
    ranking, _ = ask(odd([row(0, -3.0), row(1, 2.0), row(2, 0.5)]))
    assert ranking.ids == ("2", "3", "1")
    assert [round(one.score, 3) for one in ranking.passages] == [0.881, 0.622, 0.047]
    assert ranking.steps[0].reply.raw == (-3.0, 2.0, 0.5)


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            lambda *_: (200, b"<html>a page</html>"),
            "the server's answer is not JSON: '<html>a page",
        ),
        (lambda *_: (413, {"error": {"message": "too much"}}), "the server answered 413: too much"),
        (lambda *_: (401, {"detail": "no"}), "the server answered 401"),
        (lambda *_: (200, {"nothing": 1}), "the server's answer has no results"),
        (lambda *_: (200, {"results": []}), "scores none of the documents"),
        (lambda *_: (200, b'{"results": [{"index": 0, "relevance_score": NaN}]}'), "scores none"),
        (lambda *_: (200, b"[" * 100_000), "the server's answer is not JSON"),
    ],
    ids=["html", "413", "401", "no results", "empty", "nan", "nested"],
)
def test_a_server_that_is_none_keeps_the_order(ask, answer, line):
    ranking, _ = ask(answer)
    assert ranking.ids == ("1", "2", "3")
    assert ranking.partial
    assert [fault.kind for fault in ranking.faults] == ["failed"]
    assert line in ranking.faults[0].detail


def test_a_busy_server_is_asked_again(ask):
    answers = iter([(429, {"error": "slow down"}), (503, {"error": "soon"})])
    ranking, asked = ask(lambda path, body: next(answers, None) or results(path, body))
    assert (ranking.ids, len(asked), ranking.partial) == (("2", "1", "3"), 3, False)


def short(path, body):
    """vLLM with a model that reads little."""
    if "truncate_prompt_tokens" in body or len(body["documents"]) < 3:
        return results(path, body)
    message = "This model's maximum context length is 64 tokens. However, you have 300"
    return 400, {"error": {"message": message, "type": "BadRequestError"}}


def test_a_document_that_is_too_long_is_cut_by_the_server(ask):
    ranking, asked = ask(short)
    assert (ranking.ids, ranking.partial) == (("2", "1", "3"), False)
    assert [fault.kind for fault in ranking.faults] == ["cut"]
    assert [body.get("truncate_prompt_tokens") for _, body, _ in asked] == [None, -1]
    ranking, asked = ask(short, texts=TEXTS[:2])
    assert (ranking.faults, len(asked)) == ((), 1)


def test_a_server_that_cuts_nothing_says_why(ask):
    ranking, asked = ask(lambda *_: (400, {"error": {"message": "too many tokens"}}))
    assert (ranking.ids, len(asked)) == (("1", "2", "3"), 2)
    assert "the server answered 400: too many tokens" in ranking.faults[0].detail


def test_an_instruction_goes_before_the_query(ask):
    _, asked = ask(results, instruction="Prefer numbers.")
    assert asked[0][1]["query"] == f"Prefer numbers.\n{QUERY}"


def test_what_is_not_set_is_said(monkeypatch):
    for name in ("RERANK_BASE_URL", "VOYAGE_API_KEY", "VOYAGE_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UnsetError, match="no rerank server is known: set RERANK_BASE_URL"):
        policy("rerank:tiny")
    with pytest.raises(UnsetError, match="needs a key: set VOYAGE_API_KEY"):
        policy("voyage:rerank-2.5")
    monkeypatch.setenv("RERANK_BASE_URL", "ftp://x")
    with pytest.raises(SetupError, match="RERANK_BASE_URL must be a plain address"):
        policy("rerank:tiny")


def test_the_names_are_those_of_the_providers():
    assert set(RERANK_SERVERS) == set(PROVIDERS)


def test_it_takes_no_options_of_a_language_model(monkeypatch):
    monkeypatch.setenv("RERANK_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(InputError, match="rerank:tiny is no language model and takes no options"):
        policy("rerank:tiny", think=False)


def test_a_chat_model_of_cohere_is_a_language_model(monkeypatch):
    monkeypatch.setenv("COHERE_API_KEY", "a-key-of-mine")
    assert isinstance(policy("cohere:rerank-v3.5"), RerankServer)
    with pytest.raises(SetupError, match="cohere"):  # its package is not installed here
        assert isinstance(policy("cohere:command-r"), LLM)
