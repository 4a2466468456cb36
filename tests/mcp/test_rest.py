"""The web service: as a process of its own on loopback, and in this process with test policies."""

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path

import httpx2
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from helpers.policies import Down, Faulty, Judge
from helpers.stub import backwards
from helpers.terminal import PROGRAM
from rearank_agent import Reply, Reranker
from rearank_agent.errors import BusyError, SetupError
from rearank_agent.store import Store
from rearank_mcp.http import Address, HTTPApp
from rearank_mcp.rest.openapi import openapi_document
from rearank_mcp.service import Service

DOCUMENT = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
FLEAS = {
    "query": "how far can a flea jump",
    "documents": ["Dogs bark.", {"text": "It leaps 20 cm.", "title": "A flea jumps", "n": [1, None], "no": None}],
}  # fmt: skip


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts a server; gives a client of it."""
    started = []

    def go(*options, **environment):
        cache = str(tmp_path_factory.mktemp("cache"))
        command = [PROGRAM, "mcp", "--http", "127.0.0.1:0", *options]
        env = {**os.environ, "REARANK_CACHE": cache, **environment}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, env=env)
        line = process.stderr.readline().decode()
        client = httpx2.Client(base_url=re.search(r"(http://\S+)/mcp", line)[1], timeout=30)
        started.append((process, client))
        assert "/v1/rerank" in line
        return client

    yield go
    for process, client in started:
        client.close()
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def client(start):
    return start()


@pytest.fixture
def inside(tmp_path):
    """A client of the service in this process, with a policy of the test's."""

    def go(policy):
        service = Service(
            Reranker(policy), [], Store(tmp_path / "runs.sqlite", max_bytes=1_000_000)
        )
        served = HTTPApp(service, Address("127.0.0.1", 0))
        return TestClient(served, "http://localhost", raise_server_exceptions=False)

    return go


def fits(answer, model):
    """Whether an answer is as the description says."""
    schema = {
        "$ref": f"#/components/schemas/{model}",
        "components": openapi_document()["components"],
    }
    Draft202012Validator(schema).validate(answer)
    return True


def refused(response, status, message):
    """Whether it is an error of this kind, with its message wherever clients look for it."""
    error = response.json()
    assert fits(error, "ErrorResponse")
    assert (response.status_code, error["detail"]) == (status, error["error"]["message"])
    assert message in error["detail"]
    return True


def scores(answer):
    return [result["relevance_score"] for result in answer["results"]]


def test_the_whole_answer(client):
    response = client.post("/v1/rerank", json=FLEAS | {"return_documents": True, "rationale": True})
    answer = response.json()
    assert fits(answer, "RerankResponse")
    first, second = answer["results"]
    assert 1 > first.pop("relevance_score") > second.pop("relevance_score") > 0
    assert first == {
        "index": 1,
        "document": FLEAS["documents"][1],
        "rationale": {
            "text": "", "evidence": ["It leaps 20 cm."], "has": ["flea", "jump"], "lacks": ["far"],
        },
    }  # fmt: skip
    assert second["document"] == {"text": "Dogs bark."}
    assert re.fullmatch(r"[0-9a-f]{12}", answer["id"])
    assert (answer["model"], answer["usage"]) == ("embedded", {"prompt_tokens": 0, "total_tokens": 0})  # fmt: skip
    assert answer["meta"] == {
        "api_version": {"version": "1"}, "billed_units": {"search_units": 1}, "warnings": [],
    }  # fmt: skip


def test_the_request_in_the_docs(client):
    (body,) = re.findall(r"curl .*?/v1/rerank -d '(.*?)'", DOCUMENT, re.DOTALL)
    answer = client.post("/v1/rerank", content=body).json()
    (best,) = answer["results"]
    assert best["document"] == {"text": "It leaps 20 cm.", "title": "Fleas", "page": 7}
    assert best["rationale"]["evidence"] == ["It leaps 20 cm."]
    assert answer["meta"]["warnings"] == []


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_it_is_served_at_every_path_that_clients_use(client, path):
    answer = client.post(path, json=FLEAS).json()
    assert [sorted(result) for result in answer["results"]] == [["index", "relevance_score"]] * 2
    assert answer["meta"]["api_version"] == {"version": "2" if "v2" in path else "1"}


