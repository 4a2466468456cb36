"""`rerank:NAME` behind LiteLLM's proxy, which asks our own server."""

import pytest

from helpers.alone import alone
from helpers.servers import free_port, running
from rearank_agent import Reranker, policy

CONFIG = """
model_list:
  - model_name: ours
    litellm_params: {model: hosted_vllm/embedded, api_base: "URL", api_key: any}
general_settings: {master_key: sk-of-the-proxy}
"""
START = """
import sys

sys.argv = ["litellm", "--config", "config.yaml", "--host", "127.0.0.1", "--port", "PORT"]
from litellm.proxy.proxy_cli import run_server

run_server()
"""
QUERY = "how far can a flea jump"
TEXTS = ["Dogs bark.", "A flea jumps 20 cm.", "Fleas lay eggs.", "The moon is far."]


@pytest.fixture
def proxy(url, tmp_path):
    """The address of LiteLLM's proxy before our server."""
    (tmp_path / "config.yaml").write_text(CONFIG.replace("URL", url))
    port = free_port()
    command, env = alone(START.replace("PORT", str(port)))
    health = f"http://127.0.0.1:{port}/health/liveliness"
    with running(command, health, tmp_path / "log", env=env, cwd=tmp_path):
        yield f"http://127.0.0.1:{port}"


def test_it_ranks_as_the_server_behind_does(proxy, url, monkeypatch):
    def asked(name, at, key):
        monkeypatch.setenv("RERANK_BASE_URL", f"{at}/v1")
        monkeypatch.setenv("RERANK_API_KEY", key)
        return Reranker(policy(name)).rerank_sync(QUERY, TEXTS)

    direct = asked("rerank:embedded", url, "any")
    through = asked("rerank:ours", proxy, "sk-of-the-proxy")
    assert through.faults == direct.faults == ()
    assert [(one.id, one.score) for one in through.passages] == [
        (one.id, one.score) for one in direct.passages
    ]
    assert through.ids[0] == "2"
    for refused in (
        asked("rerank:other", proxy, "sk-of-the-proxy"),
        asked("rerank:ours", proxy, "no"),
    ):
        assert refused.partial
        assert "the server answered 4" in refused.faults[0].detail
