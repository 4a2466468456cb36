"""A training run as a folder: started, logged, resumed, and finished with a policy.

run.json        what the run depends on
log.jsonl       a line per step, and one per evaluation on dev
rollouts.jsonl  the best, the worst and a random reply at every evaluation
checkpoint-N/   the state after step N, for --resume
policy/         the best on dev, to serve: weights, tokenizer and prompt config
"""

from __future__ import annotations

import atexit
import errno
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import PrinterCallback

from rearank_agent.errors import InputError, RearankError, SetupError
from rearank_agent.files import write_text
from rearank_training.lm.callbacks import DevCallback
from rearank_training.lm.labelled_positions import labelled_positions_only
from rearank_training.lm.model import Loaded
from rearank_training.lm.processes import is_first_process
from rearank_training.lm.rollout import Generate
from rearank_training.lm.served import save_policy
from rearank_training.log import LOG, ROLLOUTS, RUN

__all__ = ["find_checkpoint", "run", "without_warnings", "write_run_file"]

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES}


def find_checkpoint(out: Path, inputs: Mapping[str, Any], resume: bool) -> Path | None:
    """The checkpoint to resume from in a run's folder, None for a new run.

    Args:
        out: the folder of the run.
        inputs: the settings, and what else the run depends on; as JSON.
        resume: whether the run in the folder goes on.

    Raises:
        InputError: the folder holds a run with a checkpoint and `resume` is false, or a run with
            other settings; or there is nothing to resume.
    """
    path = out / RUN
    complete = [one for one in out.glob("checkpoint-*") if _is_complete(one)]
    if not resume:
        if complete and is_first_process():
            raise InputError(f"{out} holds a run: go on with --resume, or choose another --out")
        return None
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{out} holds no run to go on with: leave out --resume") from None
    now = _as_json(inputs)
    if names := [name for name in now | before if now.get(name) != before.get(name)]:
        changes = ", ".join(f"{name} was {before.get(name)}, is {now.get(name)}" for name in names)
        raise InputError(f"{out} is a run of other settings: {changes}")
    if not complete:
        raise InputError(f"{out} has no complete checkpoint yet: leave out --resume")
    return max(complete, key=_number)


def write_run_file(out: Path, inputs: Mapping[str, Any]) -> None:
    """Write `run.json`: what the run in a folder depends on.

    Raises:
        SetupError: it cannot be written.
    """
    if is_first_process():
        for name in (LOG, ROLLOUTS):
            (out / name).unlink(missing_ok=True)  # of a run without a checkpoint
        write_text(out / RUN, json.dumps(_as_json(inputs), indent=2) + "\n")


def _as_json(inputs: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(inputs, default=str))
    return plain


def _number(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _is_complete(checkpoint: Path) -> bool:
    """Whether `trainer_state.json`, which is written last, is there and has the folder's step."""
    with suppress(OSError, ValueError, KeyError):
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        return bool(state["global_step"] == _number(checkpoint))
    return False


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence the libraries' warnings about deprecated names in one another."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def run(
    trainer: Any,
    callback: DevCallback,
    loaded: Loaded,
    generate: Generate,
    checkpoint: Path | None,
    measure: Callable[[], dict[str, float]] = dict,
) -> dict[str, Any]:
    """Train to the end; gives the log line of the best evaluation.

    Args:
        trainer: of TRL, with `callback` among its callbacks.
        generate: the model's replies to prompts.
        checkpoint: to resume from; None for a new run.
        measure: further measures of an evaluation.

    Raises:
        InputError: the loss is not a number, or a reward fails.
        SetupError: the disk is full, or the folder cannot be written.
    """
    atexit.register(_end_group)
    trainer.remove_callback(PrinterCallback)  # we write the log
    trainer.create_model_card = lambda *_, **__: None  # no generated model card
    _learn_in_float32(trainer)
    _reduce_in_float32(trainer)
    save = partial(save_policy, trainer, loaded)
    callback.attach(generate, save, measure, _broadcast, is_first_process())
    if checkpoint:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        callback.resume(state["global_step"] // callback.updates)
        if callback.out_of_patience or state["global_step"] >= trainer.args.max_steps:
            return callback.best
        _skip_epochs(trainer, int(state["epoch"]))
    try:
        with labelled_positions_only():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except RearankError:
        raise
    except Exception as error:
        if not _is_disk_error(error):
            raise
        raise SetupError(
            f"{callback.out} cannot be written: {str(error).splitlines()[0]}; with more disk "
            "space, --resume goes on from the last complete checkpoint"
        ) from None
    return callback.best


def _end_group() -> None:
    """End the group of the processes: one that exits while its threads run may be aborted."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _learn_in_float32(trainer: Any) -> None:
    """Keep what is trained in float32: TRL makes adapters on 4 bits bfloat16, which loses steps."""
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _reduce_in_float32(trainer: Any) -> None:
    """Sum sharded gradients in float32: accelerate's own policy sums them in bfloat16.

    The model is sharded when training begins, by this policy; no setting of accelerate sets it.
    """
    plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    if policy := plugin and plugin.mixed_precision_policy:
        plugin.mixed_precision_policy = replace(policy, reduce_dtype=torch.float32)


def _broadcast(line: dict[str, Any]) -> dict[str, Any]:
    """The first process's line, in all processes."""
    lines = [line]
    broadcast_object_list(lines)
    return lines[0]


def _skip_epochs(trainer: Any, epochs: int) -> None:
    """Advance TRL's prompt sampler to the checkpoint's epoch: it would restart at the first."""
    sampler_of = trainer._get_train_sampler

    def skipped(*dataset: Any) -> Any:
        sampler = sampler_of(*dataset)
        if generator := getattr(sampler, "generator", None):
            for _ in range(epochs):
                torch.randperm(sampler.num_samples, generator=generator)
        return sampler

    trainer._get_train_sampler = skipped


def _is_disk_error(error: Exception) -> bool:
    """Whether torch, safetensors or the system report that the disk cannot be written."""
    message = str(error).lower()
    signs = ("no space", "file too large", "i/o error", "file write failed", "unexpected pos")
    return getattr(error, "errno", None) in _DISK_ERRORS or any(sign in message for sign in signs)
