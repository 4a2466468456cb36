"""Models of a hub, downloaded by the real library from a hub on loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from helpers import tiny_rerankers
from helpers.fake_hub import COMMIT, fake_hub

LINE = json.dumps({"id": "a", "text": "Dogs bark at the moon."})
LINES = f"{LINE}\n" + json.dumps({"id": "b", "text": "Fleas jump far."})


@pytest.fixture(scope="session")
def layered(tmp_path_factory):
    """The folder of an encoder with a layer behind its pooling, so that cosines are 1 or -1."""
    folder = tmp_path_factory.mktemp("layered")
    tiny_rerankers.encoder(folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(2, {"path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "2_Dense").mkdir()
    settings = {"in_features": 32, "out_features": 1, "bias": False}
    (folder / "2_Dense/config.json").write_text(json.dumps(settings))
    save_file({"linear.weight": np.ones((1, 32), np.float32)}, folder / "2_Dense/model.safetensors")
    return folder


@pytest.fixture
def hub(bert, layered, tmp_path):
    """Runs the command line against a hub with two models; each call is a new process."""
    with fake_hub({"tiny/bert": bert, "tiny/layered": layered}) as (served, address):

        def run(*arguments, **variables):
            environment = {
                **os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"),
                "XDG_CACHE_HOME": str(tmp_path / "cache"), **variables,
            }  # fmt: skip
            return subprocess.run(
                [sys.executable, "-m", "rearank_agent", *arguments], env=environment, input=LINES,
                capture_output=True, text=True, timeout=120,
            )  # fmt: skip

        yield served, run


def rank(run, name, **variables):
    return run(
        "rerank", "fleas jump", "-", "--policy", f"cross-encoder:{name}", "--json", **variables
    )


def test_a_model_is_downloaded_once_and_only_what_is_needed(hub):
    served, run = hub
    first = rank(run, "tiny/bert")
    assert first.returncode == 0, first.stderr
    assert "tiny/bert: 0.2 MB, licence: apache-2.0" in first.stderr
    ranking = json.loads(first.stdout)
    assert ranking["policy"].startswith(f"cross-encoder:tiny/bert@{COMMIT[:12]}#onnx/model.onnx:")
    got = {path.rpartition(f"{COMMIT}/")[2] for method, path in served.asked if method == "GET"}
    assert "onnx/model.onnx" in got
    assert "model.safetensors" not in got
    before = len(served.asked)
    for variables in ({}, {"HF_HUB_OFFLINE": "1"}):
        again = rank(run, "tiny/bert", **variables)
        assert json.loads(again.stdout)["passages"] == ranking["passages"], again.stderr
        assert len(served.asked) == before, "the hub was asked again"


def test_layers_behind_an_encoder_come_with_it(hub):
    served, run = hub
    pulled = run("models", "pull", "encoder:tiny/layered")
    assert pulled.returncode == 0, pulled.stderr
    got = [path.rpartition(f"{COMMIT}/")[2] for method, path in served.asked if method == "GET"]
    assert got.index("2_Dense/config.json") < got.index("2_Dense/model.safetensors")
    assert got[-2:] == ["2_Dense/model.safetensors", "onnx/model.onnx"]
    ranked = run(
        "rerank",
        "fleas jump",
        "-",
        "--policy",
        "encoder:tiny/layered",
        "--json",
        HF_HUB_OFFLINE="1",
    )
    ranking = json.loads(ranked.stdout)
    assert {abs(round(one)) for one in ranking["steps"][0]["reply"]["raw"]} == {1}, ranked.stderr


def test_a_download_that_breaks_loses_only_the_file_in_flight(hub, bert):
    served, run = hub
    served.breaks = 1000
    broken = rank(run, "tiny/bert", HF_HUB_DOWNLOAD_TIMEOUT="2")
    assert broken.returncode == 1
    last = broken.stderr.strip().splitlines()[-1]
    assert last.startswith("rearank-agent: tiny/bert is not in ")
    assert "models pull tiny/bert" in last
    served.breaks = 1
    pulled = run("models", "pull", "cross-encoder:tiny/bert")
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.startswith(f"tiny/bert {COMMIT[:12]}: ")
    got = [path.rpartition("/")[2] for method, path in served.asked if method == "GET"]
    assert got.count("tokenizer.json") == 1, "what came whole was downloaded again"
    folder = pulled.stdout.strip().partition(": ")[2]
    assert Path(folder, "onnx/model.onnx").read_bytes() == (bert / "onnx/model.onnx").read_bytes()
    assert rank(run, "tiny/bert", HF_HUB_OFFLINE="1").returncode == 0


@pytest.mark.parametrize(
    ("name", "code", "line"),
    [
        ("tiny/gated", 1, "tiny/gated asks its users to accept terms: do so on http://127.0.0.1:"),
        (
            "tiny/absent",
            2,
            "there is no folder tiny/absent, and the hub has no model of that name; if it is a private",
        ),
        ("tiny/bert@v9", 2, "tiny/bert has no such revision"),
        ("tiny/bert#int4", 2, "has no weights 'int4'; ONNX files there are: onnx/model.onnx"),
        ("a//b", 2, "there is no folder a//b, and the hub's names are OWNER/NAME"),
        ("bad name/x", 2, "there is no folder bad name/x, and the hub has no model of that name"),
    ],
)
def test_what_the_hub_refuses_is_one_line(hub, name, code, line):
    _, run = hub
    refused = rank(run, name)
    assert refused.returncode == code
    assert line in refused.stderr.strip().splitlines()[-1]
    assert "Traceback" not in refused.stderr


def test_without_the_hub_it_says_what_to_do(hub):
    served, run = hub
    offline = rank(run, "tiny/bert", HF_HUB_OFFLINE="1")
    assert offline.returncode == 1
    assert "HF_HUB_OFFLINE forbids to ask the hub; where there is a connection: " in offline.stderr
    assert served.asked == []


def test_what_is_here_already_is_not_pulled(hub, bert):
    served, run = hub
    for name in (str(bert), f"cross-encoder:{bert}#int8"):
        refused = run("models", "pull", name)
        assert refused.returncode == 2
        assert f"{bert} is on this machine already" in refused.stderr
    file = rank(run, str(bert / "onnx/model.onnx"))
    assert file.returncode == 2
    assert f"is a file; a model is named by its folder, {bert / 'onnx'}" in file.stderr
    assert served.asked == []


def test_a_revision_is_kept_apart(hub):
    _, run = hub
    assert rank(run, "tiny/bert@v1").returncode == 0
    assert rank(run, "tiny/bert@v1", HF_HUB_OFFLINE="1").returncode == 0
    assert rank(run, "tiny/bert", HF_HUB_OFFLINE="1").returncode == 1
