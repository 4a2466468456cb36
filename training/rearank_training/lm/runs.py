"""A run of training as a folder: claimed, logged, taken up again, and ended with a policy.

run.json        what the run depends on
log.jsonl       a line a step, and one a look at dev
checkpoint-N/   where it stands, for --resume
policy/         the best on dev, to serve: weights, tokenizer and words
"""

from __future__ import annotations

import errno
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import PrinterCallback

from rearank_agent.errors import InputError, RearankError, SetupError
from rearank_agent.files import write_text
from rearank_training.lm.callbacks import DevCallback
from rearank_training.lm.model import Loaded, write_model
from rearank_training.lm.rollout import Generate
from rearank_training.log import LOG

__all__ = ["begin", "claim", "is_first_process", "run", "without_warnings"]

_RUN = "run.json"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES}


def begin(out: Path, told: Mapping[str, Any], resume: bool) -> Path | None:
    """Whether a run may begin in a folder; gives the checkpoint to go on from, None for a new one.

    Args:
        told: the settings, and what else the run depends on; as JSON.

    Raises:
        InputError: the folder holds a run with a checkpoint that is not to be gone on with, or
            one of other settings; or there is nothing to go on from.
    """
    path = out / _RUN
    whole = [one for one in out.glob("checkpoint-*") if _whole(one)]
    if not resume:
        if whole and is_first_process():
            raise InputError(f"{out} holds a run: go on with --resume, or choose another --out")
        return None
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{out} holds no run to go on with: leave out --resume") from None
    now = _plain(told)
    if odd := [name for name in now | before if now.get(name) != before.get(name)]:
        changes = ", ".join(f"{name} was {before.get(name)}, is {now.get(name)}" for name in odd)
        raise InputError(f"{out} is a run of other settings: {changes}")
    if not whole:
        raise InputError(f"{out} has no whole checkpoint yet: leave out --resume")
    return max(whole, key=_number)


def claim(out: Path, told: Mapping[str, Any]) -> None:
    """Write down what the run in a folder depends on.

    Raises:
        SetupError: it cannot be written.
    """
    if is_first_process():
        (out / LOG).unlink(missing_ok=True)  # of one that came to no checkpoint
        write_text(out / _RUN, json.dumps(_plain(told), indent=2) + "\n")


def is_first_process() -> bool:
    """Whether this is the first of the processes, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def _plain(told: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(told, default=str))
    return found


def _number(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _whole(checkpoint: Path) -> bool:
    """Its state is written last."""
    with suppress(OSError, ValueError, KeyError):
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        return bool(state["global_step"] == _number(checkpoint))
    return False


@contextmanager
def without_warnings() -> Iterator[None]:
    """Without the libraries' warnings about one another's old names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def run(
    trainer: Any,
    looks: DevCallback,
    loaded: Loaded,
    say: Generate,
    checkpoint: Path | None,
    measure: Callable[[], dict[str, float]] = dict,
) -> dict[str, Any]:
    """Train to the end; gives the line of the best look.

    Args:
        say: asks the model.
        checkpoint: to go on from.
        measure: what else is measured at a look.

    Raises:
        InputError: the loss is not a number, or a reward fails.
        SetupError: the disk is full, or the folder cannot be written.
    """
    trainer.remove_callback(PrinterCallback)  # the log is ours
    trainer.create_model_card = lambda *_, **__: None  # and a card is not written by a program
    looks.attach(say, partial(_keep, trainer, loaded), measure, _agreed, is_first_process())
    if checkpoint:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        looks.resume(state["global_step"] // looks.updates)
        if looks.over or state["global_step"] >= trainer.args.max_steps:
            return looks.best
        _skip_epochs(trainer, int(state["epoch"]))
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except RearankError:
        raise
    except Exception as error:
        if not _full(error):
            raise
        raise SetupError(
            f"{looks.out} cannot be written: {str(error).splitlines()[0]}; with more room, "
            "--resume goes on from the last whole checkpoint"
        ) from None
    return looks.best


def _agreed(line: dict[str, Any]) -> dict[str, Any]:
    """The first process's, in all."""
    lines = [line]
    broadcast_object_list(lines)
    return lines[0]


def _skip_epochs(trainer: Any, epochs: int) -> None:
    """Let TRL's sampler of prompts go on where it was: it would begin with the first epoch."""
    sampler_of = trainer._get_train_sampler

    def skipped(*dataset: Any) -> Any:
        sampler = sampler_of(*dataset)
        if generator := getattr(sampler, "generator", None):
            for _ in range(epochs):
                torch.randperm(sampler.num_samples, generator=generator)
        return sampler

    trainer._get_train_sampler = skipped


def _full(error: Exception) -> bool:
    """Whether this is how torch, safetensors or the system tell of a disk that takes no more."""
    said = str(error).lower()
    told = ("no space", "file too large", "i/o error", "file write failed", "unexpected pos")
    return getattr(error, "errno", None) in _FULL or any(words in said for words in told)


def _keep(trainer: Any, loaded: Loaded, folder: Path) -> None:
    """Write the model as it is served: adapters merged in, in bf16 where a GPU trained it."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        model = deepcopy(model).merge_and_unload()
        state = model.state_dict()
    else:
        state = trainer.accelerator.get_state_dict(trainer.model)
    if not is_first_process():
        return
    dtype = torch.bfloat16 if trainer.args.bf16 else torch.float32
    state = {name: tensor.to(dtype) for name, tensor in state.items()}

    def save(to: Path) -> None:
        model.save_pretrained(to, state_dict=state)
        loaded.tokenizer.save_pretrained(to)
        config = json.loads((to / "config.json").read_text(encoding="utf-8"))
        config["dtype"] = str(dtype).removeprefix("torch.")
        config.pop("use_cache", None)  # training goes without
        write_text(to / "config.json", json.dumps(config, indent=2) + "\n")

    write_model(folder, save, loaded.words)
