"""Running a model's ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from rearank_agent.errors import SetupError

__all__ = ["OnnxModel", "Rows"]

Rows = NDArray[np.float32]

_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
_ACCELERATORS = ("CUDAExecutionProvider", "ROCMExecutionProvider", "DmlExecutionProvider")
_BATCH = 32


class OnnxModel:
    """A model's ONNX file, run by onnxruntime; safe to share between threads.

    On a processor each run has one thread and, by `batch`, one text: there is no padding then, and
    several runs go on at the same time.

    Args:
        path: of the file; data beside it is found by its name.
        name: of the repository, for messages.
        dimensions: of the output that is used: 2 for labels, 3 for token vectors.

    Attributes:
        batch: how many texts a run is given at most.

    Raises:
        SetupError: the file is damaged, or has other inputs or outputs.
    """

    def __init__(self, path: Path, name: str, dimensions: int) -> None:
        accelerators = [p for p in _ACCELERATORS if p in onnxruntime.get_available_providers()]
        self.batch = _BATCH if accelerators else 1
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if not accelerators:
            options.intra_op_num_threads = options.inter_op_num_threads = 1
        providers = [*accelerators, "CPUExecutionProvider"]
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as error:  # onnxruntime has a class for each kind, without a common one
            first = str(error).partition("\n")[0]
            raise SetupError(f"{path.name} of {name} cannot be loaded: {first}") from None
        self._inputs = {one.name for one in self._session.get_inputs()}
        if "input_ids" not in self._inputs or self._inputs - _INPUTS:
            shown = ", ".join(sorted(self._inputs))
            raise SetupError(f"{path.name} of {name} takes {shown}, not tokens of a text")
        outputs = [one for one in self._session.get_outputs() if len(one.shape) == dimensions]
        if not outputs:
            wanted = "one row of labels a text" if dimensions == 2 else "a vector for each token"
            raise SetupError(f"{path.name} of {name} does not give {wanted}")
        self._output = outputs[0].name

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> Rows:
        """The output for a batch.

        Args:
            inputs: `input_ids`, `attention_mask`, `token_type_ids`, each [texts, tokens].

        Returns:
            [texts, labels], or [texts, tokens, width].
        """
        fed = {name: values for name, values in inputs.items() if name in self._inputs}
        rows: Rows = self._session.run([self._output], fed)[0].astype(np.float32, copy=False)
        return rows
