"""The small modules that sentence-transformers puts behind a network: pooling, dense, norms.

They are read from `modules.json` and from the `config.json` in each module's folder, and run in
numpy: their matrices are small beside the network. What they compute is written in the sources of
`sentence_transformers` (`Pooling`, `Dense`, `LayerNorm`, `Normalize`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rearank_agent.errors import InputError, SetupError
from rearank_agent.policies.embedded.encoder import normalized
from rearank_agent.policies.pretrained.repository import Repository

__all__ = ["Head", "Module", "Tensors", "gives_scores", "read_modules"]

Array = NDArray[Any]
Tensors = Mapping[str, Array]
Step = Callable[[Array], Array]

_SCORES, _VECTOR = "scores", "sentence_embedding"
_LAYER_NORM_EPSILON = 1e-5
"""Of `torch.nn.LayerNorm`; it is in no file."""
_erf = np.vectorize(math.erf, otypes=[np.float32])
_ACTIVATIONS: Mapping[str, Step] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "GELU": lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2,
    "SiLU": lambda x: x * _sigmoid(x),
    "Sigmoid": lambda x: _sigmoid(x),
}
"""By the names of their classes in `torch.nn`."""
_POOLINGS: Mapping[str, Step] = {
    "cls": lambda hidden: hidden[0],
    "max": lambda hidden: hidden.max(axis=0),
    "mean": lambda hidden: hidden.mean(axis=0),
    "mean_sqrt_len_tokens": lambda hidden: hidden.sum(axis=0) / math.sqrt(len(hidden)),
    "weightedmean": lambda hidden: np.average(hidden, axis=0, weights=np.arange(len(hidden)) + 1.0),
    "lasttoken": lambda hidden: hidden[-1],
}
"""[tokens, width] to [width]; several are put one behind the other, in this order."""
_OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True, slots=True)
class Module:
    """One of the modules behind the network.

    Attributes:
        kind: "Pooling", "Dense", "LayerNorm" or "Normalize".
        path: its folder.
        settings: its `config.json`; a pooling's ways of pooling are its `modes`, however written.
    """

    kind: str
    path: str
    settings: Mapping[str, Any]

    @property
    def has_weights(self) -> bool:
        """Whether there is a file of weights in its folder."""
        return self.kind in ("Dense", "LayerNorm")


def read_modules(repository: Repository) -> tuple[Module, ...]:
    """The modules behind the network, in their order; none where the repository lists none.

    Raises:
        InputError: one is of a kind, or has a setting, that is not supported.
        SetupError: a file is missing or damaged.
    """
    found = []
    for row in repository.json("modules.json", []):
        kind, path = str(row.get("type")).rpartition(".")[2], str(row.get("path", ""))
        if kind in ("Transformer", "Dropout"):  # the network; what only training needs
            continue
        if kind not in _STEPS:
            raise InputError(f"{repository.name} has a module {kind}, which is not supported")
        settings = {} if kind == "Normalize" else repository.json(f"{path}/config.json")
        if kind == "Pooling":
            settings = {**settings, "modes": _modes(settings, repository.name)}
        elif kind == "Dense":
            _check_dense(settings, repository.name)
        found.append(Module(kind, path, settings))
    if found and found[0].kind != "Pooling":
        raise InputError(f"{repository.name} has a module {found[0].kind} before any pooling")
    return tuple(found)


def gives_scores(modules: tuple[Module, ...]) -> bool:
    """Whether the last one gives the scores of a cross-encoder."""
    return bool(modules) and modules[-1].settings.get("module_output_name") == _SCORES


class Head:
    """What becomes of a network's output for one text; the output itself without modules.

    Args:
        modules: as `read_modules` gives them.
        weights: gives those of a module in a folder.
        name: of the repository, for messages.

    Raises:
        SetupError: weights are missing, or modules do not fit together.
    """

    def __init__(
        self, modules: tuple[Module, ...], weights: Callable[[str], Tensors], name: str
    ) -> None:
        try:
            self._steps = [
                _STEPS[one.kind](one.settings, weights(one.path) if one.has_weights else {})
                for one in modules
            ]
            if any(one.has_weights for one in modules):
                self(np.zeros((1, _width(modules[0].settings)), dtype=np.float32))
        except (KeyError, ValueError, TypeError) as error:
            raise SetupError(
                f"the modules of {name} and their weights do not fit: {error!r}"
            ) from None

    def __call__(self, output: Array) -> Array:
        """The vector or the scores of a text, from its [tokens, width]."""
        for step in self._steps:
            output = step(output)
        return output


def _pooling(settings: Mapping[str, Any], _: Tensors) -> Step:
    ways = [_POOLINGS[mode] for mode in settings["modes"]]
    return lambda hidden: np.concatenate([way(hidden) for way in ways]).astype(np.float32)


def _dense(settings: Mapping[str, Any], tensors: Tensors) -> Step:
    activation = _ACTIVATIONS[_activation(settings)]
    matrix = tensors["linear.weight"].T
    bias = tensors["linear.bias"] if settings.get("bias", True) else 0
    if not settings.get("use_residual"):
        return lambda x: activation(x @ matrix + bias)
    around = tensors["residual.weight"].T if "residual.weight" in tensors else np.eye(len(matrix))
    return lambda x: activation(x @ matrix + bias) + x @ around


def _layer_norm(_: Mapping[str, Any], tensors: Tensors) -> Step:
    weight, bias = tensors["norm.weight"], tensors["norm.bias"]

    def step(x: Array) -> Array:
        centred = x - x.mean()
        scaled: Array = centred / np.sqrt(np.square(centred).mean() + _LAYER_NORM_EPSILON)
        return scaled * weight + bias

    return step


_STEPS: Mapping[str, Callable[[Mapping[str, Any], Tensors], Step]] = {
    "Pooling": _pooling,
    "Dense": _dense,
    "LayerNorm": _layer_norm,
    "Normalize": lambda *_: normalized,
}


def _width(pooling: Mapping[str, Any]) -> int:
    return int(pooling.get("embedding_dimension") or pooling["word_embedding_dimension"])


def _modes(pooling: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The ways of pooling, in the order in which their vectors are put together.

    Raises:
        InputError: there is none, or one that is not supported.
    """
    given = pooling.get("pooling_mode")
    modes = [given] if isinstance(given, str) else list(given or ())
    modes = modes or [mode for key, mode in _OLD_POOLINGS.items() if pooling.get(key)]
    if not modes or not set(modes) <= set(_POOLINGS):
        raise InputError(f"{name} pools by {' and '.join(modes) or 'nothing known'}: not supported")
    return tuple(modes)


def _check_dense(settings: Mapping[str, Any], name: str) -> None:
    """Refuse a layer with an unknown activation, or on anything but a text's vector.

    Raises:
        InputError: it is such a layer.
    """
    if (activation := _activation(settings)) not in _ACTIVATIONS:
        raise InputError(f"{name} has a layer with {activation}, which is not supported")
    read = settings.get("module_input_name") or _VECTOR
    written = settings.get("module_output_name") or read
    if read != _VECTOR or written not in (_VECTOR, _SCORES):
        raise InputError(f"{name} has a layer from {read} to {written}, which is not supported")


def _activation(dense: Mapping[str, Any]) -> str:
    """The name of its class, in full unless it is torch's."""
    path = str(dense.get("activation_function") or "torch.nn.Tanh")
    return path.rpartition(".")[2] if path.startswith("torch.") else path


def _sigmoid(x: Array) -> Array:
    halved: Array = (1 + np.tanh(x / 2)) / 2  # as it is written exp overflows
    return halved
