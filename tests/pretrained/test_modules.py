"""Modules of sentence-transformers behind a network: what it makes of them is what we make."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from torch import nn

from helpers import tiny_rerankers
from rearank_agent import Reranker
from rearank_agent.errors import InputError, SetupError
from rearank_agent.policies.pretrained import weights
from rearank_agent.policies.registry import policy

QUERY = "fleas jump"
DOCUMENTS = ["fleas jump far from dogs", "the moon barks", "dogs", "bark at the moon jump", "fleas"]
WIDTH = tiny_rerankers.SMALL["hidden_size"]


def write(folder, kind, *modules, onnx=True, network="bert", safe=True, **settings):
    """A model of sentence-transformers with these modules, saved by itself into a folder."""
    base = folder / "network"
    base.mkdir()
    model, tokens = tiny_rerankers.network(base, network)
    made = kind(modules=[Transformer(str(base)), *modules], device="cpu", **settings).eval()
    made.save_pretrained(str(folder / "made"), safe_serialization=safe)
    if onnx:
        tiny_rerankers.export(model, tokens, folder / "made", "last_hidden_state")
    return made, folder / "made"


def scored(labels):
    """The layers of the Ettin rerankers."""
    torch.manual_seed(2)
    return (
        Pooling(WIDTH, "cls"),
        Dense(WIDTH, WIDTH, bias=False, activation_function=nn.GELU()),
        LayerNorm(WIDTH),
        Dense(WIDTH, labels, activation_function=nn.Identity(), module_output_name="scores"),
    )


@pytest.mark.parametrize("onnx_file", [True, False], ids=["onnx", "torch"])
@pytest.mark.parametrize("labels", [1, 2])
def test_a_cross_encoder_of_modules_scores_as_its_makers_do(tmp_path, labels, onnx_file):
    theirs, folder = write(
        tmp_path, CrossEncoder, *scored(labels), onnx=onnx_file, network="modernbert"
    )
    made = policy(f"cross-encoder:{folder}")
    ranking = Reranker(made).rerank_sync(QUERY, DOCUMENTS)
    rows = theirs.predict([(QUERY, text) for text in DOCUMENTS], activation_fn=nn.Identity())
    wanted = rows if labels == 1 else rows[:, 1] - rows[:, 0]
    assert ranking.steps[0].reply.raw == pytest.approx(wanted, abs=1e-4)
    assert ranking.ids == tuple(str(i + 1) for i in np.argsort(-wanted, kind="stable"))
    assert (ranking.faults, np.ptp(wanted) > 0.1) == ((), True)
    assert [
        part.partition(":")[0] for part in made.model.fingerprint.partition("#")[2].split()
    ] == [
        "2_Dense/model.safetensors",
        "3_LayerNorm/model.safetensors",
        "4_Dense/model.safetensors",
        "onnx/model.onnx" if onnx_file else "model.safetensors",
    ]


ENCODERS = {
    "one layer": lambda: (Pooling(WIDTH, "cls"), Dense(WIDTH, 16), Normalize()),
    "two layers": lambda: (
        Pooling(WIDTH, "mean"),
        Dense(WIDTH, 64, bias=False, activation_function=nn.Identity()),
        Dense(64, 8, bias=False, activation_function=nn.Identity()),
    ),
    "residuals": lambda: (
        Pooling(WIDTH, "max"),
        Dense(WIDTH, WIDTH, activation_function=nn.ReLU(), use_residual=True),
        Dense(WIDTH, 8, activation_function=nn.SiLU(), use_residual=True),
    ),
    "norms": lambda: (Pooling(WIDTH, "lasttoken"), Normalize(), LayerNorm(WIDTH)),
    "several poolings": lambda: (
        Pooling(WIDTH, ("mean_sqrt_len_tokens", "cls", "weightedmean")),
        Dense(3 * WIDTH, 8, activation_function=nn.Sigmoid()),
    ),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_with_layers_gives_the_cosines_of_its_makers(tmp_path, kind):
    torch.manual_seed(3)
    theirs, folder = write(tmp_path, SentenceTransformer, *ENCODERS[kind]())
    query, *texts = theirs.encode([QUERY, *DOCUMENTS], normalize_embeddings=True)
    ranking = Reranker(f"encoder:{folder}").rerank_sync(QUERY, DOCUMENTS)
    assert ranking.steps[0].reply.raw == pytest.approx(np.array(texts) @ query, abs=1e-4)


def as_bfloat16(folder, monkeypatch):
    """In a format of which numpy knows only where ml_dtypes is imported, as it is in tests."""
    file = folder / "2_Dense/model.safetensors"
    save_file({name: one.bfloat16() for name, one in load_file(file).items()}, file)

    def without_ml_dtypes(path):
        raise TypeError("data type 'bfloat16' not understood")

    monkeypatch.setattr(weights, "load_file", without_ml_dtypes)


def as_pickle(folder, monkeypatch):
    file = folder / "2_Dense/model.safetensors"
    torch.save(load_file(file), folder / "2_Dense/pytorch_model.bin")
    file.unlink()


@pytest.fixture
def layered(tmp_path):
    """An encoder with one layer behind the pooling, and the folder it is in."""
    torch.manual_seed(3)
    return write(tmp_path, SentenceTransformer, Pooling(WIDTH, "mean"), Dense(WIDTH, 16))


@pytest.mark.parametrize(("rewrite", "near"), [(as_pickle, 1e-4), (as_bfloat16, 1e-2)])
def test_layers_that_numpy_cannot_read_are_read_by_torch(layered, monkeypatch, rewrite, near):
    theirs, folder = layered
    rewrite(folder, monkeypatch)
    query, *texts = theirs.encode([QUERY, *DOCUMENTS], normalize_embeddings=True)
    ranking = Reranker(f"encoder:{folder}").rerank_sync(QUERY, DOCUMENTS)
    assert ranking.steps[0].reply.raw == pytest.approx(np.array(texts) @ query, abs=near)
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"with torch 2_Dense/.* can be used: .*install"):
        policy(f"encoder:{folder}")


def changed(file, **settings):
    """Changes settings of a file."""

    def change(folder):
        held = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(held | settings))

    return change


def with_prompt(folder):
    changed("1_Pooling/config.json", include_prompt=False)(folder)
    changed("config_sentence_transformers.json", prompts={"query": "far: "})(folder)


def without_bias(folder):
    file = folder / "2_Dense/model.safetensors"
    save_file({"linear.weight": load_file(file)["linear.weight"]}, file)


DENSE = "2_Dense/config.json"


@pytest.mark.parametrize(
    ("change", "error", "line"),
    [
        (changed(DENSE, activation_function="torch.nn.Softplus"), InputError, "with Softplus, which"),
        (changed(DENSE, activation_function="my.own.GELU"), InputError, "with my.own.GELU, which"),
        (changed(DENSE, module_input_name="token_embeddings"), InputError, "from token_embeddings"),
        (changed(DENSE, module_output_name="scores"), InputError, "; try cross-encoder:"),
        (with_prompt, InputError, "pools without its prompt: not supported"),
        (without_bias, SetupError, "and their weights do not fit: KeyError('linear.bias')"),
        (changed("1_Pooling/config.json", embedding_dimension=9), SetupError, "do not fit: ValueErr"),
        (lambda folder: shutil.rmtree(folder / "2_Dense"), SetupError, "has no 2_Dense/config.json"),
        (lambda folder: (folder / "2_Dense/model.safetensors").unlink(), SetupError, "no weights in"),
        (lambda folder: (folder / "2_Dense/model.safetensors").write_bytes(b"no"), SetupError, "2_Dense/model.safetensors of "),
    ],
    ids=["activation", "own activation", "token vectors", "scores", "prompt", "bias", "width", "no folder", "no weights", "damaged"],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(layered, change, error, line):
    _, folder = layered
    change(folder)
    with pytest.raises(error) as refused:
        policy(f"encoder:{folder}")
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_cross_encoder_of_modules_is_no_encoder_and_wants_no_prompt(tmp_path):
    _, folder = write(tmp_path, CrossEncoder, *scored(1), onnx=False)
    with pytest.raises(InputError, match="is no encoder but a cross-encoder"):
        policy(f"encoder:{folder}")
    changed("config_sentence_transformers.json", prompts={"a": "far: "}, default_prompt_name="a")(
        folder
    )
    with pytest.raises(InputError, match="puts a prompt before pairs"):
        policy(f"cross-encoder:{folder}")
