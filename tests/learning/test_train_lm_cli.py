"""`train nano`, `sft` and `grpo` as commands, in one process and in two."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2ForCausalLM
from typer.testing import CliRunner

from benchmarks.registry import registry
from helpers.terminal import PROGRAM
from rearank_agent.cli import app
from rearank_agent.errors import InputError, SetupError
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_training.lm.model import write_model
from rearank_training.lm.nano import nano_config
from rearank_training.lm.recipes import recipe_by_name
from rearank_training.lm.settings import GRPOSettings, SFTSettings

RECIPES = Path(__file__).parents[2] / "training" / "rearank_training" / "recipes"
QUICK = ["--dev-queries", "2", "--dev-depth", "8", "--every", "1", "--threads", "1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Rows, dev and a nano model."""
    root = tmp_path_factory.mktemp("cli")
    registry(root / "train", slice(0, 10))
    registry(root / "dev", slice(10, 12))
    for name, size in (("rows", "5"), ("lists", "10")):
        run("rows", root / "train", "--dev", root / "dev", "--size", size, "--depth", "10",
            "--sets", "4", "--out", root / name)  # fmt: skip
    run("nano", root / "rows", "--out", root / "nano", "--size", "32", "--layers", "1")
    return root


def run(*words, code=0):
    done = CliRunner().invoke(app, ["train", *map(str, words)], catch_exceptions=True)
    if code == 0:
        assert done.exit_code == 0, (done.output, done.exception)
    return done


def phase(name, made, out, *more, rows="rows", model="nano"):
    return run(
        name, made / model, made / rows, "--dev", made / "dev", "--out", out, *more, code=None
    )


