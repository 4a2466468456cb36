"""Running a model's safetensors by transformers, where its repository has no ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification

from rearank_agent.errors import SetupError

__all__ = ["TorchModel", "device_and_memory", "read_tensors"]

_GPU_BATCH = 64


class TorchModel:
    """A model's weights, run by torch on a GPU where there is one; safe to share between threads.

    Args:
        folder: of the repository.
        name: of the repository, for messages.
        dimensions: of its output: 2 for labels, 3 for token vectors.

    Attributes:
        batch: how many texts a run is given at most.

    Raises:
        SetupError: the weights are damaged, not all there, or need code of their own.
    """

    def __init__(self, folder: Path, name: str, dimensions: int) -> None:
        kind = AutoModelForSequenceClassification if dimensions == 2 else AutoModel
        device = _device()
        options = {"dtype": _precision(device), "trust_remote_code": False}
        try:
            model, loaded = kind.from_pretrained(folder, output_loading_info=True, **options)
        except Exception as error:  # of transformers, safetensors or torch, each with its classes
            first = str(error).strip().partition("\n")[0]
            raise SetupError(f"the weights of {name} cannot be loaded: {first}") from None
        # Transformers fills what is missing with random numbers; token vectors need no pooler.
        missing = [key for key in loaded["missing_keys"] if dimensions == 2 or "pooler" not in key]
        if missing:
            raise SetupError(f"the weights of {name} lack {', '.join(sorted(missing)[:3])}")
        self._model = model.to(device).eval()
        self._device = device
        self._takes = set(_arguments(model))
        self._lock = Lock()  # kernels of one device wait for each other anyway
        self.batch = 1 if device.type == "cpu" else _GPU_BATCH

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """The output for a batch, as `OnnxModel.run` has it."""
        fed = {
            name: torch.from_numpy(values).to(self._device)
            for name, values in inputs.items()
            if name in self._takes
        }
        with self._lock, torch.inference_mode():
            rows: NDArray[np.float32] = self._model(**fed)[0].float().cpu().numpy()
        return rows


def device_and_memory() -> tuple[str, float | None]:
    """What a model runs on ("cpu", "cuda", "mps"), and the free megabytes of a GPU of its own."""
    device = _device()
    free = torch.cuda.mem_get_info()[0] / 1e6 if device.type == "cuda" else None
    return device.type, free


def read_tensors(path: Path, name: str) -> dict[str, NDArray[np.float32]]:
    """A file of weights that numpy cannot read: `pytorch_model.bin`, or in bfloat16.

    Args:
        path: of the file; of a pickle only tensors are loaded.
        name: of the repository, for messages.

    Raises:
        SetupError: it is damaged, or holds more than tensors.
    """
    try:
        tensors = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        return {key: tensor.float().numpy() for key, tensor in tensors.items()}
    except (
        OSError,
        EOFError,
        RuntimeError,
        AttributeError,
        SafetensorError,
        UnpicklingError,
    ) as error:
        first = str(error).strip().partition("\n")[0]
        raise SetupError(f"{path.name} of {name} cannot be read: {first}") from None


def _device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _precision(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32


def _arguments(model: Any) -> list[str]:
    import inspect

    return list(inspect.signature(model.forward).parameters)
