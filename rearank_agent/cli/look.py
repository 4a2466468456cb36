"""`plan` and `doctor`: what would be done, before anything is."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from rearank_agent.cli import app
from rearank_agent.errors import RearankError

_PARTS = {
    "core": ("onnxruntime", "tokenizers", "numpy", "bm25s", "pydantic-ai-slim", "mcp"),
    "docs": ("markitdown",),
}
_SAMPLE = (
    "Most adult fleas live for two to three months on a host that they can feed from. "
    "Without one they die within a few days, though the pupa can wait in its cocoon for "
    "months until it feels the warmth and movement of an animal nearby. A female starts to "
    "lay eggs two days after her first meal, about twenty of them a day, sample {number}."
)

Json = Annotated[bool, typer.Option("--json", help="Give JSON.")]


@app.command()
def plan(
    n: Annotated[int, typer.Option("--n", min=1, max=100_000, help="How many passages.")] = 100,
    as_json: Json = False,
) -> None:
    """Show what each schedule would cost, before anything runs.

    A call judges one window. The calls of one turn run at the same time, so
    the time a model needs is about turns x seconds a call.
    """
    from rearank_agent.schedules import NAMES, cost

    made = [make() for make in NAMES.values()]
    rows = [
        {"schedule": s.name, "calls": (c := cost(s, n)).calls, "turns": c.turns, "needs": _needs(s)}
        for s in made
    ]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("schedule", "calls", "turns", "needs"):
        table.add_column(name, justify="right" if name in ("calls", "turns") else "left")
    for row in rows:
        table.add_row(*map(str, row.values()))
    console = Console(highlight=False)
    console.print(f"{n} passages, if the first stage is right (topdown takes more if not):\n")
    console.print(table)


def _needs(schedule: Any) -> str:
    return "scores that compare across windows" if schedule.comparable else "any policy"


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show what is installed, which policy would run and why, and one timing."""
    report = {
        "rearank-agent": version("rearank-agent"),
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        **{name: _version(name) for name in _PARTS["core"]},
        **{f"{name} (extra: docs)": _version(name) for name in _PARTS["docs"]},
        **_policy(),
    }
    healthy = "problem" not in report
    if as_json:
        print(json.dumps(report))
    else:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, value in report.items():
            table.add_row(name, str(value))
        Console(highlight=False).print(table)
    if not healthy:
        sys.exit(1)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _policy() -> dict[str, Any]:
    from rearank_agent.passage import Passage
    from rearank_agent.reranker import Reranker
    from rearank_agent.settings import settings

    try:
        name = settings().policy
        why = "REARANK_POLICY" if os.environ.get("REARANK_POLICY") else "the default"
        start = perf_counter()
        reranker = Reranker(name)
        sample = [Passage(str(i), _SAMPLE.format(number=i)) for i in range(1, 101)]
        reranker.rerank_sync("how long do fleas live", sample[:1])
        loaded = perf_counter()
        ranking = reranker.rerank_sync("how long do fleas live", sample)
    except RearankError as error:
        return {"problem": str(error)}
    kinds = {fault.kind: fault.detail for fault in ranking.faults}
    notes = {"problem" if kind == "failed" else f"note: {kind}": kinds[kind] for kind in kinds}
    return {
        "policy": f"{name} ({why})",
        "fingerprint": reranker.policy.fingerprint,
        "ready after": f"{loaded - start:.2f} s",
        "100 passages": f"{perf_counter() - loaded:.2f} s",
        **notes,
    }
