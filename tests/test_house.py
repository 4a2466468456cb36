"""The rules of the house that a program can check; docs/architecture.md has the reasons."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import rearank_agent

ROOT = Path(__file__).parent.parent
PACKAGES = ("rearank_agent", "mcp_server", "evals", "training")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
CORE = [path for path in FILES if path.is_relative_to(ROOT / "rearank_agent")]

MOST_LINES_A_FILE = 250
MOST_LINES_A_FUNCTION = 40
MOST_LINES_OF_CORE = 2_905  # 2,500 in the first drawing; docs/architecture.md says why
MOST_LINES_OF_SEARCH = 800
MOST_LINES_OF_COLLECTIONS = 265
# Front ends, and what they share: on top of the core too.
SHELL_FILES = (
    *("__main__", "answer", "brief", "bump", "excerpt", "find", "listlike", "markup", "page"),
    *("outline", "record"),
    *("replay", "serve", "tool", "wrapper"),
)
# The first stage over files: on top of the core, and nothing of the core knows it.
SEARCH = ("cutting", "folder", "library", "reading", "shelf", "webpage")
# What is measured and trained on, and how it is kept: on top of the core too.
COLLECTIONS = ("collection", "trec")
LONG_FILES = {
    "rearank_agent/passage.py": (355, "the values are one page, read together"),
    "rearank_agent/listwise.py": (320, "what we say and what we accept stand side by side"),
    "rearank_agent/schedules.py": (295, "the schedules stand side by side"),
}
LONG_FUNCTIONS = {
    "rearank_agent/cli/rank.py:search": (50, "a command's signature is its options"),
    "rearank_agent/cli/mcp.py:mcp": (65, "a command's signature is its options"),
    "rearank_agent/cli/install.py:install": (50, "a command's signature is its options"),
    "rearank_agent/cli/proxy.py:proxy": (55, "a command's signature is its options"),
    "rearank_agent/cli/evaluate.py:run": (65, "a command's signature is its options"),
    "rearank_agent/cli/train_lm.py:sft": (55, "a command's signature is its options"),
    "rearank_agent/cli/rank.py:rerank": (45, "a command's signature is its options"),
}
# Whose subject it is may import it; everything else must do without.
SUBJECTS = {
    "onnxruntime": {"rearank_agent/encoder.py", "training/quantise.py"},
    "tokenizers": {"rearank_agent/encoder.py", "training/export.py"},
    "bm25s": {"rearank_agent/lexical.py", "rearank_agent/shelf.py", "evals/first_stage.py"},
    "ir_measures": {"evals/measures.py"},
    "ir_datasets": {"evals/datasets.py"},
    "pyarrow": {"evals/bright.py"},
    "scipy": {"evals/stats.py", "evals/robustness.py"},
    "matplotlib": {"evals/plots.py", "training/plots.py"},
    "jinja2": {"rearank_agent/markup.py"},
    "torch": {
        *(f"training/{name}.py" for name in ("checkpoints", "dev", "embedded", "export")),
        *(f"training/{name}.py" for name in ("lessons", "plackett_luce", "quantise")),
        *(f"training/{name}.py" for name in ("lm", "nano", "runs", "towers", "trunk", "voice")),
    },
    "transformers": {
        *(
            f"training/{name}.py"
            for name in ("export", "lm", "looks", "nano", "runs", "shared", "towers", "voice")
        ),
    },
    "trl": {"training/grpo.py", "training/sft.py"},
    "datasets": {
        "training/grpo.py",
        "training/sft.py",
        "training/lm.py",
    },
    "peft": {"training/shared.py"},
    "pydantic_ai": {
        f"rearank_agent/{name}.py"
        for name in ("chat", "endpoint", "ladder", "llm", "provider", "tool", "wire", "wrapper")
    },
    "httpx2": {"rearank_agent/endpoint.py", "rearank_agent/wire.py"},
    "mcp": {f"mcp_server/{name}.py" for name in ("http", "server", "stdio")},
}
SHELLS = (
    "rearank_agent.cli",
    *(f"rearank_agent.{name}" for name in SHELL_FILES),
    "mcp_server",
    "evals",
    "training",
)


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path):
    return ast.parse(path.read_text())


def imports(path, module_level=False):
    """Every module a file imports; with `module_level`, only when it is imported itself."""
    tree = parsed(path)
    nodes = tree.body if module_level else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_files_are_small():
    sizes = {name_of(path): len(path.read_text().splitlines()) for path in FILES}
    limits = {name: LONG_FILES.get(name, (MOST_LINES_A_FILE, ""))[0] for name in sizes}
    assert {name: size for name, size in sizes.items() if size > limits[name]} == {}
    assert set(LONG_FILES) <= set(sizes), "an exception for a file that is gone"


def test_functions_are_small():
    long = {}
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{name_of(path)}:{node.name}"
                code = node.end_lineno - node.body[0].lineno + 1
                said = ast.get_docstring(node)
                size = node.end_lineno - node.lineno + 1 - (len(said.splitlines()) if said else 0)
                if size > LONG_FUNCTIONS.get(name, (MOST_LINES_A_FUNCTION, ""))[0]:
                    long[name] = (size, code)
    assert long == {}


def code_lines(path):
    """Lines with code on them: no blanks, comments or docstrings."""
    source = path.read_text()
    said = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            said |= set(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(number not in said and line.strip()[:1] not in ("", "#") for number, line in lines)


def test_the_core_is_small():
    search, collections = (
        [ROOT / "rearank_agent" / f"{name}.py" for name in names] for names in (SEARCH, COLLECTIONS)
    )
    beside = {*search, *collections}
    core = [
        path
        for path in CORE
        if "cli" not in path.parts and path not in beside and path.stem not in SHELL_FILES
    ]
    assert sum(map(code_lines, core)) <= MOST_LINES_OF_CORE
    assert sum(map(code_lines, search)) <= MOST_LINES_OF_SEARCH
    assert sum(map(code_lines, collections)) <= MOST_LINES_OF_COLLECTIONS
    for path in core:
        known = [m.rpartition(".")[2] for m in imports(path)]
        assert [name for name in known if name in (*SEARCH, *COLLECTIONS)] == [], path


@pytest.mark.parametrize("package", SUBJECTS)
def test_heavy_imports_stay_where_they_are_the_subject(package):
    users = {name_of(p) for p in FILES if any(m.split(".")[0] == package for m in imports(p))}
    assert users <= SUBJECTS[package]


def test_nothing_below_imports_the_shells():
    for path in CORE:
        if "cli" not in path.parts and path.stem not in SHELL_FILES:
            assert [m for m in imports(path) if m.startswith(SHELLS)] == []
    for path in set(FILES) - set(CORE):
        others = set(PACKAGES) - {"rearank_agent", path.relative_to(ROOT).parts[0]}
        assert [m for m in imports(path) if m.split(".")[0] in others] == []


def test_the_neck_is_pure():
    for name in (
        "passage",
        "errors",
        "metrics",
        "schedules",
        "listwise",
        "neutral",
        "template",
        "evidence",
        "blend",
        "fit",
    ):
        path = ROOT / "rearank_agent" / f"{name}.py"
        outer = {m.split(".")[0] for m in imports(path, module_level=True)}
        allowed = set(sys.stdlib_module_names) | {"rearank_agent", "__future__"}
        assert outer <= allowed, name
        assert "asyncio" not in outer, name


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
