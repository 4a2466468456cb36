"""The rules of the house that a program can check; docs/architecture.md has the drawing."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import rearank_agent

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "rearank_agent": ROOT / "rearank_agent",
    "rearank_mcp": ROOT / "mcp_server" / "rearank_mcp",
    "rearank_evals": ROOT / "evals" / "rearank_evals",
    "rearank_training": ROOT / "training" / "rearank_training",
}
FILES = {
    f"{name}/{path.relative_to(folder).as_posix()}": path
    for name, folder in PACKAGES.items()
    for path in sorted(folder.rglob("*.py"))
}

MOST_LINES_A_FILE = 250
MOST_LINES_A_FUNCTION = 40
LONG_FILES = {
    "rearank_agent/types.py": (355, "the values are one page, read together"),
    "rearank_agent/listwise/reply.py": (320, "what we say and what we accept stand side by side"),
    "rearank_agent/schedules.py": (295, "the schedules stand side by side"),
}
A_SIGNATURE = "a command's signature is its options"
LONG_FUNCTIONS = {
    "rearank_agent/cli/rerank.py:rerank": (45, A_SIGNATURE),
    "rearank_agent/cli/rerank.py:search": (50, A_SIGNATURE),
    "rearank_mcp/cli/serve.py:mcp": (65, A_SIGNATURE),
    "rearank_mcp/cli/install.py:install": (50, A_SIGNATURE),
    "rearank_mcp/cli/proxy.py:proxy": (55, A_SIGNATURE),
    "rearank_evals/cli/evaluate.py:run": (65, A_SIGNATURE),
    "rearank_training/cli/lm.py:sft": (55, A_SIGNATURE),
}
# Heavy packages: the files and folders whose subject they are may import them, nothing else.
SUBJECTS = {
    "onnxruntime": ("rearank_agent/policies/embedded/", "rearank_training/embedded/quantise.py"),
    "tokenizers": ("rearank_agent/policies/embedded/", "rearank_training/embedded/export.py"),
    "bm25s": ("rearank_agent/policies/lexical.py", "rearank_agent/search/index.py",
              "rearank_agent/data/first_stage.py"),
    "ir_measures": ("rearank_evals/measures/official.py",),
    "ir_datasets": ("rearank_agent/data/ir_datasets.py",),
    "pyarrow": ("rearank_agent/data/bright.py",),
    "scipy": ("rearank_evals/measures/",),
    "matplotlib": ("rearank_evals/report/plots.py", "rearank_training/plots.py"),
    "jinja2": ("rearank_agent/present/markup.py",),
    "torch": ("rearank_training/embedded/", "rearank_training/lm/"),
    "transformers": ("rearank_training/embedded/", "rearank_training/lm/"),
    "trl": ("rearank_training/lm/grpo.py", "rearank_training/lm/sft.py"),
    "datasets": ("rearank_training/lm/",),
    "peft": ("rearank_training/lm/trl_settings.py",),
    "pydantic_ai": ("rearank_agent/llm/", "rearank_agent/agents/"),
    "httpx2": ("rearank_agent/llm/",),
    "mcp": tuple(f"rearank_mcp/{name}.py" for name in ("http", "server", "stdio")),
}  # fmt: skip


@cache
def parsed(path):
    return ast.parse(path.read_text())


def imports(path):
    """Every module a file imports, wherever in it."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_files_are_small():
    sizes = {name: len(path.read_text().splitlines()) for name, path in FILES.items()}
    limits = {name: LONG_FILES.get(name, (MOST_LINES_A_FILE, ""))[0] for name in sizes}
    assert {name: size for name, size in sizes.items() if size > limits[name]} == {}
    assert set(LONG_FILES) <= set(sizes), "an exception for a file that is gone"


def test_functions_are_small():
    long, seen = {}, set()
    for file, path in FILES.items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{file}:{node.name}"
                seen.add(name)
                said = ast.get_docstring(node)
                size = node.end_lineno - node.lineno + 1 - (len(said.splitlines()) if said else 0)
                if size > LONG_FUNCTIONS.get(name, (MOST_LINES_A_FUNCTION, ""))[0]:
                    long[name] = size
    assert long == {}
    assert set(LONG_FUNCTIONS) <= seen, "an exception for a function that is gone"


@pytest.mark.parametrize("package", SUBJECTS)
def test_heavy_imports_stay_where_they_are_the_subject(package):
    users = [name for name, path in FILES.items()
             if any(module.split(".")[0] == package for module in imports(path))]  # fmt: skip
    assert [name for name in users if not name.startswith(SUBJECTS[package])] == []


@pytest.mark.parametrize("module", ["rearank_agent", "rearank_agent.cli"])
def test_imports_are_light(module):
    heavy = (
        "numpy",
        "pydantic",
        "pydantic_ai",
        "mcp",
        "onnxruntime",
        "bm25s",
        "tokenizers",
        "torch",
    )
    code = f"import sys, {module}; print(*[m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == []


def test_public_names_exist_and_are_sorted():
    assert rearank_agent.__all__ == sorted(rearank_agent.__all__)
    for name in rearank_agent.__all__:
        assert getattr(rearank_agent, name) is not None


def test_the_version_is_written_twice_alike():
    assert f'version = "{rearank_agent.__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert f"## {rearank_agent.__version__}" in (ROOT / "CHANGELOG.md").read_text()
