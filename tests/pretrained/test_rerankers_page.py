"""Every command of docs/rerankers.md, as a newcomer types it, in a terminal of 80 columns."""

import re
import shutil
from pathlib import Path

import pytest

from helpers.fake_hub import fake_hub
from helpers.json_server import json_server
from helpers.likelihood_stub import vllm
from helpers.rerank_stub import results
from helpers.terminal import plain, typed_in_terminal

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(?:sh)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGE = (ROOT / "docs/rerankers.md").read_text()
OTHERS = "vllm serve"  # tests/serving has its options
LINES = [
    line
    for block in BLOCK.findall(PAGE)
    for line in block.splitlines()
    if not line.startswith(OTHERS)
]


def test_all_blocks_of_the_page_are_lines_to_type():
    assert len(LINES) == 11
    assert PAGE.count("```") == 2 * len(BLOCK.findall(PAGE))


def answer(path, body):
    """Voyage's name for the results beside the others' one; and vLLM's prompts."""
    if "documents" not in body:
        return vllm(path, body)
    status, value = results(path, body)
    return status, value | {"data": value["results"]}


@pytest.fixture
def newcomer(bert, tmp_path, monkeypatch):
    """A folder with what the page speaks of; the hub and the servers are on loopback."""
    shutil.copytree(bert, tmp_path / "my-reranker")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copy(ROOT / "examples/fleas.jsonl", tmp_path / "passages.jsonl")
    shutil.copytree(ROOT / "examples/harbour", tmp_path / "COLLECTION")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with (
        fake_hub({"cross-encoder/ms-marco-MiniLM-L6-v2": bert}) as (_, hub),
        json_server(answer) as (address, _),
    ):
        monkeypatch.setenv("HF_ENDPOINT", hub)
        monkeypatch.setenv("VOYAGE_BASE_URL", address)
        yield address


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_a_line_of_the_page_works(newcomer, line):
    line = line.replace("http://127.0.0.1:8000/v1", newcomer).replace("KEY=...", "KEY=any")
    if "rearank-agent mcp" in line:  # over stdio, to its end
        line += " < /dev/null"
    code, shown = typed_in_terminal(line)
    shown = plain(shown)
    assert (code, "Traceback" in shown) == (0, False), shown
    assert "failed" not in shown
    if "rerank " in line:
        assert re.search(r"^rank +moved +score", shown, re.MULTILINE)
