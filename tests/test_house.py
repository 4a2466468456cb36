"""The rules of the house that a program can check; docs/architecture.md has the drawing."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from zipfile import ZipFile

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
    "rearank_agent/types.py": (412, "the values are one page, read together"),
}
A_SIGNATURE = "a command's signature is its options"
LONG_FUNCTIONS = {
    "rearank_agent/cli/rerank.py:rerank": (48, A_SIGNATURE),
    "rearank_agent/cli/search.py:search": (50, A_SIGNATURE),
    "rearank_mcp/cli/serve.py:mcp": (65, A_SIGNATURE),
    "rearank_mcp/cli/install.py:install": (50, A_SIGNATURE),
    "rearank_mcp/cli/proxy.py:proxy": (55, A_SIGNATURE),
    "rearank_evals/cli/evaluate.py:run": (65, A_SIGNATURE),
    "rearank_training/cli/sft.py:sft": (55, A_SIGNATURE),
}
# Heavy packages: the files and folders whose subject they are may import them, nothing else.
SUBJECTS = {
    "onnxruntime": ("rearank_agent/policies/embedded/", "rearank_agent/policies/pretrained/onnx.py",
                    "rearank_training/embedded/quantise.py"),
    "tokenizers": ("rearank_agent/policies/embedded/", "rearank_agent/policies/pretrained/tokens.py",
                   "rearank_training/embedded/export.py"),
    "bm25s": ("rearank_agent/policies/lexical.py", "rearank_agent/search/index.py",
              "rearank_agent/data/first_stage.py"),
    "ir_measures": ("rearank_evals/measures/official.py",),
    "ir_datasets": ("rearank_agent/data/ir_datasets.py",),
    "pyarrow": ("rearank_agent/data/parquet.py",),
    "markitdown": ("rearank_agent/search/convert_pdf.py", "rearank_agent/search/convert_worker.py"),
    "scipy": ("rearank_evals/measures/",),
    "matplotlib": ("rearank_evals/report/plots.py", "rearank_training/plots.py"),
    "jinja2": ("rearank_agent/present/markup.py",),
    "torch": ("rearank_training/embedded/", "rearank_training/lm/", "rearank_agent/policies/pretrained/torch.py"),
    "transformers": ("rearank_training/embedded/", "rearank_training/lm/", "rearank_agent/policies/pretrained/torch.py"),
    "huggingface_hub": ("rearank_agent/policies/pretrained/hub.py", "rearank_training/push.py"),
    "trl": tuple(f"rearank_training/lm/{name}.py" for name in ("grpo", "sft", "trl_table")),
    "datasets": ("rearank_training/lm/",),
    "peft": ("rearank_training/lm/served.py", "rearank_training/lm/trl_settings.py"),
    "pydantic_ai": ("rearank_agent/llm/", "rearank_agent/agents/"),
    "httpx2": ("rearank_agent/llm/",),
    "mcp": tuple(f"rearank_mcp/{name}.py" for name in ("http", "server", "stdio")),
}  # fmt: skip


# From the ground up: what a room may import beside the standard library and other packages.
# A room is a folder of `rearank_agent`, a group of the files at its root, or a whole package.
ROOMS = {
    "ground": "",
    "intake": "ground",
    "listwise": "ground",
    "queueing": "",
    "schedules": "ground",
    "llm": "ground listwise queueing",
    "policies": "ground llm queueing schedules",
    "loop": "ground intake llm policies queueing schedules",
    "data": "ground policies",
    "search": "ground policies loop queueing",
    "tool_results": "ground",
    "present": "ground policies loop schedules search",
    "agents": "ground loop search present tool_results",
    "cli": "ground intake listwise llm policies loop search present schedules",
    "rearank_mcp": "ground intake policies loop search present tool_results cli",
    "rearank_evals": "ground policies loop data present cli schedules",
    "rearank_training": "ground listwise policies loop data present cli llm schedules",
}
LOOP = ("__init__", "request", "reranker")
# The functions of the core: no waiting, no package that is not Python's own.
PURE = (
    "errors", "intake", "listwise", "metrics", "policies.blend", "redact", "schedules", "text", "types",
)  # fmt: skip


@cache
def parsed(path):
    return ast.parse(path.read_text())


@cache
def imports(path, module_level=False):
    """Every module a file imports; with `module_level`, only when it is imported itself."""
    return list(_imports(path, module_level))


def _imports(path, module_level):
    for node in parsed(path).body if module_level else ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from [module for module in inside if module in MODULES] or [node.module]


def module_of(name):
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module_of(name): path for name, path in FILES.items()}


def room_of(module):
    package, *inside = module.split(".")
    if package != "rearank_agent":
        return package
    if len(inside) > 1 or (inside and MODULES[module].name == "__init__.py"):
        return inside[0]
    name = inside[0] if inside else "__init__"
    return "cli" if name == "__main__" else "loop" if name in LOOP else "ground"


def ours(path):
    return {module for module in imports(path) if module in MODULES}


def test_rooms_import_what_the_table_lets_them():
    found = {room: set() for room in ROOMS}
    for module, path in MODULES.items():
        found[room_of(module)] |= set(map(room_of, ours(path))) - {room_of(module)}
    assert {room: sorted(used) for room, used in found.items()} == {
        room: sorted(allowed.split()) for room, allowed in ROOMS.items()
    }


def test_the_table_of_rooms_only_runs_down():
    rooms = list(ROOMS)
    for number, room in enumerate(rooms):
        assert set(ROOMS[room].split()) <= set(rooms[:number]), room


def test_no_circle_of_imports():
    graph = {module: ours(path) - {module} for module, path in MODULES.items()}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_pure_modules_neither_wait_nor_import_packages():
    allowed = set(sys.stdlib_module_names) | {"rearank_agent"}
    for module, path in MODULES.items():
        if module.removeprefix("rearank_agent.").startswith(PURE):
            outer = {m.split(".")[0] for m in imports(path, module_level=True)}
            assert outer - allowed == set(), module
            assert "asyncio" not in outer, module


def test_folders_have_three_files_or_more():
    folders = {path.parent for path in FILES.values()}
    assert [folder for folder in folders if len(list(folder.glob("*.py"))) < 3] == []


def test_the_root_is_small():
    assert len(list((ROOT / "rearank_agent").glob("*.py"))) <= 16


def test_the_wheel_has_names_of_ours_alone(tmp_path):
    """Others have packages called evals, training and mcp_server; a wheel with those breaks them."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as held:
        inside = set(held.namelist())
    names = {name.split("/")[0] for name in inside}
    assert names - {f"rearank_agent-{rearank_agent.__version__}.dist-info"} == set(PACKAGES)
    assert set(FILES) <= inside, "a file that is not in the wheel"
    beside = ("rearank_agent/listwise/templates/rearank-7b.toml", "rearank_agent/present/page.html.j2",
              "rearank_evals/report/page.html.j2", "rearank_training/recipes/nano.toml",
              "rearank_training/run_page.html.j2", "rearank_training/lm/nano.toml", "rearank_agent/weights/trunk.onnx")  # fmt: skip
    assert set(beside) <= inside


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


def test_every_kind_of_fault_is_in_the_documents():
    makers = ("Fault", "FileFault", "Note", "UnreadError")
    kinds = set()
    for path in FILES.values():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                first = node.args[0]
                if node.func.id in makers and isinstance(first, ast.Constant):
                    kinds.add(first.value)
    documented = set(re.findall(r"`([a-z]+)`", (ROOT / "docs" / "faults.md").read_text()))
    assert "failed" in kinds
    assert kinds - documented == set()
