"""Less memory and less disk: types, adapters on frozen weights, and what is written for serving."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from peft import get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from trl.trainer.grpo_config import GRPOConfig

from benchmarks.registry import registry
from rearank_agent import extras
from rearank_agent.data.first_stage import first_stage
from rearank_agent.data.load import load_collections
from rearank_agent.errors import InputError, SetupError
from rearank_agent.policies.registry import policy
from rearank_training.lm import model as model_module
from rearank_training.lm import served as served_module
from rearank_training.lm.callbacks import Dev
from rearank_training.lm.checks import check_run
from rearank_training.lm.demonstrations import policy_demonstrations
from rearank_training.lm.grpo import grpo, vllm_settings
from rearank_training.lm.model import load, parameter_count, quiet
from rearank_training.lm.nano import make, nano_config
from rearank_training.lm.prompts import example_of
from rearank_training.lm.settings import GRPOSettings, SFTSettings
from rearank_training.lm.sft import sft
from rearank_training.lm.trl_settings import adapters, common_settings, weights_type
from rearank_training.rows.augment import Augmentation, augment
from rearank_training.rows.heldout import held_out
from rearank_training.rows.rows import read_rows, with_signal, write_rows

CONFIG = nano_config()
QUICK = {"steps": 1, "every": 1, "at_once": 4, "threads": 1}
SFT = SFTSettings(batch=4, rate=1e-2, **QUICK)
GRPO = GRPOSettings(prompts=2, rollouts=2, rate=1e-2, **QUICK)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Windows, dev, demonstrations, and a nano model, whose head is tied to its embedding."""
    quiet(1)
    root = tmp_path_factory.mktemp("memory")
    listed = []
    for name, boats in (("train", slice(0, 6)), ("dev", slice(6, 7))):
        registry(root / name, boats)
        (one,) = load_collections([str(root / name)])
        listed.append(replace(one, lists=first_stage(one, 10).lists))
    write_rows(root / "rows", augment(listed[:1], Augmentation(sets=2, size=5, depth=10)))
    rows, passages = read_rows(root / "rows")
    windows = [example_of(row, passages) for row in rows]
    lessons = list(policy_demonstrations(windows[:24], policy("lexical"), quotes=False))
    make(root / "nano", lessons, size=64, layers=1, vocabulary=600, seed=0)
    queries, _ = held_out(listed[1:], 2, 8)
    return SimpleNamespace(
        nano=root / "nano", windows=windows, lessons=lessons, dev=Dev(queries, CONFIG)
    )


def served(folder):
    config = json.loads((folder / "config.json").read_text())
    return load_file(folder / "model.safetensors"), config


# What a run computes in, and what its weights are loaded as


@pytest.mark.parametrize(
    ("more", "device", "bf16", "weights"),
    [
        ({}, "cpu", False, "float32"),
        ({}, "cuda", True, "float32"),
        ({"dtype": "float32"}, "cuda", False, "float32"),
        ({"dtype": "bfloat16"}, "cpu", True, "float32"),
        ({"lora": 4}, "cpu", False, "float32"),
        ({"lora": 4}, "cuda", True, "bfloat16"),
        ({"lora": 4, "dtype": "bfloat16"}, "cpu", True, "bfloat16"),
        ({"lora": 4, "qlora": True}, "cuda", True, "4bit"),
    ],
)
def test_trained_weights_are_float32_and_frozen_ones_smaller(tmp_path, more, device, bf16, weights):
    for recipe in (replace(SFT, **more), replace(GRPO, **more)):
        assert common_settings(tmp_path, recipe, device)["bf16"] is bf16
        assert weights_type(recipe, device) == weights


def test_settings_of_memory_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match="auto, float32 or bfloat16, not 'float16'"):
        replace(SFT, dtype="float16")
    with pytest.raises(InputError, match="give --lora RANK with it"):
        replace(SFT, qlora=True)
    with pytest.raises(InputError, match="leave out --qlora or vLLM"):
        replace(GRPO, lora=4, qlora=True, vllm_server="http://127.0.0.1:8000")


def test_missing_packages_are_named_before_a_model_is_loaded(made, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name != "pip" else "there")
    four_bits = replace(SFT, lora=4, qlora=True)
    with pytest.raises(
        SetupError, match=r"--qlora needs bitsandbytes.* -m pip install .*\[qlora\]"
    ):
        check_run(four_bits, CONFIG, "cuda")
    with pytest.raises(SetupError, match="4 bits are for a GPU: leave out --qlora"):
        check_run(four_bits, CONFIG, "cpu")
    with pytest.raises(SetupError, match=r"--qlora needs bitsandbytes"):
        load(str(made.nano), CONFIG, "cuda", "4bit")
    for more in ({"vllm": True}, {"vllm_server": "http://127.0.0.1:8000"}):
        with pytest.raises(SetupError, match=r"sampling with vLLM needs vllm.*\[serve\]"):
            check_run(replace(GRPO, **more), CONFIG, "cuda")


