"""The study of a pretrained model: its stages, what a second start does, and its table."""

from pathlib import Path

import pytest

from benchmarks import pretrained, study
from benchmarks.pretrained import SMALL, Study
from benchmarks.study import table
from helpers.small import beir

OPTIONS = ("--lora", "8")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A study whose commands are recorded, and leave what later stages look for."""
    commands = []

    def record(*words, **_environment):
        commands.append([str(word).replace(str(tmp_path), "") for word in words])
        out = Path(words[words.index("--out") + 1])
        out.mkdir(parents=True, exist_ok=True)
        if words[:2] == ("train", "rows"):
            (out / "manifest.json").touch()

    monkeypatch.setattr(study, "run_command", record)
    monkeypatch.setattr(Study, "_zero_shot", lambda self: self.out / "zero-shot")
    folders = [[beir(tmp_path / name)] for name in ("train", "dev", "test")]
    one = Study(
        tmp_path / "model", *folders, tmp_path / "out", "vllm", "lexical", False, SMALL, OPTIONS
    )
    return one, commands


def test_the_stages_lead_from_small_sets_to_whole_lists(made):
    one, commands = made
    one.rows()
    assert [c[c.index("--size") + 1] for c in commands] == ["2", "3", "5", "10", "12"]
    assert all(c.count("--dev") == 2 for c in commands), "dev and test are held out"
    commands.clear()
    found = one.models(0)
    assert [(c[1], c[2], c[3], c[c.index("--out") + 1]) for c in commands] == [
        ("sft", "/out/zero-shot", "/out/rows-2", "/out/sft-2-judgements-0"),
        ("sft", "/out/sft-2-judgements-0/policy", "/out/rows-3", "/out/sft-3-judgements-0"),
        ("sft", "/out/sft-3-judgements-0/policy", "/out/rows-5", "/out/sft-5-judgements-0"),
        ("sft", "/out/sft-5-judgements-0/policy", "/out/rows-10", "/out/sft-10-judgements-0"),
        ("sft", "/out/sft-10-judgements-0/policy", "/out/rows-10", "/out/sft-10-lexical-0"),
        ("grpo", "/out/sft-10-lexical-0/policy", "/out/rows-10", "/out/grpo-window-0"),
        ("grpo", "/out/grpo-window-0/policy", "/out/rows-12", "/out/grpo-list-0"),
    ]
    assert list(found) == ["zero-shot", "SFT", "SFT+GRPO", "SFT+GRPO, whole lists"]
    assert all(command[-2:] == [*OPTIONS] for command in commands)


def test_a_second_start_does_what_is_left(made):
    one, commands = made
    one.rows()
    one.models(0)
    commands.clear()
    (one.out / "grpo-window-0" / "ended").unlink()
    (one.out / "grpo-window-0" / "checkpoint-1").mkdir()
    one.rows()
    one.models(0)
    (command,) = commands
    assert (command[1], command[-1]) == ("grpo", "--resume")


def test_random_order_is_between_the_worst_and_the_best(made):
    one, _ = made
    (mean,) = [pretrained._mean_of_orders([1, 0], [1], "seed")]
    assert mean == pytest.approx((1 + 0.6309) / 2, abs=0.05)
    queries = [f"test/{query}" for query in ("q1", "q2")]
    assert set(one.random_order(dict.fromkeys(queries, 0.0))) <= set(queries)


def test_the_table_has_every_system_and_its_differences():
    first = {"a/1": 0.5, "a/2": 0.25}
    better = {"a/1": 0.75, "a/2": 0.5}
    found = {"zero-shot": [(first, first, 1.0)], "SFT": [(better, first, 0.5)]}
    text = table(found, {"first-stage": first}, ("first-stage", "zero-shot"))
    assert text.splitlines()[2:] == [
        "| | nDCG@10 | against first-stage | against zero-shot | replies repaired |",
        "|---|---|---|---|---|",
        "| first-stage | 37.5 |  |  |  |",
        "| zero-shot | 37.5 | +0.0 (+0.0 to +0.0) |  | 100% |",
        "| SFT | 62.5 | +25.0 (+25.0 to +25.0) | +25.0 (+25.0 to +25.0) | 50% |",
    ]
