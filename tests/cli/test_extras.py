"""What works without the extras, and the errors that name the pip line."""

import json
import subprocess
import sys

import pytest

from rearank_agent import extras
from rearank_agent.extras import install_line

# Without httpx2, which huggingface_hub, a part of the base, brings in its newer versions.
EXTRAS = ("pydantic_ai", "openai", "mcp", "starlette", "uvicorn", "markitdown", "pyarrow",
          "ir_measures", "ir_datasets", "scipy", "matplotlib", "torch", "transformers")  # fmt: skip
BARE = (
    f"import sys; sys.modules.update(dict.fromkeys({EXTRAS}))\n"
    "from rearank_agent.cli import main\n"
    "main()"
)

HELPED = ("eval", "train grpo", "mcp", "mcp proxy", "mcp install")


def bare(*arguments, stdin="a flea\na dog\n"):
    """The command line in a process in which no extra is installed."""
    return subprocess.run(
        [sys.executable, "-c", BARE, *arguments], input=stdin, capture_output=True, text=True
    )


def test_the_base_ranks_searches_plans_and_explains(tmp_path):
    ranked = bare("rerank", "a flea", "--json")
    # a busy machine may take so long that the progress is shown
    assert (ranked.returncode, ranked.stderr.removeprefix("ranking 2 passages ...\n")) == (0, "")
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
    assert doctor["stronger"][-1]["needs"] == install_line("torch")


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("llm", ("rerank", "a flea", "--policy", "vllm:qwen")),
        ("llm", ("plan", "--policy", "openai:gpt-5")),
        ("mcp", ("mcp",)),
        ("mcp", ("mcp", "--http", "127.0.0.1:0")),
        ("mcp", ("mcp", "install", "--client", "cursor")),
        ("eval", ("eval", "examples/harbour")),
        ("train", ("train", "nano", "rows", "--out", "model")),
        ("train", ("train", "sft", "model", "rows", "--dev", "dev", "--out", "out")),
        ("train", ("train", "grpo", "model", "rows", "--dev", "dev", "--out", "out")),
        ("train", ("train", "embedded", "rows", "--dev", "dev", "--out", "out")),
    ],
)
def test_a_missing_extra_is_an_error_with_the_line_to_type(extra, arguments):
    done = bare(*arguments)
    line = f"which is not installed: {install_line(extra)}\n"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("rearank-agent: ")
    assert done.stderr.endswith(line)
    assert done.stderr.count("\n") == 1


def test_importing_agents_names_the_extra_too():
    code = BARE.replace("from rearank_agent.cli import main\nmain()", "import rearank_agent.agents")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "SetupError: rearank_agent.agents needs pydantic_ai" in done.stderr


def test_help_needs_no_extra():
    """One process asks for all of it."""
    each = (
        f"for command in {[*HELPED]}:\n"
        "    sys.argv = ['rearank-agent', *command.split(), '--help']\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as end:\n"
        "        print('ended with', end.code or 0)"
    )
    code = BARE.replace("\nmain()", f"\n{each}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for command, shown in zip(HELPED, done.stdout.split("ended with 0\n"), strict=False):
        assert f"Usage: rearank-agent {command} " in shown
    assert done.stdout.count("ended with 0\n") == len(HELPED)


def test_the_line_is_for_this_interpreter_and_works_before_a_release(monkeypatch, tmp_path):
    """A checkout is installed from where it is; a release by its name; without pip, by uv."""

    def line(origin, pip=True):
        text = origin and json.dumps(origin)
        monkeypatch.setattr(extras, "distribution", lambda _: Installed(text))
        monkeypatch.setattr(extras, "find_spec", lambda name: pip or None)
        return install_line("eval")

    checkout = {"url": tmp_path.as_uri(), "dir_info": {"editable": True}}
    python = f"{sys.executable} -m pip install"
    assert line(None) == f"{python} 'rearank-agent[eval]'"
    assert line({"url": "https://example.org/a.whl"}) == f"{python} 'rearank-agent[eval]'"
    assert line(checkout) == f"{python} -e '{tmp_path}[eval]'"
    assert line(checkout | {"dir_info": {}}) == f"{python} '{tmp_path}[eval]'"
    uv = f"uv pip install --python {sys.executable}"
    assert line(None, pip=False) == f"{uv} 'rearank-agent[eval]'"


class Installed:
    def __init__(self, origin):
        self.origin = origin

    def read_text(self, name):
        return self.origin


def test_doctor_shows_the_line_whole(tmp_path):
    """In a table of 80 columns it may not lose its brackets, nor be broken."""
    done = bare("doctor", "--policy", "vllm:qwen")
    assert (done.returncode, install_line("llm") in done.stdout) == (1, True)