def test_the_base_of_qlora_is_loaded_in_four_bits(made, monkeypatch):
    """The settings alone; the next test trains where bitsandbytes is installed."""
    told = {}
    monkeypatch.setattr(model_module, "require", lambda *_: None)
    monkeypatch.setattr(model_module, "BitsAndBytesConfig", dict)
    monkeypatch.setattr(
        AutoModelForCausalLM, "from_pretrained", lambda name, **options: told.update(options)
    )
    load(str(made.nano), CONFIG, "cuda", "4bit")
    assert told == {
        "dtype": torch.bfloat16,
        "quantization_config": {
            "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": torch.bfloat16,
        },
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:bitsandbytes", "ignore:.is_gradient_checkpointing")
def test_adapters_on_four_bits_are_merged_into_whole_weights(made):
    pytest.importorskip("bitsandbytes", reason="the extra qlora")
    model = get_peft_model(load(str(made.nano), CONFIG, "cpu", "4bit").model, adapters(4))
    base, before = model.get_base_model(), served(made.nano)[0]
    name = "model.layers.0.mlp.up_proj.weight"
    assert base.get_submodule(name[:-7]).get_base_layer().weight.dtype == torch.uint8
    rounded = served_module._merged(base, name) - before[name]
    assert 0 < rounded.abs().mean() < 0.1 * before[name].abs().mean()
    added = base.get_submodule(name[:-7]).lora_B["default"].weight
    torch.nn.init.normal_(added, std=0.1)
    delta = base.get_submodule(name[:-7]).get_delta_weight("default")
    changed = served_module._merged(base, name) - before[name] - rounded
    assert torch.allclose(changed, delta.float(), atol=1e-3)


# What is written for serving


def test_tied_weights_are_written_once_whatever_the_type(made, tmp_path):
    for number, more in enumerate(({"dtype": "bfloat16"}, {"lora": 4}, {})):
        out = tmp_path / str(number)
        sft(load(str(made.nano), CONFIG, "cpu"), made.lessons, made.dev, replace(SFT, **more), out)
        weights, config = served(out / "policy")
        kind = "bfloat16" if more.get("dtype") else "float32"
        assert "lm_head.weight" not in weights
        assert weights.keys() == served(made.nano)[0].keys()
        assert {str(one.dtype) for one in weights.values()} == {f"torch.{kind}"}
        assert (config["dtype"], config["tie_word_embeddings"]) == (kind, True)
        assert config.get("use_cache", True)
        model = load(str(out / "policy"), CONFIG, "cpu").model
        assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")
def test_merged_weights_are_those_of_peft(made):
    """On every layer: a weight of the model alone, and with what its adapters add."""
    model = get_peft_model(load(str(made.nano), CONFIG, "cpu").model, adapters(4))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    base = model.get_base_model()
    names = served(made.nano)[0].keys()
    ours = {name: served_module._merged(base, name) for name in names}
    theirs = model.merge_and_unload().state_dict()
    before = served(made.nano)[0]
    assert any(not torch.equal(ours[name], before[name]) for name in names)
    for name in names:
        assert torch.allclose(ours[name], theirs[name], atol=1e-6), name


def test_adapters_on_bfloat16_learn_in_float32_and_reinforcement_needs_no_second_model(
    made, tmp_path
):
    loaded = load(str(made.nano), CONFIG, "cpu", "bfloat16")
    recipe = replace(GRPO, lora=4, dtype="bfloat16")
    grpo(loaded, with_signal(made.windows), made.dev, recipe, tmp_path)
    kinds = {
        ("lora_" in name, parameter.dtype) for name, parameter in loaded.model.named_parameters()
    }
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    assert {one.dtype for one in served(tmp_path / "policy")[0].values()} == {torch.bfloat16}


def test_adapters_on_four_bits_learn_in_float32_too(made, tmp_path):
    """TRL makes them bfloat16 where the model says that it was loaded in 4 bits."""
    loaded = load(str(made.nano), CONFIG, "cpu", "bfloat16")
    loaded.model.is_loaded_in_4bit = True
    recipe = replace(SFT, lora=4, dtype="bfloat16")
    sft(loaded, made.lessons, made.dev, recipe, tmp_path)
    adapted = [one for name, one in loaded.model.named_parameters() if "lora_" in name]
    assert {one.dtype for one in adapted} == {torch.float32}


def test_a_model_s_size_is_known_without_its_weights(made, tmp_path):
    shutil.copytree(made.nano, tmp_path / "bare")
    (tmp_path / "bare" / "model.safetensors").unlink()
    assert parameter_count(str(tmp_path / "bare")) == parameter_count(str(made.nano))
    assert parameter_count(str(made.nano)) == sum(
        one.numel() for one in load(str(made.nano), CONFIG, "cpu").model.parameters()
    )
    with pytest.raises(SetupError, match="nothing cannot be loaded"):
        parameter_count(str(tmp_path / "nothing"))


# vLLM


def test_vllm_gets_its_share_of_memory_or_an_address():
    """Settings of TRL alone: vLLM samples for training on GPUs."""
    inside = vllm_settings(replace(GRPO, vllm=True, vllm_memory=0.5), CONFIG)
    assert inside["vllm_mode"] == "colocate"
    assert inside["vllm_gpu_memory_utilization"] == 0.5
    server = vllm_settings(replace(GRPO, vllm_server="http://127.0.0.1:8000"), CONFIG)
    assert server == {
        "use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": "http://127.0.0.1:8000",
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "token_truncate",
    }  # fmt: skip
    assert set(inside) | set(server) <= set(GRPOConfig.__dataclass_fields__)
    with pytest.raises(SetupError, match="vLLM can only sample for training on a GPU"):
        check_run(replace(GRPO, vllm_server="http://127.0.0.1:8000"), CONFIG, "cpu")
