"""Language models for training: loaded, checked, and written for serving."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from rearank_agent.errors import InputError, SetupError
from rearank_agent.extras import require
from rearank_agent.files import write_error
from rearank_agent.llm.checkpoint import PromptConfig

__all__ = [
    "Loaded", "device", "gpu_count", "has_plain_chat", "load", "load_tokenizer",
    "parameter_count", "quiet", "write_model",
]  # fmt: skip

# For base models. Acknowledgements carry no information: only a last turn is the model's own.
_PLAIN_CHAT = (
    "{% if bos_token %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    "{% if message.role != 'assistant' %}{{ message.content }}\n\n"
    "{% elif loop.last %}{{ message.content }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)


def device(wanted: str) -> str:
    """The device a model is trained on: cpu or cuda.

    Args:
        wanted: auto, cpu or cuda.

    Raises:
        InputError: no such choice.
        SetupError: a GPU is asked for, and there is none.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise InputError(f"the device must be auto, cpu or cuda, not {wanted!r}")
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise SetupError("there is no GPU that torch can use: give --device cpu, or install CUDA")
    return "cuda" if available and wanted != "cpu" else "cpu"


def gpu_count() -> int:
    """The GPUs that are visible to this process."""
    return torch.cuda.device_count()


@dataclass(frozen=True)
class Loaded:
    """A model, its tokenizer and prompt config, and the device it is trained on: cpu or cuda."""

    model: Any
    tokenizer: Any
    prompt_config: PromptConfig
    device: str


def load(name: str, prompt_config: PromptConfig, device: str, weights: str = "float32") -> Loaded:
    """A model and its tokenizer.

    Args:
        name: a folder, or the name of a repository.
        prompt_config: how the model is prompted.
        device: it will be trained on, cpu or cuda.
        weights: float32 where they are trained; bfloat16 or 4bit where they are frozen.

    Raises:
        SetupError: it cannot be loaded, or bitsandbytes is missing for 4 bits.
    """
    tokenizer = load_tokenizer(name)
    options: dict[str, Any] = {"dtype": torch.float32}
    if weights != "float32":
        options["dtype"] = torch.bfloat16
    if weights == "4bit":
        require("--qlora", "qlora", "bitsandbytes")
        options["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    with _named(name):
        model = AutoModelForCausalLM.from_pretrained(name, **options)
    return Loaded(model, tokenizer, prompt_config, device)


def parameter_count(name: str) -> int:
    """How many parameters a model has, by its config: no weights are loaded.

    Raises:
        SetupError: the config cannot be read, or is not a language model's.
    """
    with _named(name), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            AutoConfig.from_pretrained(name)
        )
    return int(model.num_parameters())


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a model, with a chat template: its own, or a plain one for a base model.

    The plain one is the texts of the turns with a blank line behind each, without
    acknowledgements. It is saved with the policy, so that a server uses it too.

    Raises:
        SetupError: it cannot be loaded.
    """
    with _named(name):
        tokenizer = AutoTokenizer.from_pretrained(name)
    if not tokenizer.chat_template:
        tokenizer.chat_template = _PLAIN_CHAT
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def has_plain_chat(tokenizer: Any) -> bool:
    """Whether the chat template is the plain one."""
    return bool(tokenizer.chat_template == _PLAIN_CHAT)


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise SetupError(f"{name} cannot be loaded: {str(error).splitlines()[0]}") from None


def write_model(folder: Path, save: Any, prompt_config: PromptConfig) -> None:
    """Write weights, tokenizer and prompt config to a temporary folder, then swap it in.

    Args:
        save: writes weights and tokenizer to the folder it is called with.

    Raises:
        SetupError: the disk is full, or the folder cannot be written.
    """
    new, old = (folder.with_name(f"{folder.name}.{end}") for end in ("new", "old"))
    try:
        for stale in (new, old):
            shutil.rmtree(stale, ignore_errors=True)
        new.mkdir(parents=True)
        save(new)
        prompt_config.save(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise write_error(folder, error) from None


def quiet(threads: int) -> None:
    """Turn off the libraries' progress bars and warnings, and limit torch's threads."""
    import datasets
    from transformers.utils import logging

    torch.set_num_threads(threads)
    datasets.disable_progress_bars()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
