"""`doctor`: what is installed, which policy would run and why, whether it answers."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from textwrap import wrap
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from rearank_agent.cli.complete import policies, templates
from rearank_agent.cli.console import console, print_json, print_line, progress_bar
from rearank_agent.cli.policy_options import PolicyOptions
from rearank_agent.errors import RearankError
from rearank_agent.policies.registry import POLICIES

if TYPE_CHECKING:
    from rearank_agent.policies.pretrained.suggest import Suggestion
    from rearank_agent.policies.protocol import Policy

_PACKAGES = {
    "": ("onnxruntime", "tokenizers", "numpy", "bm25s"),
    "llm": ("pydantic-ai-slim",),
    "mcp": ("mcp",),
    "docs": ("markitdown",),
}
_QUERY = "how long do fleas live"
_SAMPLE = (
    "Most adult fleas live for two to three months on a host that they can feed from. "
    "Without one they die within a few days, though the pupa can wait in its cocoon for "
    "months until it feels the warmth and movement of an animal nearby. A female starts to "
    "lay eggs two days after her first meal, about twenty of them a day, sample {number}."
)

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
def doctor(
    policy: Annotated[
        str | None,
        typer.Option(
            help="The policy to check.  [REARANK_POLICY, else embedded]",
            autocompletion=policies,
            show_default=False,
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A model's prompt template: rearank-7b, a file, or a checkpoint's rearank.json.",
            autocompletion=templates,
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is installed, which policy would run and why, and one timing.

    A vLLM server is asked which model it serves, and ranks twenty passages. For a policy of
    the base it also names stronger models that this machine can run.
    """
    report = {
        "rearank-agent": version("rearank-agent"),
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        **{
            f"{name} (extra: {extra})" if extra else name: _version(name)
            for extra, names in _PACKAGES.items()
            for name in names
        },
        **_policy(policy, template),
    }
    stronger = _stronger(report)
    if as_json:
        print_json(report | {"stronger": [asdict(one) for one in stronger]})
    else:
        _print_report(report)
        _print_stronger(stronger)
    if "problem" in report:
        sys.exit(1)


def _print_report(report: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in report.items():
        if name != "problem":
            table.add_row(name, str(value))
    console().print(table)
    if "problem" in report:  # below the table, where no command to paste is broken into lines
        print_line(f"problem: {report['problem']}")


def _stronger(report: dict[str, Any]) -> tuple[Suggestion, ...]:
    """Models that judge better than the policy that was checked, if that is one of the base."""
    name = str(report.get("policy", "")).partition(" ")[0]
    if "problem" in report or name.partition(":")[0] not in POLICIES:
        return ()
    from rearank_agent.policies.pretrained.suggest import suggestions

    return suggestions()


def _print_stronger(stronger: tuple[Suggestion, ...]) -> None:
    """Each in two lines: the one to type, whole so that it can be pasted, and what it is."""
    if not stronger:
        return
    from rearank_agent.policies.pretrained.catalog import DL19_NOTE

    print_line()
    print_line("Stronger, one line away (rearank-agent models lists more):")
    for one in stronger:
        here = "downloaded" if one.cached else "not downloaded yet"
        gpu = "no GPU" if one.device == "cpu" else f"on the GPU ({one.device})"
        here += f", {gpu}" if one.model.extra else ""
        state = f"first: {one.needs}" if one.needs else here
        print_line(f"  rearank-agent rerank QUERY FILE --policy {one.model.policy}")
        print_line(f"    {one.model.facts}; {state}")
    for line in wrap(DL19_NOTE, 80):
        print_line(line)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _policy(wanted: str | None, template: str | None) -> dict[str, Any]:
    from rearank_agent.reranker import run_sync
    from rearank_agent.settings import settings

    found: dict[str, Any] = {}
    checked: Policy | None = None
    try:
        name = wanted or settings().policy
        why = "REARANK_POLICY" if os.environ.get("REARANK_POLICY") else "the default"
        found["policy"] = f"{name} ({'--policy' if wanted else why})"
        checked = PolicyOptions(template=template).make_uncached_policy(name)
        found["fingerprint"] = checked.fingerprint
        return found | _server(checked) | _trial(checked)
    except RearankError as error:
        return found | {"problem": str(error)}
    finally:
        if chat := getattr(checked, "chat", None):
            run_sync(chat.close())


def _server(policy: Policy) -> dict[str, Any]:
    """What a vLLM server reports of the model, and how it was trained."""
    if policy.name.partition(":")[0] != "vllm":
        return {}
    from rearank_agent.llm.checkpoint import PromptConfig, describe, template_hint
    from rearank_agent.llm.policy import LLM
    from rearank_agent.reranker import run_sync

    assert isinstance(policy, LLM)  # noqa: S101 - what the name says
    serving = run_sync(policy.chat.check_served())
    if serving is None:
        return {}
    found = {"model": serving.root, "takes": f"{serving.length} tokens"}
    if trained := PromptConfig.load(serving.root):
        found["trained with"] = describe(trained.options())
    elif note := template_hint(policy.name, serving.root, policy.config.template):
        found["note: words"] = note
    return found


def _trial(policy: Policy) -> dict[str, Any]:
    """A trial run: how long a hundred passages take, or one window of a model."""
    from rearank_agent.reranker import Reranker
    from rearank_agent.types import Passage

    reranker, start = Reranker(policy), perf_counter()
    sample = [Passage(str(i), _SAMPLE.format(number=i)) for i in range(1, 101)]
    sample = sample[: policy.window]
    if policy.window is None:
        reranker.rerank_sync(_QUERY, sample[:1])
    loaded = perf_counter()
    with progress_bar(f"ranking {len(sample)} passages") as show:
        ranking = reranker.rerank_sync(_QUERY, sample, progress=show)
    kinds = {fault.kind: fault.detail for fault in ranking.faults}
    ready = {} if policy.window else {"ready after": f"{loaded - start:.2f} s"}
    return {
        **ready,
        f"{len(sample)} passages": f"{perf_counter() - loaded:.2f} s",
        **{"problem" if k == "failed" else f"note: {k}": kinds[k] for k in kinds},
    }
