"""Quantisation of a torch module to ONNX in int8."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

__all__ = ["OPSET", "QUANTISATION", "quantise"]

OPSET = 20
QUANTISATION = {
    "weights": "int8, symmetric, one scale a channel, reduced to 7 bits",
    "activations": "uint8, one scale a run",
    "tool": "onnxruntime.quantization.quantize_dynamic",
}
"""7 bits, because a CPU without VNNI adds two products in 16 bits: 8 would saturate there."""


def quantise(model: nn.Module, sample: torch.Tensor, entry: str, result: str) -> bytes:
    """The model as int8 ONNX, free of the paths and stack traces the exporter leaves in it."""
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        program = torch.onnx.export(
            model,
            (sample,),
            input_names=[entry],
            output_names=[result],
            dynamic_shapes=({1: torch.export.Dim("tokens", min=2, max=512)},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program  # noqa: S101 - only a dry run gives none
        exact, small = Path(folder, "exact.onnx"), Path(folder, "small.onnx")
        program.save(str(exact))
        quantize_dynamic(
            exact, small, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8
        )
        graph = onnx.load(str(small))
    _strip(graph)
    return bytes(graph.SerializeToString(deterministic=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' warnings, which no user can fix."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _strip(model: Any) -> None:
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")
