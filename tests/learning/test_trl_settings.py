"""Settings that are handed to TRL as they are."""

from dataclasses import fields, replace

import pytest
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from rearank_agent.errors import InputError
from rearank_training.lm import trl_table
from rearank_training.lm.grpo import _config as grpo_config
from rearank_training.lm.model import Loaded
from rearank_training.lm.nano import nano_config
from rearank_training.lm.recipes import recipe_by_name
from rearank_training.lm.settings import GRPOSettings, SFTSettings
from rearank_training.lm.sft import _config as sft_config
from rearank_training.lm.trl_settings import _CHECKPOINTING
from rearank_training.lm.trl_table import check_trl, read_pairs, write_pairs

LOADED = Loaded(None, None, nano_config(), "cpu")
GSPO = ["loss_type=grpo", "importance_sampling_level=sequence", "epsilon_high=4e-4"]


def test_values_are_json_or_strings_and_the_last_of_a_name_counts():
    pairs = ["a=1", "b=true", "c=dapo", 'd="x=y"', "e=[1, 2]", "f=", "a=2e-3", "g=a=b"]
    read = read_pairs(pairs)
    assert read == {
        "a": 0.002, "b": True, "c": "dapo", "d": "x=y", "e": [1, 2], "f": "", "g": "a=b",
    }  # fmt: skip
    assert read_pairs(write_pairs(read)) == read
    for bad in ("a", "=1", ""):
        with pytest.raises(InputError, match="is written NAME=VALUE, not"):
            read_pairs([bad])


def test_they_replace_ours_in_trl_s_config(tmp_path):
    asked = replace(GRPOSettings(), trl=[*GSPO, "mask_truncated_completions=true"])
    config = grpo_config(asked, LOADED, tmp_path, 999)
    assert (config.loss_type, config.importance_sampling_level) == ("grpo", "sequence")
    assert (config.epsilon, config.epsilon_high) == (0.2, 4e-4)
    assert config.mask_truncated_completions
    assert config.beta == 0.01, "what is not given stays"
    imitation = sft_config(replace(SFTSettings(), trl=["weight_decay=0"]), LOADED, tmp_path)
    assert (imitation.weight_decay, imitation.max_grad_norm) == (0, 1.0)


def test_what_trl_refuses_is_said_in_a_line(tmp_path):
    asked = replace(GRPOSettings(), trl=["lr_scheduler_type=steep"])
    with pytest.raises(InputError, match=r"^TRL refuses the settings lr_scheduler_type: steep is"):
        grpo_config(asked, LOADED, tmp_path, 999)


def test_every_setting_of_ours_is_refused_with_what_to_use():
    for instead, names in trl_table._OURS.items():
        for name in names:
            with pytest.raises(
                InputError, match=f"TRL's {name} is set by this program: use "
            ) as no:
                check_trl("grpo", [f"{name}=1"])
            assert str(no.value).endswith(instead)


def test_what_we_set_is_refused_or_known_to_be_free(tmp_path):
    """A setting that is added to ours must be in one of the lists."""
    free = {
        "loss_type", "lr_scheduler_type", "warmup_steps", "weight_decay", "save_total_limit",
        "per_device_eval_batch_size", "dataset_num_proc", "ddp_timeout", "delta",
        "use_bias_correction_kl",
    }  # fmt: skip
    taken = {name for names in trl_table._OURS.values() for name in names}
    given = []
    with pytest.MonkeyPatch.context() as patch:
        for module in ("rearank_training.lm.grpo", "rearank_training.lm.sft"):
            patch.setattr(
                f"{module}.trl_config", lambda _kind, ours, _pairs: given.append(set(ours))
            )
        for more in ({}, {"vllm": True}, {"vllm_server": "http://gpu:8000"}):
            grpo_config(GRPOSettings(**more), LOADED, tmp_path, 999)
        sft_config(SFTSettings(), LOADED, tmp_path)
    assert set().union(*given) - taken == free | {_CHECKPOINTING}
    known = {field.name for kind in (GRPOConfig, SFTConfig) for field in fields(kind)}
    assert taken - known <= {"overwrite_output_dir"}, "older versions of transformers had it"


def test_unknown_names_are_named_with_the_nearest():
    check_trl("sft", [])
    check_trl("grpo", GSPO)
    with pytest.raises(InputError, match=r"^TRL's SFTConfig has no setting 'epsilon_high'$"):
        check_trl("sft", ["epsilon_high=1"])
    with pytest.raises(
        InputError, match="GRPOConfig has no setting 'epsilon_hi'; the nearest is epsilon_high"
    ):
        check_trl("grpo", ["epsilon_hi=1"])


def test_a_recipe_s_table_is_of_its_phase(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('[sft.trl]\nweight_decay = 0.1\n[grpo.trl]\nloss_type = "dr_grpo"\n')
    assert recipe_by_name(str(path), "sft") == {"trl": ["weight_decay=0.1"]}
    assert recipe_by_name(str(path), "grpo") == {"trl": ['loss_type="dr_grpo"']}
    path.write_text("[sft]\ntrl = 3\n")
    with pytest.raises(InputError, match=r"settings of TRL are a table, \[sft\.trl\]"):
        recipe_by_name(str(path), "sft")