@pytest.mark.parametrize(("top_n", "many"), [(None, 2), (1, 1), (2, 2), (5_000, 2)])
def test_top_n(client, top_n, many):
    answer = client.post("/v1/rerank", json=FLEAS | {"top_n": top_n}).json()
    assert [result["index"] for result in answer["results"]] == [1, 0][:many]


@pytest.mark.parametrize("model", [None, "embedded", "rearank-agent"])
def test_models_it_answers_to(client, model):
    assert client.post("/v1/rerank", json=FLEAS | {"model": model}).json()["model"] == "embedded"


def test_a_minimum_score(client):
    asked = {
        "query": "how far can a flea jump",
        "documents": ["Dogs bark.", "A flea can jump far."],
    }
    every = client.post("/v1/rerank", json=asked).json()["results"]
    between = (every[0]["relevance_score"] + every[1]["relevance_score"]) / 2
    answer = client.post("/v1/rerank", json=asked | {"min_score": between}).json()
    assert answer["results"] == every[:1]
    assert answer["meta"]["warnings"] == [f"1 of 2 are below {between:g}"]
    assert client.post("/v1/rerank", json=asked | {"min_score": 1.5}).status_code == 422


def test_scores_fall_behind_a_cascades_last_stage_too(inside):
    sent = {
        "query": "how far can a flea jump",
        "documents": ["Dogs bark.", "A flea can jump.", "The moon."],
    }
    answer = inside("embedded,1,lexical").post("/v1/rerank", json=sent).json()
    first, *behind = scores(answer)
    assert behind == [first] * 2
    assert answer["meta"]["warnings"] == [
        "scores of their own: the first 1; behind them the lowest is repeated"
    ]


def test_it_is_a_policy_for_another_of_ours(client, monkeypatch):
    monkeypatch.setenv("RERANK_BASE_URL", str(client.base_url))
    texts = ["Dogs bark.", "A flea can jump far."]
    there = Reranker("rerank:rearank-agent").rerank_sync("how far can a flea jump", texts)
    here = Reranker("embedded").rerank_sync("how far can a flea jump", texts)
    assert there.ids == here.ids == ("2", "1")
    assert [one.score for one in there.passages] == pytest.approx(
        [one.score for one in here.passages]
    )
    assert [one.evidence for one in there.passages] == [one.evidence for one in here.passages]


def test_unused_fields_are_named_in_the_warnings(client):
    more = {"max_chunks_per_doc": 3, "rank_fields": ["text"], "priority": None}
    answer = client.post("/v1/rerank", json=FLEAS | more | {"instruction": "Prefer dogs."}).json()
    assert answer["meta"]["warnings"] == [
        "not used: max_chunks_per_doc, rank_fields",
        "instruction: the policy embedded cannot follow an instruction",
    ]


def test_a_score_does_not_depend_on_the_other_documents(client):
    other = FLEAS | {"documents": [*FLEAS["documents"], "Fleas leap far.", "Cats sleep."]}
    alone, beside = (
        {r["index"]: r["relevance_score"] for r in client.post("/v1/rerank", json=sent).json()["results"]}
        for sent in (FLEAS, other)
    )  # fmt: skip
    assert alone == {index: beside[index] for index in (0, 1)}


def test_a_script_that_is_not_read_has_scores_in_order_too(client):
    documents = ["狗在夜里叫。", "跳蚤的寿命为一百天。", "跳蚤会跳。", "猫在睡觉。"]
    answer = client.post("/v1/rerank", json={"query": "跳蚤的寿命", "documents": documents}).json()
    assert [result["index"] for result in answer["results"][:2]] == [1, 2]
    assert 1 > scores(answer)[0] > scores(answer)[1] > scores(answer)[2] == 0
    assert answer["meta"]["warnings"][0].startswith("vocabulary: ")


def sent(**fields):
    return json.dumps(FLEAS | fields).encode()


