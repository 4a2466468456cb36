"""What a dry run measures, and what it makes of it."""

from dataclasses import replace

import pytest

from rearank_agent.errors import InputError
from rearank_training.cli.dry_run import Stopwatch, estimate, run_or_try
from rearank_training.lm.settings import GRPOSettings, SFTSettings

LINES = [
    (5, {"queries": 2}), (7, {"evaluated": True}), (8, {"macro": 0.5}),  # before the first step
    (18, {"loss": 0.1}),
    (18, {"queries": 2}), (19, {"evaluated": True}), (25, {"macro": 0.5}),
]  # fmt: skip


def test_each_part_takes_what_it_took_the_longer_time():
    now, seen = [0.0], []
    stopwatch = Stopwatch(seen.append, clock=lambda: now[0])
    for now[0], line in LINES:
        stopwatch(line)
    now[0] = 28
    stopwatch.stop()
    assert stopwatch.took == {"start": 5, "dev": 2, "after": 6, "step": 10, "checkpoint": 3}
    assert seen == [line for _, line in LINES], "it hands all on"


def test_a_whole_run_is_estimated_from_its_parts():
    took = {"start": 5.0, "dev": 2.0, "after": 6.0, "step": 10.0, "checkpoint": 3.0}
    settings = GRPOSettings(steps=50, every=20, dev_queries=25)
    assert estimate(took, settings, queries=2) == {
        "model and rows": (5, 1), "a step": (10, 50), "an evaluation on dev": (31, 4),
        "a checkpoint": (3, 3),
    }  # fmt: skip
    later = replace(settings, evaluate_first=False, steps=40)
    assert estimate(took, later, queries=25)["an evaluation on dev"] == (8, 2)


def test_a_dry_run_leaves_nothing_also_when_it_fails(tmp_path, capsys):
    folders = []

    def job(settings, folder, resume, watch):
        assert (settings.steps, settings.every, settings.dev_queries, resume) == (1, 1, 2, False)
        assert (settings.report_to, settings.batch) == ("none", 7)
        (folder / "checkpoint-1").mkdir(parents=True)
        folders.append(folder)
        raise InputError("no")

    settings = SFTSettings(batch=7, report_to="wandb")
    with pytest.raises(InputError, match="no"):
        run_or_try(job, settings, (tmp_path / "run", False), dry_run=True)
    assert folders == [tmp_path / "run.dry-run"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="a dry run begins anew: leave out --resume"):
        run_or_try(job, settings, (tmp_path / "run", True), dry_run=True)
