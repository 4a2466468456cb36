"""A real vLLM on the CPU, started by `rearank-agent serve` with a tiny random model."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from helpers.terminal import PROGRAM

HERE = Path(__file__).parent
SETTINGS = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}


class Serving:
    """`rearank-agent serve` with the tiny model; can be killed and started again."""

    def __init__(self, vllm, folder):
        self.vllm = vllm
        self.model = folder / "tiny"
        self.log = folder / "vllm.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def start(self):
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [
                    PROGRAM, "serve", str(self.model), "--name", "tiny", "--port", str(self.port),
                    "--vllm", self.vllm, "--", "--dtype", "float32", "--enforce-eager",
                ],
                stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, **SETTINGS, "VLLM_CACHE_ROOT": str(self.model.parent / "cache")},
            )  # fmt: skip
        first = self.process.stdout.readline()
        assert first.startswith("ready after "), self.log.read_text()[-5000:]
        return first + "".join(self.process.stdout.readline() for _ in range(3))

    def kill(self):
        """Kill vLLM, as a machine short of memory would."""
        done = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=True
        )
        os.killpg(int(done.stdout.split()[0]), signal.SIGKILL)
        return self.process.wait(60)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process.stdout.close()
        return code


@pytest.fixture(scope="session")
def serving(tmp_path_factory):
    if not (vllm := os.environ.get("REARANK_TEST_VLLM")):
        pytest.fail("REARANK_TEST_VLLM names no vLLM; use: make test-serve")
    folder = tmp_path_factory.mktemp("serving")
    running = Serving(vllm, folder)
    python = str(Path(vllm).with_name("python"))
    subprocess.run(
        [python, str(HERE / "tiny_model.py"), str(running.model)], check=True, capture_output=True
    )
    running.said = running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture(autouse=True)
def address(serving, monkeypatch, tmp_path):
    monkeypatch.setenv("VLLM_BASE_URL", serving.url)
    monkeypatch.setenv("REARANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pydantic_ai.models.ALLOW_MODEL_REQUESTS", True)