BAD = {
    "no JSON": (400, b'{"query": secret', "the body is not JSON in UTF-8: expected value at line 1"),
    "nothing": (400, b"", "the body is not JSON in UTF-8"),
    "Latin-1": (400, b'{"query": "\xff"}', "the body is not JSON in UTF-8"),
    "UTF-16": (400, '{"query": "secret"}'.encode("utf-16"), "the body is not JSON in UTF-8"),
    "NaN": (400, b'{"query": NaN}', "the body is not JSON in UTF-8"),
    "half a character": (400, sent(query="secret \ud800"), "hex escape at line 1 column"),
    "half a character in a document": (400, sent(documents=["\udc00"]), "not JSON in UTF-8"),
    "nested too deep": (400, b"[" * 1_000, "recursion limit"),
    "very many values": (422, b"[" * 100_000, "50,000 values or more"),
    "no object": (422, b'"secret"', "valid dictionary"),
    "no query": (422, b'{"documents": ["secret"]}', "query: field required"),
    "a query of another type": (422, sent(query=["secret"]), "query: input should be a valid string"),
    "a blank query": (422, sent(query=" \n"), "the query is empty"),
    "a long query": (422, sent(query="secret " * 3_000), "the query has 21,000 characters; 20,000 at most"),
    "a long instruction": (422, sent(instruction="secret " * 3_000), "the instruction has 21,000"),
    "documents null": (422, sent(documents=None), "documents: input should be a valid list"),
    "documents a string": (422, sent(documents="secret"), "documents: input should be a valid list"),
    "no documents": (422, sent(documents=[]), "documents: list should have at least 1 item"),
    "5,000 documents": (422, sent(documents=["secret"] * 5_000), "the best 1,000 of a first stage"),
    "5 MB of documents": (422, sent(documents=["secret " * 1_000] * 750), "5,250,000 bytes; 4,194,304 at most"),
    "a document without text": (422, sent(documents=["a", {"txt": "secret"}]), "documents.1.text: field required"),
    "a text of another type": (422, sent(documents=[{"text": 5}]), "documents.0.text: input should be a valid string"),
    "a document of another type": (422, sent(documents=[5]), "documents.0: should be a string, or an object with a text"),
    "a number that is none": (422, sent(documents=[{"text": "secret", "n": [1e9]}]).replace(b"1000000000.0", b"1e999"), "documents.0: "),
    "top_n 0": (422, sent(top_n=0), "top_n: input should be greater than or equal to 1"),
    "top_n true": (422, sent(top_n=True), "top_n: input should be a valid integer"),
    "top_n a string": (422, sent(top_n="secret"), "top_n: input should be a valid integer"),
    "return_documents a string": (422, sent(return_documents="yes"), "return_documents: input should be a valid boolean"),
    "another model": (404, sent(model="secret"), "there is no such model; there are: embedded, rearank-agent"),
    "20 MB": (413, sent(query="secret" * 3_500_000), "the body has more than 8,388,608 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_not_repeated(client, case):
    status, body, message = BAD[case]
    response = client.post("/v1/rerank", content=body)
    assert refused(response, status, message)
    assert "secret" not in response.text
    assert client.post("/v1/rerank", json=FLEAS).status_code == 200


def test_other_methods_and_paths(client):
    response = client.get("/v1/rerank")
    assert refused(response, 405, "/v1/rerank takes POST, /openapi.json GET")
    assert response.headers["allow"] == "POST"
    assert refused(
        client.post("/v1/embeddings", json={}), 404, "there is nothing here: POST /v1/rerank ranks"
    )


def test_access_control_is_the_same(start):
    client = start(REARANK_TOKEN="open-sesame")
    right = {"Authorization": "Bearer open-sesame"}
    assert client.post("/v1/rerank", json=FLEAS, headers=right).status_code == 200
    response = client.post("/v1/rerank", json=FLEAS, headers={"Authorization": "Bearer x"})
    assert refused(response, 401, "the bearer token is missing or wrong")
    for headers, status in (
        ({"Host": "evil.example"}, 421),
        ({"Origin": "https://a.example"}, 403),
    ):
        response = client.post("/v1/rerank", json=FLEAS, headers=right | headers)
        assert refused(response, status, "see --allow-")


def test_the_description_is_openapi(client):
    described = client.get("/openapi.json").json()
    assert described == openapi_document()
    validate(described)
    operation = described["paths"]["/v1/rerank"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    assert fits(example, "RerankRequest")
    answer = client.post("/v1/rerank", json=example).json()
    shown = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert fits(shown, "RerankResponse")
    assert [result["document"] for result in answer["results"]] == [shown["results"][0]["document"]]
    assert {key: sorted(value) for key, value in answer.items() if isinstance(value, dict)} == {
        key: sorted(value) for key, value in shown.items() if isinstance(value, dict)
    }


def test_a_client_that_goes_away_ends_its_ranking(start, stub):
    stub.script = lambda body: 30
    slow = start("--policy", "openai-chat:slow", OPENAI_BASE_URL=stub.url, OPENAI_API_KEY="any")
    with pytest.raises(httpx2.ReadTimeout):
        slow.post("/v1/rerank", json=FLEAS, timeout=1)
    asyncio.run(asyncio.wait_for(_until(lambda: stub.given_up), 5))
    stub.script = backwards
    answer = slow.post("/v1/rerank", json=FLEAS).json()
    assert (answer["model"], answer["results"][0]["index"]) == ("openai-chat:slow", 1)
    assert answer["usage"] == {"prompt_tokens": 100, "total_tokens": 110}


async def test_a_body_that_does_not_come_is_not_waited_for(inside, monkeypatch):
    monkeypatch.setattr("rearank_mcp.traffic.BODY_SECONDS", 0.1)
    sent = []

    async def never():
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/rerank", "query_string": b""}
    await inside("lexical").app(scope | {"headers": [(b"host", b"localhost")]}, never, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["detail"] == "the body did not arrive in time"


async def _until(true):
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


class Scored(Judge):
    """Gives fixed scores, by the documents' positions."""

    scores, window = True, None

    def __init__(self, scale, *fixed):
        self.scale, self.fixed = scale, fixed

    async def judge(self, task, window):
        scores = tuple(self.fixed[position] for position in window)
        return Reply(tuple(sorted(range(len(scores)), key=lambda i: -scores[i])), scores)


@pytest.mark.parametrize(
    ("policy", "given"),
    [
        (Scored(10.0, 0.0, 10.0, 7.5), [1.0, 0.75, 0.0]),
        (Scored(1.0, -0.2, 1.5, 0.5), [1.0, 0.5, 0.0]),
        (Scored(None, 1.0, 3.0, 0.0), [0.75, 0.5, 0.0]),
        (Judge(), [1.0, 1 - 1 / 3, 1 - 2 / 3]),
        (Down(), [1.0, 1 - 1 / 3, 1 - 2 / 3]),
    ],
)
def test_scores_lie_between_0_and_1(inside, policy, given):
    answer = inside(policy).post("/v1/rerank", json={"query": "q", "documents": ["a", "bbb", "cc"]})
    assert scores(answer.json()) == given


@pytest.mark.parametrize("name", ["lexical", "first-stage"])
def test_scores_of_the_plain_policies_fall_too(inside, name):
    answer = inside(name).post("/v1/rerank", json=FLEAS | {"documents": ["a flea", "dogs", "jump"]})
    assert 1 >= scores(answer.json())[0] > scores(answer.json())[-1] >= 0
    assert scores(answer.json()) == sorted(scores(answer.json()), reverse=True)


def test_faults_are_warnings(inside):
    asked = {"query": "q", "documents": ["a", "bb"]}
    down = inside(Down()).post("/v1/rerank", json=asked).json()
    assert [result["index"] for result in down["results"]] == [0, 1]
    assert down["meta"]["warnings"] == [
        "partial: the best order so far",
        "failed: ConnectionError: connection refused [0, 1]",
    ]
    mended = inside(Faulty()).post("/v1/rerank", json=asked).json()
    assert mended["meta"]["warnings"] == ["cut: passages were cut [0, 1]"]


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (BusyError("ask again in a moment"), 503, "ask again in a moment"),
        (SetupError("install it"), 500, "install it"),
        (KeyError("secret"), 500, "the server failed: see its log"),
    ],
)
def test_errors_of_the_server_say_how_to_fix_them(inside, monkeypatch, error, status, message):
    async def fail(*_):
        raise error

    monkeypatch.setattr(Service, "rank", fail)
    response = inside("lexical").post("/v1/rerank", json=FLEAS)
    assert refused(response, status, message)
    assert response.headers.get("retry-after") == ("1" if status == 503 else None)
