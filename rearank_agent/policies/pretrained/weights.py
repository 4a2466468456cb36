"""Which files of a model's repository are needed, and which of its weights fit this machine."""

from __future__ import annotations

import platform
from collections.abc import Collection, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from rearank_agent.errors import InputError, SetupError
from rearank_agent.extras import install_line
from rearank_agent.policies.pretrained.modules import Tensors
from rearank_agent.policies.pretrained.repository import Needed, Repository

__all__ = ["TORCH_WEIGHTS", "module_weights", "select_files"]

TORCH_WEIGHTS = "model.safetensors"
_MODULE_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_FOLDERS = ("onnx/", "")
_SETTINGS = frozenset({
    "config_sentence_transformers.json", "modules.json", "sentence_bert_config.json",
    "special_tokens_map.json", "tokenizer_config.json",
})  # fmt: skip
_INT8 = {
    "avx512_vnni": "qint8_avx512_vnni",
    "avx512f": "qint8_avx512",
    "avx2": "quint8_avx2",
    "asimd": "qint8_arm64",
}
"""Weights in 8 bits as sentence-transformers names them, by what a processor must have."""
_ANY_INT8 = ("quantized", "int8", "uint8")


def select_files(files: Collection[str], name: str, variant: str = "") -> Needed:
    """The files needed of a repository.

    Raises:
        InputError: it has no tokenizer, no weights, or not this variant of them.
        SetupError: its weights need a package that is not installed.
    """
    if "config.json" not in files:
        raise InputError(f"{name} holds no model: it has no config.json")
    if "tokenizer.json" not in files:
        raise InputError(
            f"{name} has no tokenizer.json; in Python: from transformers import AutoTokenizer; "
            f"AutoTokenizer.from_pretrained({name!r}).save_pretrained(FOLDER) writes one"
        )
    network = _network_file(files, name, variant)
    beside = sorted(file for file in files if _is_part_of(file, network))
    settings = sorted(
        file for file in files if file in _SETTINGS or _is_of_module(file, "config.json")
    )
    return Needed(
        settings=("config.json", "tokenizer.json", *settings),
        modules=_module_files(files, name),
        weights=(*beside, network),
    )


def module_weights(repository: Repository, needed: Needed, folder: str) -> Tensors:
    """The weights of a module behind the network, by name.

    Args:
        repository: the model.
        needed: of its files.
        folder: the module's.

    Raises:
        SetupError: they are missing or damaged, or need a package that is not installed.
    """
    file = next((file for file in needed.modules if file.startswith(f"{folder}/")), None)
    if file is None:
        raise SetupError(f"{repository.name} has no weights in {folder}")
    path = repository.folder / file
    try:
        if path.suffix == ".safetensors":
            return {key: value.astype(np.float32) for key, value in load_file(path).items()}
    except TypeError:  # numpy has no bfloat16
        _require_torch(file, f"{repository.name} has weights in a format that numpy has not")
    except (OSError, SafetensorError) as error:
        raise SetupError(f"{file} of {repository.name} cannot be read: {error}") from None
    from rearank_agent.policies.pretrained.torch import read_tensors

    return read_tensors(path, repository.name)


def _network_file(files: Collection[str], name: str, variant: str = "") -> str:
    """The file of weights that is used: ONNX, else safetensors where torch is installed.

    Args:
        files: all of the repository.
        name: of the repository, for messages.
        variant: "int8" for 8 bits, by what this processor can do; another ending
            (`model_ENDING.onnx`); a file; "" for full precision.

    Raises:
        InputError: there are no weights, or not this variant.
        SetupError: its weights need a package that is not installed.
    """
    endings = _int8_endings() if variant == "int8" else [variant]
    for ending in endings:
        stem = f"model_{ending}" if ending else "model"
        for file in (f"{folder}{stem}.onnx" for folder in _FOLDERS):
            if file in files:
                return file
    if variant:
        if variant in files and variant.endswith(".onnx"):
            return variant
        known = ", ".join(sorted(file for file in files if file.endswith(".onnx"))) or "none"
        raise InputError(f"{name} has no weights {variant!r}; ONNX files there are: {known}")
    return _torch_weights(files, name)


def _torch_weights(files: Collection[str], name: str) -> str:
    index = f"{TORCH_WEIGHTS}.index.json"
    found = next((file for file in (TORCH_WEIGHTS, index) if file in files), None)
    if found is None:
        raise InputError(f"{name} has neither ONNX weights (model.onnx) nor {TORCH_WEIGHTS}")
    _require_torch(found, f"{name} has no ONNX weights")
    return found


def _module_files(files: Collection[str], name: str) -> tuple[str, ...]:
    """The weights of the modules behind the network: a file a folder, safetensors if it can be."""
    found: dict[str, str] = {}
    if "modules.json" in files:
        for file in sorted(file for file in files if _is_of_module(file, *_MODULE_WEIGHTS)):
            found.setdefault(file.partition("/")[0], file)
    for folder, file in found.items():
        if file.endswith(".bin"):
            _require_torch(file, f"{name} has no safetensors in {folder}")
    return tuple(found.values())


def _is_of_module(file: str, *names: str) -> bool:
    """Whether it is one of these of a module behind the network, as `1_Pooling/config.json` is."""
    folder, _, name = file.partition("/")
    return folder[0] in "123456789" and name in names


def _require_torch(file: str, why: str) -> None:
    if find_spec("torch") is None or find_spec("transformers") is None:
        line = install_line("torch")
        raise SetupError(f"{why}; with torch {file} can be used: {line}")


def _is_part_of(file: str, weights: str) -> bool:
    """Whether a file holds part of the weights: beside an ONNX file, or shards of an index."""
    if weights.endswith(".index.json"):
        return file.startswith("model-") and file.endswith(".safetensors")
    return file in (f"{weights}_data", f"{weights}.data")


def _int8_endings() -> Sequence[str]:
    has = _processor_features()
    return [*(ending for feature, ending in _INT8.items() if feature in has), *_ANY_INT8]


@cache
def _processor_features() -> frozenset[str]:
    """The instruction sets of this processor, as Linux names them; few elsewhere."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return frozenset({"asimd"})
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return frozenset({"avx2"})  # of every x86 processor since 2015
    lines = (line.partition(":")[2] for line in text.splitlines() if line.startswith("flags"))
    return frozenset(next(lines, "").split())