def test_from_rows_to_a_policy_and_on(made, tmp_path):
    taught = ["--teacher", "lexical", "--no-quotes", "--batch", "4", "--at-once", "4"]
    done = phase("sft", made, tmp_path / "sft", *taught, "--steps", "2", *QUICK)
    assert done.exit_code == 0, done.exception
    assert set(json.loads(done.stdout)) == {"step", "dev", "macro"}
    assert f"rearank-agent serve {tmp_path / 'sft' / 'policy'}" in done.stderr
    assert "sft 2/2: dev nDCG@10 " in done.stderr
    assert {"dev.png", "learning.png", "log.jsonl", "policy", "run.json"} <= {
        path.name for path in (tmp_path / "sft").iterdir()
    }
    rollouts = ["--prompts", "2", "--rollouts", "2", "--at-once", "2", "--steps", "2"]
    done = phase("grpo", made, tmp_path / "grpo", *rollouts, *QUICK, model=tmp_path / "sft/policy")
    assert done.exit_code == 0, done.exception
    assert "rows are in their best order, and left out" in done.stderr
    assert PromptConfig.load(tmp_path / "grpo" / "policy") == nano_config()
    again = phase("grpo", made, tmp_path / "grpo", *rollouts, *QUICK, model=tmp_path / "sft/policy")
    assert "holds a run: go on with --resume" in str(again.exception)
    done = phase("grpo", made, tmp_path / "grpo", *rollouts, *QUICK, "--resume", "--kl", "0.5",
                 model=tmp_path / "sft/policy")  # fmt: skip
    assert "other settings: kl was 0.01, is 0.5" in str(done.exception)
    done = phase("grpo", made, tmp_path / "list", *rollouts, *QUICK, "--goal", "list",
                 rows="lists", model=tmp_path / "sft/policy")  # fmt: skip
    assert done.exit_code == 0, done.exception
    assert "part/list_gain" in (tmp_path / "list" / "log.jsonl").read_text()


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("sft", ["--teacher", "lexical", "--batch", "4", "--at-once", "4", "--steps", "30"]),
        ("grpo", ["--prompts", "2", "--rollouts", "2", "--at-once", "2", "--steps", "30"]),
    ],
)
def test_a_dry_run_does_one_step_of_everything(made, tmp_path, name, more):
    done = phase(name, made, tmp_path / "run", *more, *QUICK, "--every", "10", "--dry-run")
    assert done.exit_code == 0, done.exception
    assert list(tmp_path.iterdir()) == []
    title, *parts = (line.split() for line in done.stdout.splitlines()[:5])
    assert title == ["seconds", "times"]
    assert [" ".join(line[:-2]) for line in parts] == [
        "model and rows", "a step", "an evaluation on dev", "a checkpoint",
    ]  # fmt: skip
    assert [line[-1] for line in parts] == ["1", "30", "4", "3"]
    whole, memory, disk = done.stdout.splitlines()[5:8]
    assert re.fullmatch(r"the whole run: [\d.]+ \w+ at most, if later steps .*", whole)
    assert re.fullmatch(r"memory: \d+\.\d\d GB at the peak", memory)
    assert re.fullmatch(r"disk: \d\.\d\d GB", disk)
    assert f"{name} 1/1: dev nDCG@10 " in done.stderr


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("grpo", ["--device", "cuda"], "there is no GPU that torch can use"),
        ("grpo", ["--cut", "50"], "trained with another prompt config: leave out --cut"),
        ("grpo", ["--prompt-tokens", "20"], "prompts have more than 20 tokens"),
        ("grpo", ["--prompts", "999", "--at-once", "333"], "rows are fewer than the 999 prompts"),
        ("grpo", ["--reward", "x"], "there is no reward 'x'"),
        ("grpo", ["--goal", "list"], "the rows have at most 5 passages, and --goal list"),
        ("grpo", ["--temperature", "0"], "the temperature must be above 0"),
        ("grpo", ["--trl", "los_type=dapo"], "no setting 'los_type'; the nearest is loss_type"),
        ("grpo", ["--trl", "beta=0.1"], "TRL's beta is set by this program: use --kl"),
        ("sft", ["--trl", "seed"], "a setting of TRL is written NAME=VALUE, not 'seed'"),
        ("sft", ["--report-to", "trackio"], "--report-to trackio needs trackio, which is not"),
        ("sft", ["--report-to", "x"], "--report-to has none, tensorboard, trackio, wandb, not 'x'"),
        ("grpo", ["--recipe", "x"], "there is no recipe 'x'; there are: nano, rearank-7b"),
        ("sft", ["--records", "x"], "give either rows, or --records"),
        ("sft", ["--teacher", "x"], "no policy is called 'x'"),
        ("sft", ["--resume"], "holds no run to go on with"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(made, tmp_path, name, more, message):
    out = tmp_path / "run"
    done = phase(name, made, out, *QUICK, *more)
    assert done.exit_code != 0
    assert isinstance(done.exception, InputError | SetupError)
    assert message in str(done.exception)
    assert not list(out.glob("policy"))


def test_recipes_hold_settings_alone_and_options_win(made, tmp_path):
    for path in RECIPES.glob("*.toml"):
        for part, kind in (("sft", SFTSettings), ("grpo", GRPOSettings)):
            words = set(tomllib.loads(path.read_text()).get("words", {}))
            told = recipe_by_name(path.stem, part)
            kind(**{name: told[name] for name in told if name not in words})
            assert set(told) - words <= {field.name for field in fields(kind)}
    (tmp_path / "odd.toml").write_text("[grpo]\nrats = 1\n")
    with pytest.raises(InputError, match="unknown settings: rats"):
        recipe_by_name(str(tmp_path / "odd.toml"), "grpo")
    (tmp_path / "own.toml").write_text(
        "[grpo]\nsteps = 7\nrollouts = 2\nat_once = 2\nprompts = 1\n"
        '[grpo.trl]\nloss_type = "dapo"\nepsilon_high = 0.3\nmask_truncated_completions = true'
    )
    done = phase("grpo", made, tmp_path / "run", "--recipe", tmp_path / "own.toml",
                 "--steps", "1", "--trl", "epsilon_high=0.28", *QUICK)  # fmt: skip
    assert done.exit_code == 0, done.exception
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (told["steps"], told["rollouts"], told["kl"]) == (1, 2, 0.01)
    assert told["trl"] == [
        'loss_type="dapo"', "epsilon_high=0.28", "mask_truncated_completions=true",
    ]  # fmt: skip
    assert not {"report_to", "minutes"} & set(told), "a run does not depend on them"


TRACKIO = """
from types import SimpleNamespace
logged, config, __version__ = [], {}, "0.43.0"
config = type("Config", (dict,), {"update": lambda self, *_, **__: None})()
context_vars = SimpleNamespace(current_space_id=SimpleNamespace(get=lambda: None))
log, finish = logged.append, lambda: None
def init(**_): pass
"""


def test_a_tracker_gets_the_steps_and_the_evaluations_on_dev(tmp_path, monkeypatch, made):
    """trackio's callback of transformers, with a package in its place that records."""
    (tmp_path / "trackio.py").write_text(TRACKIO)
    monkeypatch.syspath_prepend(tmp_path)
    words = ["--teacher", "lexical", "--batch", "4", "--at-once", "4", "--steps", "2", *QUICK]
    done = phase("sft", made, tmp_path / "run", *words, "--report-to", "trackio")
    assert done.exit_code == 0, done.exception
    logged = sys.modules.pop("trackio").logged
    steps = {one["train/global_step"]: one for one in logged if "train/loss" in one}
    assert list(steps) == [1, 2]
    looks = [one for one in logged if "eval/macro" in one]
    assert [one["train/global_step"] for one in looks] == [0, 1, 2]
    assert set(looks[0]) == {
        "eval/macro", "eval/dev/dev", "eval/mended", "eval/tagged", "eval/repeats", "eval/copied",
        "eval/cut_off", "eval/held_out", "train/global_step",
    }  # fmt: skip


def test_the_published_recipe_is_the_paper_s():
    """arXiv 2505.20046, section 3 and appendix: 128 prompts, 32 rollouts, updates of 8 prompts."""
    told = recipe_by_name("rearank-7b", "grpo")
    assert {k: told[k] for k in ("window", "cut", "budget")} == {
        "window": 20, "cut": 400, "budget": 2048,
    }  # fmt: skip
    assert told["prompts"] // told["updates"] == 8
    assert (told["rollouts"], told["rate"], told["kl"], told["clip"]) == (32, 1e-6, 0.01, 0.2)
    assert (told["prompt_tokens"], told["temperature"], told["steps"]) == (3072, 1.0, 160)


def test_two_processes_learn_together(made, tmp_path):
    """Started by the file we wrote, on CPUs with torchrun."""
    out = tmp_path / "run"
    words = ["train", "grpo", str(made / "nano"), str(made / "rows"), "--dev", str(made / "dev"),
             "--out", str(out), "--prompts", "2", "--rollouts", "2", "--at-once", "2",
             "--steps", "2", *QUICK, "--device", "cpu", "--processes", "2"]  # fmt: skip
    told = subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=True)
    assert told.stdout == f"start it with: bash {out / 'launch.sh'}\n"
    done = subprocess.run(
        ["bash", str(out / "launch.sh")], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 1, 2, 2], "one log, not two"
    replies = [json.loads(line) for line in (out / "rollouts.jsonl").read_text().splitlines()]
    kinds = [(one["step"], one["of"], one["kind"]) for one in replies]
    assert len(kinds) == len(set(kinds)), "the first process's alone"
    assert {one[0] for one in kinds} == {0, 1, 2}
    assert PromptConfig.load(out / "policy") == nano_config()
    assert done.stdout.count('"macro"') == 1


