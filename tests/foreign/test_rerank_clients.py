"""Clients of Cohere's and Jina's rerankers, by other people, speak with the web service."""

import re
import subprocess
from pathlib import Path

import pytest

from helpers.alone import alone

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "http.md").read_text()
SHOWN = dict(
    re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
)


def printed(program, url):
    """What a program prints that speaks to our server and to nobody else."""
    own = program.replace("http://127.0.0.1:8808", url)
    command, env = alone(own)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_hook_sees_calls_to_elsewhere():
    with pytest.raises(AssertionError, match=r"it called \('192\.0\.2\.1', 80"):
        printed("import socket; socket.create_connection(('192.0.2.1', 80))", "")


def test_every_block_is_run():
    assert len(SHOWN) == DOCUMENT.count("```python") > 0


@pytest.mark.parametrize("program", SHOWN, ids=lambda program: program.split()[1])
def test_what_the_document_shows(url, program):
    assert printed(program, url) == SHOWN[program]


COHERE = """
import cohere

texts = [{"text": "Dogs bark.", "n": "1"}, {"text": "A flea jumps 20 cm.", "n": "2"}]
client = cohere.Client("any", base_url="http://127.0.0.1:8808")
answer = client.rerank(query="fleas", documents=texts, return_documents=True, rank_fields=["text"])
print([(one.index, one.document.text, one.document.n) for one in answer.results])
print(answer.meta.warnings)
for key, model in (("any", "rerank-v3.5"), ("wrong", "embedded")):
    try:
        cohere.ClientV2(key, base_url="http://127.0.0.1:8808").rerank(
            query="fleas", documents=["a"], model=model
        )
    except cohere.core.ApiError as error:
        print(type(error).__name__, error.body["error"]["message"])
"""


def test_the_first_version_of_cohere_and_its_errors(url):
    assert printed(COHERE, url).splitlines() == [
        "[(1, 'A flea jumps 20 cm.', '2'), (0, 'Dogs bark.', '1')]",
        "['not used: rank_fields']",
        "NotFoundError there is no such model; there are: embedded, rearank-agent; or leave it out",
        "UnauthorizedError the bearer token is missing or wrong",
    ]


LITELLM = """
import litellm

litellm.suppress_debug_info = True
texts = ["Dogs bark.", "A flea jumps 20 cm."]
for provider in ("cohere", "hosted_vllm", "jina_ai"):
    about = dict(model=provider + "/embedded", api_base="http://127.0.0.1:8808", api_key="any")
    answer = litellm.rerank(query="fleas", documents=texts, top_n=1, return_documents=True, **about)
    print([(one["index"], one["document"]["text"]) for one in answer.results])
    try:
        litellm.rerank(query=" ", documents=texts, **about)
    except litellm.BadRequestError as error:
        print("the query is empty" in str(error))
"""


def test_providers_of_litellm(url):
    assert printed(LITELLM, url).splitlines() == ["[(1, 'A flea jumps 20 cm.')]", "True"] * 3


JINA = """
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.jinaai_rerank import JinaRerank

found = [NodeWithScore(node=TextNode(text="a"))]
try:
    JinaRerank(base_url="http://127.0.0.1:8808/v1", api_key="any").postprocess_nodes(
        found, query_str="fleas"
    )
except RuntimeError as error:
    print(error)
"""


def test_errors_where_jina_s_clients_look(url):
    assert (
        printed(JINA, url)
        == "there is no such model; there are: embedded, rearank-agent; or leave it out\n"
    )
