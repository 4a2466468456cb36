"""A real vLLM on the CPU, started by `rearank-agent serve` with a tiny random model."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.serving import Serving


@pytest.fixture(scope="session")
def serving(tmp_path_factory):
    if not (vllm := os.environ.get("REARANK_TEST_VLLM")):
        pytest.fail("REARANK_TEST_VLLM names no vLLM; use: make test-serve")
    running = Serving(vllm, tmp_path_factory.mktemp("serving"))
    running.said = running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture(autouse=True)
def address(serving, monkeypatch, tmp_path):
    monkeypatch.setenv("VLLM_BASE_URL", serving.url)
    monkeypatch.setenv("REARANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pydantic_ai.models.ALLOW_MODEL_REQUESTS", True)


def reference(vllm, model, given):
    """What transformers makes of these prompts, see reference.py."""
    command = [Path(vllm).with_name("python"), Path(__file__).with_name("reference.py"), model]
    done = subprocess.run(
        command, input=json.dumps(given), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)
