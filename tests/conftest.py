import gc
import io
import itertools
import sys

import anyio
import pytest
from hypothesis import HealthCheck, settings
from pydantic_ai import models

from helpers.proxied import Proxies
from helpers.stub import Stub
from rearank_agent.cli import main

# anyio imports it when it is used, and pytest rewrites it then: CPython 3.11 may fail at that where
# garbage is collected in the meantime (gh-106905)
anyio.open_process  # noqa: B018

# No test is timed: the machine may be busy.
settings.register_profile(
    "untimed", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")
models.ALLOW_MODEL_REQUESTS = False  # a test that calls a real server allows it

# Files that take longest, most of it in processes of their own: they begin first, so that no worker
# has one of them left at the end.
LONG = [
    "test_readme.py",
    "test_mcp_http.py",
    "test_mcp_stdio.py",
    "test_proxy_life.py",
    "test_eval.py",
    "test_cli.py",
    "test_convert.py",
]


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect without looking for garbage, then or later: what is collected lives to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items):
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


@pytest.fixture
def stub():
    """A chat completions server on loopback that tests may call."""
    with Stub() as running, models.override_allow_model_requests(True):
        yield running


@pytest.fixture(scope="session")
def caches(tmp_path_factory):
    """Gives a new cache folder with every `next`."""
    # not one `mktemp` each, which lists all the others
    folder = tmp_path_factory.mktemp("caches")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def own_environment(caches, monkeypatch):
    monkeypatch.setenv("REARANK_CACHE", str(next(caches)))
    monkeypatch.delenv("REARANK_POLICY", raising=False)
    monkeypatch.delenv("REARANK_DEADLINE", raising=False)
    monkeypatch.setattr(
        "rearank_agent.cli.console._PROGRESS_DELAY", 60
    )  # a cold start is no subject here


@pytest.fixture
def run(monkeypatch, capfd):
    """Run the command line in this process; returns exit code, stdout and stderr."""

    def go(*args, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["rearank-agent", *args])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        return end.value.code or 0, out, err

    return go


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """The base encoder with one layer above the trunk, as a checkpoint."""
    from transformers import AutoModel

    from rearank_training.embedded.export import FROZEN, packaged

    folder = tmp_path_factory.mktemp("base")
    model = AutoModel.from_pretrained(packaged())
    model.encoder.layer = model.encoder.layer[: FROZEN + 1]
    model.config.num_hidden_layers = FROZEN + 1
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """Starts a proxy in front of the misbehaving server, or of another command."""
    proxies = Proxies(tmp_path_factory.mktemp("cache"))
    yield proxies
    proxies.end()
