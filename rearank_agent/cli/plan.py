"""`plan`: what a ranking would cost, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from rearank_agent.cli.complete import policies
from rearank_agent.cli.console import console, print_json

if TYPE_CHECKING:
    from rearank_agent.llm.policy import LLM
    from rearank_agent.policies.protocol import Policy
    from rearank_agent.schedules import Schedule
    from rearank_agent.types import Passage

_QUERY = "a question of about ten words, as people ask them"
_PASSAGE = "word " * 60
_BYTES_PER_TOKEN = 4.0  # of usual English text

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
def plan(
    file: Annotated[
        str | None,
        typer.Argument(help="Passages to count.  \\[else --n of 60 words]", show_default=False),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, max=100_000, help="How many passages.")] = 100,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Show what this model would read and write: vllm:NAME, openai:NAME, ...",
            autocompletion=policies,
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what each schedule would cost, before anything runs.

    A call ranks one window. The calls of one turn run at the same time, so
    a model needs about turns x seconds per call.
    """
    from rearank_agent.cli.read_passages import read_passages
    from rearank_agent.policies.registry import policy as policy_of
    from rearank_agent.schedules import SCHEDULES
    from rearank_agent.types import Passage

    sample = read_passages(file) if file else [Passage(str(i), _PASSAGE) for i in range(n)]
    planned = policy_of(policy) if policy else None
    rows = [_row(make(), sample, planned) for make in SCHEDULES.values()]
    if as_json:
        print_json(rows)
        return
    out, count = console(), len(sample)
    out.print(f"{count} passages, if the first stage is right (topdown takes more if not)")
    if planned and planned.window:
        out.print("prompts estimated, replies at their longest; cached replies cost nothing")
    out.print()
    out.print(_table(rows))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name, value in rows[0].items():
        table.add_column(name.replace("_", " "), justify="right" if value != str(value) else "left")
    for row in rows:
        table.add_row(*(f"{v:,}" if isinstance(v, int) else str(v) for v in row.values()))
    return table


def _row(schedule: Schedule, sample: list[Passage], policy: Policy | None) -> dict[str, Any]:
    from rearank_agent.schedules import dry_run

    turns = dry_run(schedule, len(sample))
    windows = [window for turn in turns for window in turn]
    row: dict[str, Any] = {"schedule": schedule.name, "calls": len(windows), "turns": len(turns)}
    if policy is None or policy.window is None:
        needs = "scores that compare across windows" if schedule.comparable else "any policy"
        return row | {"needs": needs}
    from rearank_agent.llm.policy import LLM

    assert isinstance(policy, LLM)  # noqa: S101 - the only named policies with a window
    prompt = sum(_prompt_tokens(policy, [sample[p] for p in window]) for window in windows)
    needs = "--format scores" if schedule.comparable else "any"
    reply = len(windows) * policy.config.budget
    return row | {"prompt_tokens": prompt, "reply_tokens": reply, "format": needs}


def _prompt_tokens(policy: LLM, window: list[Passage]) -> int:
    from rearank_agent.listwise import build_prompt

    prompt = build_prompt(
        _QUERY,
        window,
        think=policy.config.think,
        template=policy.config.template,
        cut=policy.config.cut,
    )
    size = sum(len(message["content"].encode()) for message in prompt.messages)
    return int(size / _BYTES_PER_TOKEN) + 5 * len(prompt.messages)
