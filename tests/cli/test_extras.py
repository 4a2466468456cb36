"""What works without the extras, and the errors that name the pip line."""

import json
import subprocess
import sys

import pytest

EXTRAS = ("pydantic_ai", "openai", "mcp", "starlette", "uvicorn", "httpx2", "markitdown", "pyarrow",
          "ir_measures", "ir_datasets", "scipy", "matplotlib", "torch", "transformers")  # fmt: skip
BARE = (
    f"import sys; sys.modules.update(dict.fromkeys({EXTRAS}))\n"
    "from rearank_agent.cli import main\n"
    "main()"
)


def bare(*arguments, stdin="a flea\na dog\n"):
    """The command line in a process in which no extra is installed."""
    return subprocess.run(
        [sys.executable, "-c", BARE, *arguments], input=stdin, capture_output=True, text=True
    )


def test_the_base_ranks_searches_plans_and_explains(tmp_path):
    ranked = bare("rerank", "a flea", "--json")
    assert (ranked.returncode, ranked.stderr) == (0, "")
    assert json.loads(ranked.stdout)["passages"][0]["passage"]["text"] == "a flea"
    run, page = tmp_path / "run.json", tmp_path / "page.html"
    run.write_text(ranked.stdout)
    assert bare("explain", str(run)).stdout.startswith("query: a flea\n")
    assert bare("explain", str(run), "--html", str(page)).returncode == 0
    assert "<!doctype html>" in page.read_text().lower()
    (tmp_path / "notes.md").write_text("A flea jumps 20 cm.")
    found = bare("search", "how far does a flea jump", str(tmp_path / "notes.md"))
    assert (found.returncode, json.loads(found.stdout)["evidence"]) == (0, "A flea jumps 20 cm.")
    assert "tournament:20" in bare("plan").stdout
    doctor = json.loads(bare("doctor", "--json").stdout)
    assert doctor["policy"] == "embedded (the default)"
    assert "problem" not in doctor


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("llm", ("rerank", "a flea", "--policy", "vllm:qwen")),
        ("llm", ("plan", "--policy", "openai:gpt-5")),
        ("mcp", ("mcp",)),
        ("mcp", ("mcp", "--http", "127.0.0.1:0")),
        ("eval", ("eval", "examples/harbour")),
        ("train", ("train", "nano", "rows", "--out", "model")),
        ("train", ("train", "sft", "model", "rows", "--dev", "dev", "--out", "out")),
        ("train", ("train", "grpo", "model", "rows", "--dev", "dev", "--out", "out")),
        ("train", ("train", "embedded", "rows", "--dev", "dev", "--out", "out")),
    ],
)
def test_a_missing_extra_is_an_error_with_the_line_to_type(extra, arguments):
    done = bare(*arguments)
    line = f"{sys.executable} -m pip install 'rearank-agent[{extra}]'\n"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("rearank-agent: ")
    assert done.stderr.endswith(line)
    assert done.stderr.count("\n") == 1


def test_importing_agents_names_the_extra_too():
    code = BARE.replace("from rearank_agent.cli import main\nmain()", "import rearank_agent.agents")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "SetupError: rearank_agent.agents needs pydantic_ai" in done.stderr


def test_help_needs_no_extra():
    for command in (("eval",), ("train", "grpo"), ("mcp",), ("mcp", "proxy"), ("mcp", "install")):
        done = bare(*command, "--help")
        assert (done.returncode, done.stderr) == (0, ""), command
