"""The model of a training run as it is served: adapters merged, one type, tied weights once."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.integrations import dequantize_module_weight
from transformers import AutoModelForCausalLM

from rearank_training.lm.model import Loaded, write_model
from rearank_training.lm.processes import is_first_process

__all__ = ["save_policy"]


def save_policy(trainer: Any, loaded: Loaded, folder: Path) -> None:
    """Write the model for serving, in bfloat16 where it was trained in it; called by all processes.

    Adapters are merged a layer at a time in main memory: a copy of the model beside it would not
    fit on the device. Weights that are tied are written once, also when they were gathered apart.

    Raises:
        SetupError: the disk is full, or the folder cannot be written.
    """
    dtype = torch.bfloat16 if trainer.args.bf16 else torch.float32
    model = trainer.accelerator.unwrap_model(trainer.model)
    adapted = hasattr(model, "get_base_model")
    # weights that are sharded are gathered by all processes
    state = {} if adapted else trainer.accelerator.get_state_dict(trainer.model)
    if not is_first_process():
        return
    base = model.get_base_model() if adapted else model
    shell = _empty(base, dtype)
    if adapted:
        state = {name: _merged(base, name) for name in shell.state_dict()}
    tied = base.all_tied_weights_keys
    state = {name: one.to("cpu", dtype) for name, one in state.items() if name not in tied}

    def save(to: Path) -> None:
        shell.save_pretrained(to, state_dict=state)
        loaded.tokenizer.save_pretrained(to)

    write_model(folder, save, loaded.prompt_config)


def _empty(base: Any, dtype: torch.dtype) -> Any:
    """A model of the same architecture without memory, which knows how its files are written."""
    config = deepcopy(base.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.use_cache = True  # training turned it off
    with torch.device("meta"):
        shell = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=dtype
        )
    shell.generation_config = base.generation_config
    if hasattr(base, "_weight_conversions"):  # of names and shapes, from loading
        shell._weight_conversions = base._weight_conversions
    return shell


@torch.no_grad()
def _merged(base: Any, name: str) -> torch.Tensor:
    """A weight with the adapters' change; a weight of 4 bits is as training saw it."""
    owner, _, kind = name.rpartition(".")
    module = base.get_submodule(owner)
    if not isinstance(module, BaseTunerLayer):
        return getattr(module, kind).detach()  # type: ignore[no-any-return]
    adapted: Any = module
    layer = adapted.get_base_layer()
    if kind != "weight":
        return getattr(layer, kind).detach()  # type: ignore[no-any-return]
    weight: torch.Tensor = dequantize_module_weight(layer).float()
    for adapter in adapted.active_adapters:
        weight = weight + adapted.get_delta_weight(adapter).float()
    return weight
