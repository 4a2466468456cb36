"""The study of a pretrained model: its stages, what a second start does, and its table."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import study
from benchmarks.pretrained import Measure, tables
from benchmarks.pretrained_stages import SIZES, SMALL, Study
from benchmarks.study import table
from helpers.small import beir
from rearank_agent.errors import InputError

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
        tmp_path / "model", *folders, tmp_path / "out", SIZES, "lexical", [], False, None,
        (2e-4, 5e-5), SMALL, OPTIONS,
    )  # fmt: skip
    return one, commands


def test_the_stages_lead_from_small_sets_to_whole_lists(made):
    one, commands = made
    one.rows()
    assert [c[c.index("--size") + 1] for c in commands] == ["2", "3", "5", "10", "12"]
    assert all(c.count("--dev") == 2 for c in commands), "dev and test are held out"
    commands.clear()
    found = one.models(0)
    assert [(c[1], c[2], c[3], c[c.index("--out") + 1]) for c in commands] == [
        ("sft", "/out/zero-shot", "/out/rows-2", "/out/sft-2-0"),
        ("sft", "/out/sft-2-0/policy", "/out/rows-3", "/out/sft-3-0"),
        ("sft", "/out/sft-3-0/policy", "/out/rows-5", "/out/sft-5-0"),
        ("sft", "/out/sft-5-0/policy", "/out/rows-10", "/out/sft-10-0"),
        ("sft", "/out/sft-10-0/policy", "/out/rows-10", "/out/sft-teacher-0"),
        ("grpo", "/out/sft-teacher-0/policy", "/out/rows-10", "/out/grpo-window-0"),
        ("grpo", "/out/grpo-window-0/policy", "/out/rows-12", "/out/grpo-list-0"),
    ]
    assert list(found) == ["zero-shot", "SFT", "SFT+GRPO", "SFT+GRPO, whole lists"]
    assert all(set(OPTIONS) < set(command) for command in commands)
    rates = [command[command.index("--rate") + 1] for command in commands]
    assert rates == ["0.0002"] * 5 + ["5e-05"] * 2


def test_records_take_the_place_of_the_teacher(made):
    one, commands = made
    replace(one, records=["a.jsonl", "b.jsonl"]).models(0)
    command = next(c for c in commands if "/out/sft-teacher-0" in c)
    assert command[3:7] == ["--records", "a.jsonl", "--records", "b.jsonl"]
    assert "--teacher" not in command


def test_seeds_can_share_an_imitation(made):
    one, commands = made
    shared = replace(one, imitated=0)
    shared.models(0)
    commands.clear()
    shared.models(1)
    assert [(c[2], c[c.index("--out") + 1]) for c in commands] == [
        ("/out/sft-teacher-0/policy", "/out/grpo-window-1"),
        ("/out/grpo-window-1/policy", "/out/grpo-list-1"),
    ]


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


def test_the_queries_are_those_of_eval_and_random_order_is_worse_than_the_best(made):
    one, _ = made
    measure = Measure(one, None)
    assert [query.name for query in measure.queries] == ["test/q1", "test/q2", "test/q3"]
    others = measure.others()
    assert list(others) == ["random order", "first-stage"]
    assert all(0 < value < 1 for value in others["random order"].values())


@pytest.mark.filterwarnings("ignore")
def test_a_policy_measured_in_this_process_ranks_as_it_would_when_served(made):
    one, _ = made
    nano = Path("examples/nano")
    found, repaired, replies = Measure(one, None).policy("SFT", 0, nano)
    again = Measure(one, None).policy("SFT", 0, Path("nothing is loaded again"))
    assert again == (found, repaired, replies)
    assert set(found) == {"test/q1", "test/q2", "test/q3"}
    assert 0 <= repaired <= 1
    assert replies.count("## ") == 3


def test_commands_can_run_in_this_process(capsys):
    study.run_here("plan", "--n", "30")
    assert "$ rearank-agent plan --n 30" in capsys.readouterr().err
    with pytest.raises(InputError, match="no policy is called 'x'"):
        study.run_here("eval", "examples/harbour", "--policy", "x")


def test_there_is_a_table_of_each_test_collection():
    first = {"a/1": 0.5, "b/1": 0.25}
    better = {"a/1": 0.75, "b/1": 0.25}
    runs = {"zero-shot": [(first, 1.0)], "SFT": [(better, 0.5)]}
    text = tables(runs, {"random order": first, "first-stage": first})
    assert [line for line in text.splitlines() if line.startswith("**")] == [
        "**all test collections**", "**a**", "**b**",
    ]  # fmt: skip
    assert [line.split("|")[2].strip() for line in text.splitlines() if "| SFT " in line] == [
        "50.0", "75.0", "25.0",
    ]  # fmt: skip


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
