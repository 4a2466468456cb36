"""What is said before a model is loaded, and while it is trained: launches, teachers, curves."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.registry import registry
from rearank_agent.cli import app
from rearank_agent.errors import InputError, RearankError
from rearank_agent.listwise import parse_reply
from rearank_training.cli.lm_progress import progress_watch
from rearank_training.lm import model as model_module
from rearank_training.lm.demonstrations import record_demonstrations

NANO = Path(__file__).parents[2] / "examples" / "nano"
GRPO = ["--prompts", "2", "--rollouts", "2", "--at-once", "2", "--steps", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Rows, dev, and the nano model without its weights: nothing here may load them."""
    root = tmp_path_factory.mktemp("launch")
    registry(root / "train", slice(0, 8))
    registry(root / "dev", slice(8, 9))
    run("rows", root / "train", "--dev", root / "dev", "--size", "5", "--depth", "10", "--sets",
        "2", "--out", root / "rows")  # fmt: skip
    shutil.copytree(NANO, root / "nano")
    (root / "nano" / "model.safetensors").unlink()
    return root


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No launcher started the tests."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def run(*words):
    return CliRunner().invoke(app, ["train", *map(str, words)])


def launch(made, out, *more, model="nano", rows="rows", dev="dev"):
    words = (made / model, made / rows, "--dev", made / dev, "--out", out, *GRPO)
    return run("grpo", *words, "--processes", "2", *more)


def refusal(done):
    assert isinstance(done.exception, RearankError), (done.output, done.exception)
    return str(done.exception)


def test_processes_are_started_by_a_script_once_their_inputs_are_checked(made, tmp_path):
    done = launch(made, tmp_path / "run")
    script = tmp_path / "run" / "launch.sh"
    assert done.stdout == f"start it with: bash {script}\n", done.exception
    line = script.read_text().splitlines()[-1]
    assert line.startswith(f"{sys.executable} -m torch.distributed.run --standalone ")
    assert [path.name for path in script.parent.iterdir()] == ["launch.sh"]


@pytest.mark.parametrize(
    ("inputs", "more", "message"),
    [
        ({}, ["--at-once", "4"], "learns from 4 replies, which 2 processes cannot take 4"),
        ({}, ["--vllm"], "vLLM can only sample for training on a GPU"),
        ({}, ["--goal", "list"], "the rows have at most 5 passages, and --goal list needs more"),
        ({"rows": "none"}, [], "none"),
        ({"dev": "none"}, [], "none"),
        ({"model": "none"}, [], "none cannot be loaded"),
    ],
)
def test_what_would_fail_in_every_process_fails_before_they_start(
    made, tmp_path, inputs, more, message
):
    assert message in refusal(launch(made, tmp_path / "run", *more, **inputs))
    assert not (tmp_path / "run").exists()


def test_the_number_of_processes_is_the_one_that_was_started(made, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    told = refusal(launch(made, tmp_path / "run"))
    assert told.startswith("3 processes were started, and --processes asks for 2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    started = refusal(launch(made, tmp_path / "run", "--at-once", "4"))
    assert started.startswith("an update learns from 4 replies, which 2 processes"), "it is one"
    monkeypatch.setenv("WORLD_SIZE", "1")  # some clusters set it everywhere
    assert launch(made, tmp_path / "run").exit_code == 0


def test_several_gpus_are_not_trained_on_by_one_process(made, tmp_path, monkeypatch):
    monkeypatch.setattr(model_module, "device", lambda _: "cuda")
    monkeypatch.setattr(model_module, "gpu_count", lambda: 4)
    monkeypatch.setattr(sys, "argv", ["rearank-agent", "train", "grpo", "a model"])
    words = (made / "nano", made / "rows", "--dev", made / "dev", "--out", tmp_path / "run", *GRPO)
    assert refusal(run("grpo", *words)) == (
        "4 GPUs are visible, and one process trains on one. For all of them: rearank-agent train "
        "grpo 'a model' --processes 4; for one: CUDA_VISIBLE_DEVICES=0 rearank-agent train grpo "
        "'a model'"
    )


def test_a_model_that_is_asked_for_scores_is_refused_before_it_is_loaded(made, tmp_path):
    shutil.copytree(made / "nano", tmp_path / "scores")
    path = tmp_path / "scores" / "rearank.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"form": "scores"}))
    words = (tmp_path / "scores", made / "rows", "--dev", made / "dev", "--out", tmp_path / "run")
    told = refusal(run("grpo", *words, *GRPO))
    assert "asked for scores, and only orders are trained" in told


@pytest.mark.parametrize(
    ("count", "teacher", "warned"),
    [(7_600_000_000, "embedded", True), (500_000_000, "embedded", False),
     (7_600_000_000, "vllm:larger", False)],
)  # fmt: skip
def test_a_large_model_that_learns_from_a_weaker_one_is_a_note(
    made, tmp_path, monkeypatch, count, teacher, warned
):
    monkeypatch.setattr(model_module, "parameter_count", lambda _: count)
    words = (made / "nano", made / "rows", "--dev", made / "dev", "--out", tmp_path / "run")
    done = run("sft", *words, "--teacher", teacher, "--processes", "2", "--device", "cpu")
    assert done.exit_code == 0, done.exception
    note = "has 7.6 billion parameters, and is taught the orders of embedded, a weaker policy"
    assert (note in " ".join(done.stderr.split())) is warned


def test_what_rerank_prints_as_json_is_a_record_to_learn_from(made, tmp_path):
    passages = tmp_path / "passages.jsonl"
    texts = ("Fleas jump.", "Dogs bark.", "A flea jumps far.", "Cats sleep.")
    passages.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    lines = []
    for query in ("how far do fleas jump", "what barks"):
        words = ["rerank", query, str(passages), "--json", "--policy", "lexical"]
        lines.append(CliRunner().invoke(app, words).stdout)
    assert [line.count("\n") for line in lines] == [1, 1], "a line each"
    records = tmp_path / "records.jsonl"
    records.write_text("".join(lines))
    found = list(record_demonstrations(records, 5, quotes=False))
    assert [one.example.query for one in found] == ["how far do fleas jump", "what barks"]
    assert [len(one.example.passages) for one in found] == [4, 4]
    (best, *_) = parse_reply(found[1].reply, 4).order
    assert found[1].example.passages[best].text == "Dogs bark."


def test_the_curves_are_drawn_at_every_evaluation(tmp_path):
    steps = (
        {"phase": "grpo", "step": 0, "dev": {"d": 0.5}, "macro": 0.5, "mended": 0.0},
        {"phase": "grpo", "step": 1, "loss": 0.1, "reward": 0.2},
        {"phase": "grpo", "step": 1, "dev": {"d": 0.6}, "macro": 0.6, "mended": 0.0},
    )
    watch, drawn = progress_watch(2, tmp_path), []
    for line in steps:
        with (tmp_path / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        watch(line)
        drawn.append({path.name for path in tmp_path.glob("*.png")})
    assert drawn == [{"dev.png"}, {"dev.png"}, {"dev.png", "learning.png"}]


def test_an_unreadable_record_is_named_before_processes_start(made, tmp_path):
    (tmp_path / "records.jsonl").write_text("{}\n")
    done = run("sft", made / "nano", "--records", tmp_path / "records.jsonl", "--dev", made / "dev",
               "--out", tmp_path / "run", "--processes", "2", "--device", "cpu")  # fmt: skip
    assert isinstance(done.exception, InputError)
    assert "records.jsonl, line 1" in str(done.exception)
