"""`plan`: what a ranking would cost, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeGuard

import typer
from rich.table import Table

from rearank_agent.cli.complete import policies
from rearank_agent.cli.console import console, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rearank_agent.llm.policy import LLM
    from rearank_agent.policies.composed import Composed
    from rearank_agent.policies.protocol import Policy
    from rearank_agent.schedules import Schedule
    from rearank_agent.types import Passage, Window

_QUERY = "a question of about ten words, as people ask them"
_PASSAGE = "word " * 60
_BYTES_PER_TOKEN = 4.0  # of usual English text
_NO_TOKENS = {"prompt_tokens": 0, "reply_tokens": 0}

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
    from rearank_agent.policies.composed import Composed
    from rearank_agent.policies.registry import policy as policy_of
    from rearank_agent.schedules import SCHEDULES
    from rearank_agent.types import Passage

    sample = read_passages(file) if file else [Passage(str(i), _PASSAGE) for i in range(n)]
    planned = policy_of(policy) if policy else None
    if isinstance(planned, Composed):
        rows = [*_rows_of_stages(planned, sample)]
    else:
        rows = [_row(make(), sample, planned) for make in SCHEDULES.values()]
    if as_json:
        print_json(rows)
        return
    out, count = console(), len(sample)
    out.print(f"{count} passages, if the first stage is right (topdown takes more if not)")
    if any("prompt_tokens" in row for row in rows):
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
    windows = [window for turn in turns for window in turn.windows]
    row: dict[str, Any] = {"schedule": schedule.name, "calls": len(windows), "turns": len(turns)}
    row |= _cost(policy, sample, windows)
    if _is_prompted(policy):
        return row | {"format": "--format scores" if schedule.comparable else "any"}
    needs = "scores that compare across windows" if schedule.comparable else "any policy"
    return row | {"needs": needs}


def _rows_of_stages(policy: Composed, sample: list[Passage]) -> Iterator[dict[str, Any]]:
    """What each of several policies would be asked, by the schedule that suits it."""
    from rearank_agent.policies.auto_schedule import plan as plan_of
    from rearank_agent.policies.composed import leaves
    from rearank_agent.schedules import dry_run

    turns = dry_run(plan_of(policy, "auto", len(sample)), len(sample))
    for number, one in enumerate(leaves(policy)):
        own = [[w for judge, w in turn.judged if judge == number] for turn in turns]
        windows = [window for turn in own for window in turn]
        row: dict[str, Any] = {
            "policy": one.name,
            "passages": len({position for window in windows for position in window}),
            "calls": len(windows),
            "turns": sum(map(bool, own)),
        }
        yield row | _NO_TOKENS | _cost(one, sample, windows)


def _is_prompted(policy: Policy | None) -> TypeGuard[LLM]:
    """Whether it is a language model that answers."""
    if policy is None or policy.window is None:
        return False
    from rearank_agent.llm.policy import LLM

    return isinstance(policy, LLM)


def _cost(
    policy: Policy | None, sample: list[Passage], windows: Sequence[Window]
) -> dict[str, int]:
    """The tokens of these windows, for a policy that counts them; and its calls if others."""
    if _is_prompted(policy):
        prompt = sum(_prompt_tokens(policy, [sample[p] for p in window]) for window in windows)
        return {"prompt_tokens": prompt, "reply_tokens": len(windows) * policy.config.budget}
    if policy is None or not policy.name.startswith("likelihood:"):
        return {}
    from rearank_agent.policies.likelihood import Likelihood

    assert isinstance(policy, Likelihood)  # noqa: S101 - what the name says
    texts = policy.prompt.build(_QUERY, sample, policy.cut).texts
    sizes = [len(texts[position].encode()) for window in windows for position in window]
    tokens = int(sum(sizes) / _BYTES_PER_TOKEN)
    return {"calls": len(sizes), "prompt_tokens": tokens, "reply_tokens": 0}


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
