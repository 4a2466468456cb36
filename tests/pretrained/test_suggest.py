"""Which stronger model is one line away on this machine."""

import json

import pytest
from huggingface_hub import constants

from rearank_agent.extras import install_line
from rearank_agent.policies.pretrained import suggest

TINY, L6 = "ms-marco-TinyBERT-L2-v2", "ms-marco-MiniLM-L6-v2"
LONG = "BAAI/bge-reranker-v2-m3"


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Sets the free megabytes and whether torch is installed; the hub's cache is empty."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def set_up(free=10_000.0, torch=True):
        monkeypatch.setattr(suggest, "_free_memory", lambda: free)
        monkeypatch.setattr(suggest, "find_spec", lambda name: torch or None)

    set_up()
    return set_up


def download(tmp_path, name):
    """What a download of a model leaves in the hub's cache."""
    folder = tmp_path / "hub" / f"models--cross-encoder--{name}"
    snapshot = folder / "snapshots" / ("0" * 40)
    (snapshot / "onnx").mkdir(parents=True)
    for file in ("config.json", "tokenizer.json", "onnx/model.onnx"):
        (snapshot / file).write_text("{}")
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text("0" * 40)


def found():
    return [
        (one.model.name.removeprefix("cross-encoder/"), one.needs) for one in suggest.suggestions()
    ]


def test_of_equal_figures_the_smallest_and_the_one_that_reads_the_most():
    assert found() == [(L6, ""), (LONG, "")]


def test_what_does_not_fit_is_not_suggested_or_says_what_it_needs(machine):
    machine(free=50)
    assert found() == [(TINY, ""), (LONG, "2272 MB of memory, and 50 MB are free")]
    machine(free=1)
    assert [name for name, _ in found()] == [LONG]
    machine(torch=False, free=None)
    assert found() == [(L6, ""), (LONG, install_line("torch"))]


def test_what_is_downloaded_is_known(tmp_path):
    assert [one.cached for one in suggest.suggestions()] == [False, False]
    download(tmp_path, L6)
    assert [one.cached for one in suggest.suggestions()] == [True, False]


def test_doctor_and_models_say_it(run, tmp_path, machine):
    machine(torch=False)
    download(tmp_path, L6)
    code, out, _ = run("doctor", "--policy", "lexical")
    assert code == 0
    said = out[out.index("Stronger, one line away") :].splitlines()
    assert said[1:5] == [
        f"  rearank-agent rerank QUERY FILE --policy cross-encoder:cross-encoder/{L6}",
        "    91 MB, 512 tokens, English, Apache-2.0, DL19 74.3; downloaded",
        f"  rearank-agent rerank QUERY FILE --policy cross-encoder:{LONG}",
        "    2272 MB, 8192 tokens, 100 languages and more, Apache-2.0; "
        f"first: {install_line('torch')}",
    ]
    assert "the shipped policy has 65.5" in " ".join(said[5:])
    stronger = json.loads(run("doctor", "--policy", "lexical", "--json")[1])["stronger"]
    assert [(one["model"]["dl19"], one["cached"]) for one in stronger] == [
        (74.3, True),
        (None, False),
    ]
    listed = run("models")[1].splitlines()
    assert [line for line in listed if line.endswith(", downloaded")] == [
        f"{said[2].rstrip().partition(';')[0]}, downloaded"
    ]


def test_doctor_is_silent_where_the_policy_is_another_one(run):
    assert "Stronger" not in run("doctor", "--policy", "lexical,5,embedded")[1]
    assert json.loads(run("doctor", "--policy", "oracle", "--json")[1])["stronger"] == []