def test_the_launch_files_of_gpus_shard_the_model(tmp_path):
    from accelerate.commands.config.config_args import load_config_from_file

    from rearank_training.lm.launch import launch_files

    script = launch_files(tmp_path, 8, "cuda", ["train", "grpo", "a model", "rows"])
    config = load_config_from_file(str(tmp_path / "accelerate.yaml"))
    assert (config.distributed_type.value, config.num_processes) == ("FSDP", 8)
    assert config.mixed_precision == "no", "left to --dtype"
    assert config.fsdp_config["fsdp_version"] == 2
    assert config.fsdp_config["fsdp_state_dict_type"] == "SHARDED_STATE_DICT"
    assert script.read_text().splitlines()[-1] == shlex.join(
        [sys.executable, "-m", "accelerate.commands.launch", "--config_file",
         str(tmp_path / "accelerate.yaml"), "-m", "rearank_agent", "train", "grpo", "a model",
         "rows"]
    )  # fmt: skip


def test_a_sharded_run_resumes_as_if_it_had_not_stopped(made, tmp_path):
    """FSDP2 in two processes on CPUs: sharded checkpoints, one policy, gradients in float32."""
    out, whole = tmp_path / "run", tmp_path / "whole"
    words = ["train", "sft", str(made / "nano"), str(made / "rows"), "--dev", str(made / "dev"),
             "--out", str(out), "--teacher", "lexical", "--no-quotes", "--batch", "4", "--at-once",
             "2", "--steps", "2", "--rate", "1e-2", "--dtype", "bfloat16", "--device", "cpu",
             *QUICK]  # fmt: skip
    script = Path(__file__).parents[1] / "helpers" / "sharded_train.py"
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(script), str(out), *words],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "torch.float32"
    for name in ("log.jsonl", "policy/model.safetensors", "policy/config.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    files = {path.name for path in (out / "checkpoint-2").rglob("*") if path.is_file()}
    assert {"__0_0.distcp", "__1_0.distcp", "trainer_state.json"} <= files
    assert not any(name.endswith((".safetensors", ".bin")) for name in files), "shards alone"
    weights = load_file(out / "policy" / "model.safetensors")
    assert {str(one.dtype) for one in weights.values()} == {"torch.bfloat16"}
    assert weights.keys() == load_file(made / "nano" / "model.safetensors").keys()


def test_the_published_recipe_runs_dry(made, tmp_path):
    """Qwen2.5-7B's shape, cut to two narrow layers: every step of the recipe, but for its size."""
    from transformers import AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(str(made / "nano"))
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = Qwen2Config(  # of Qwen2.5-7B: heads 28 and 4, a seventh of the width, untied, 32,768
        vocab_size=len(tokenizer), hidden_size=224, intermediate_size=592, num_hidden_layers=2,
        num_attention_heads=28, num_key_value_heads=4, rms_norm_eps=1e-6,
        max_position_embeddings=32768, tie_word_embeddings=False, bos_token_id=None, **ends,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(**ends)
    base = tmp_path / "base"
    write_model(base, lambda to: (model.save_pretrained(to), tokenizer.save_pretrained(to)),
                PromptConfig())  # fmt: skip
    (base / "rearank.json").unlink()
    small = ["--steps", "1", "--prompts", "2", "--rollouts", "2", "--updates", "2", "--at-once",
             "1", "--budget", "24", "--no-vllm", *QUICK]  # fmt: skip
    done = phase("grpo", made, tmp_path / "run", "--recipe", "rearank-7b", *small, model=base)
    assert done.exit_code == 0, done.exception
    assert PromptConfig.load(tmp_path / "run" / "policy") == PromptConfig(cut=400, budget=24)
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (told["clip"], told["rate"], told["prompt_tokens"]) == (0.2, 1e-6, 3072)
    lora = ["--recipe", "rearank-7b", "--lora", "8", *small]
    done = phase("grpo", made, tmp_path / "lora", *lora, model=base)
    assert done.exit_code == 0, done.exception
