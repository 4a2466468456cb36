"""The card of a trained language model: what it is, how it was made, and what was not measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rearank_agent import __version__
from rearank_training.log import RUN
from rearank_training.run_report import RunReport

__all__ = ["lineage", "model_card"]

_SETTINGS = (
    "steps", "batch", "prompts", "rollouts", "updates", "rate", "kl", "clip", "temperature",
    "reward", "goal", "lora", "qlora", "dtype", "seed", "trl",
)  # fmt: skip
"""Settings that a card shows; no path is among them."""

_CARD = """\
---
{head}---

# {short}

A language model that puts passages in the order of their relevance to a query: it is shown up to
{window} at once, and replies with their numbers, best first. Trained by rearank-agent {version}.

| | |
|---|---|
| base model | {base} |
| licence of the base model | {licence} |
{runs}
## Use

```
hf download {name} --local-dir {short}
rearank-agent serve {short} --name {short}
rearank-agent rerank QUERY FILE --policy vllm:{short}
```

Prompt, window and length of replies are in `rearank.json`; it was not trained with others.

## Measured

{measured}
## Not measured

The figures above are of the queries that the best of {evaluations} evaluations was chosen on, so
they are too high. Nothing else was measured: no test collection, no other language, no long lists,
no speed, and not whether passages that are written to mislead it do. `rearank-agent eval` measures
it on your data.
"""


def lineage(run: RunReport) -> list[Mapping[str, Any]]:
    """The inputs of the runs that led to this one, the first of them first.

    A run whose model is the policy of another run on this disk comes after that.
    """
    found = [run.inputs]
    while (parent := Path(str(found[0].get("model", ""))).parent / RUN).is_file():
        inputs = json.loads(parent.read_text(encoding="utf-8"))
        if inputs in found:
            break
        found.insert(0, inputs)
    return found


def model_card(run: RunReport, name: str, licence: str) -> str:
    """The card, in Markdown with a head in YAML.

    Args:
        run: whose policy it is.
        name: of the repository.
        licence: of the base model, as the hub or its card says; empty if that is not known.
    """
    runs = lineage(run)
    base = str(runs[0].get("model", ""))
    named = base if base and not Path(base).exists() else ""
    unknown = "not known here: find it out before you use this one or pass it on"
    return _CARD.format(
        head=_head(named, licence),
        name=name,
        short=name.rpartition("/")[2],
        window=run.inputs.get("window", "some"),
        version=__version__,
        base=named or "a folder of whoever trained it",
        licence=licence or unknown,
        runs=_table(runs),
        measured=_measured(run),
        evaluations=len(run.evaluations),
    )


def _head(base: str, licence: str) -> str:
    fields = {"license": licence, "base_model": base, "pipeline_tag": "text-ranking"}
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in fields.items() if value]
    return "".join(lines) + "tags: [reranking, listwise, rearank-agent]\n"


def _table(runs: Sequence[Mapping[str, Any]]) -> str:
    """A line for each run, with its rows and settings."""
    how = {"sft": "imitation", "grpo": "reinforcement"}
    lines = []
    for one in runs:
        given = {name: one.get(name) for name in _SETTINGS}
        told = [
            f"{name} {value}"
            for name, value in given.items()
            if value not in (None, []) and value is not False
        ]
        teacher = f" of {one['teacher']}" if one.get("teacher") else ""
        teacher = " of another model's records" if one.get("records") else teacher
        phase = str(one.get("phase", ""))
        lines.append(f"| {how.get(phase, phase)}{teacher} | {_cell(', '.join(told))} |")
        if len(rows := str(one.get("rows", ""))) == 64:  # a hash; a path stays where it is
            lines.append(f"| its rows, sha256 of the manifest | `{rows}` |")
    return "".join(f"{line}\n" for line in lines)


def _measured(run: RunReport) -> str:
    first, best = run.evaluations[0], run.best or run.evaluations[0]
    asked = run.inputs
    rows = [
        f"| {_cell(name)} | {100 * first['dev'][name]:.2f} | {100 * value:.2f} |\n"
        for name, value in best["dev"].items()
    ]
    before = "before training" if first["step"] == 0 else f"at step {first['step']}"
    return (
        f"nDCG@10 x100 on dev, at most {asked.get('dev_queries', '?')} queries of each collection, "
        f"their first {asked.get('dev_depth', '?')} candidates; the model of step {best['step']}, "
        f"{best['mended']:.0%} of whose replies were repaired.\n\n"
        f"| collection | {before} | this model |\n|---|---|---|\n{''.join(rows)}"
    )


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
