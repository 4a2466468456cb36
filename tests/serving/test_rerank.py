"""`rerank:NAME` against a real vLLM with random rerankers."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from benchmarks.serving import SETTINGS, TINY_MODEL
from helpers.servers import free_port, running
from helpers.tiny_rerankers import cross_encoder
from rearank_agent import Reranker, policy

from .conftest import reference

QUERY = "how far do fleas jump"
TEXTS = ["the moon barks", "fleas jump far from dogs", "text for text", "dogs bark at the moon"]
TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}Answer:"
)


@contextmanager
def served(vllm, folder, *options):
    """The address of a vLLM with a reranker; it has one core, as in `benchmarks.serving`."""
    port = free_port()
    command = [
        "taskset", "-c", "0", vllm, "serve", str(folder), "--served-model-name", "tiny",
        "--host", "127.0.0.1", "--port", str(port), "--runner", "pooling", "--dtype", "float32",
        "--enforce-eager", *options,
    ]  # fmt: skip
    env = os.environ | SETTINGS | {"VLLM_CACHE_ROOT": str(folder.parent / "cache")}
    health = f"http://127.0.0.1:{port}/health"
    with running(command, health, folder.parent / "vllm.log", env=env):
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture
def vllm(monkeypatch):
    monkeypatch.setattr("pydantic_ai.models.ALLOW_MODEL_REQUESTS", True)
    return os.environ["REARANK_TEST_VLLM"]


def test_a_cross_encoder(vllm, tmp_path, monkeypatch):
    model, tokens = cross_encoder(tmp_path / "tiny", onnx=False, hidden_size=64)
    inputs = tokens([QUERY] * len(TEXTS), TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits[:, 0].sigmoid().tolist()
    with served(vllm, tmp_path / "tiny") as url:
        monkeypatch.setenv("RERANK_BASE_URL", url)
        ranking = Reranker(policy("rerank:tiny")).rerank_sync(QUERY, TEXTS)
        wrong = Reranker(policy("rerank:other")).rerank_sync(QUERY, TEXTS)
        long = Reranker(policy("rerank:tiny")).rerank_sync(QUERY, [*TEXTS, "far " * 300])
    assert ranking.steps[0].reply.scores == pytest.approx(expected, abs=1e-4)
    assert [int(one) - 1 for one in ranking.ids] == sorted(range(4), key=lambda i: -expected[i])
    assert ranking.faults == ()
    assert ranking.usage.prompt_tokens > 20
    assert "the server answered 404" in wrong.faults[0].detail
    assert not long.partial
    assert [fault.kind for fault in long.faults] == ["cut"]


def test_a_language_model_that_says_yes_or_no_by_its_template(vllm, tmp_path, monkeypatch):
    folder = tmp_path / "tiny"
    python = Path(vllm).with_name("python")
    subprocess.run([python, TINY_MODEL, folder, "qwen3"], check=True, capture_output=True)
    (tmp_path / "template.jinja").write_text(TEMPLATE)
    overrides = (
        '{"architectures": ["Qwen3ForSequenceClassification"], "is_original_qwen3_reranker": true, '
        '"classifier_from_token": ["no", "yes"]}'
    )
    options = ["--hf-overrides", overrides, "--chat-template", str(tmp_path / "template.jinja")]
    with served(vllm, folder, *options) as url:
        monkeypatch.setenv("RERANK_BASE_URL", url)
        ranking = Reranker(policy("rerank:tiny")).rerank_sync(QUERY, TEXTS)
    prompts = [f"query: {QUERY}\ndocument: {text}\nAnswer:" for text in TEXTS]
    expected = reference(vllm, folder, {"prompts": prompts, "no": "no", "yes": "yes"})
    assert ranking.steps[0].reply.scores == pytest.approx(expected, abs=1e-4)
    assert ranking.faults == ()
