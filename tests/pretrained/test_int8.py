"""Weights in 8 bits under the names that hubs have them: which is taken, and how it ranks."""

import shutil

import numpy as np
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic
from scipy.stats import spearmanr

from helpers.tiny_rerankers import KINDS
from rearank_agent import Reranker
from rearank_agent.errors import InputError
from rearank_agent.policies.pretrained import weights
from rearank_agent.policies.registry import policy

QUERY = "fleas jump"
WORDS = ["fleas", "jump", "far", "from dogs", "the moon", "barks", "at", "over wide text"]
TEXTS = [" ".join(np.random.default_rng(i).choice(WORDS, 2 + i % 9)) for i in range(40)]
NAMES = {
    "qint8_avx512_vnni": QuantType.QInt8,
    "qint8_avx512": QuantType.QInt8,
    "quint8_avx2": QuantType.QUInt8,
    "qint8_arm64": QuantType.QInt8,
    "quantized": QuantType.QUInt8,
    "int8": QuantType.QInt8,
    "uint8": QuantType.QUInt8,
}
"""As sentence-transformers and Transformers.js call them."""


def quantise(folder, *names):
    """Write the ONNX file of a model in 8 bits, under these names."""
    for name in names:
        quantize_dynamic(
            folder / "onnx/model.onnx", folder / f"onnx/model_{name}.onnx",
            weight_type=NAMES[name], per_channel=True, reduce_range=NAMES[name] == QuantType.QInt8,
        )  # fmt: skip


@pytest.fixture(scope="session")
def quantised(bert, tmp_path_factory):
    """The folder of a BERT cross-encoder with weights in 8 bits of all names."""
    folder = shutil.copytree(bert, tmp_path_factory.mktemp("int8") / "bert")
    quantise(folder, *NAMES)
    return folder


def raw(name, texts):
    return np.array(Reranker(name).rerank_sync(QUERY, texts).steps[0].reply.raw)


@pytest.mark.parametrize(
    ("features", "absent", "taken"),
    [
        ({"avx2", "avx512f", "avx512_vnni"}, (), "qint8_avx512_vnni"),
        ({"avx2", "avx512f"}, (), "qint8_avx512"),
        ({"avx2"}, (), "quint8_avx2"),
        ({"asimd"}, (), "qint8_arm64"),
        ({"sse2"}, (), "quantized"),
        ({"avx2"}, ("quint8_avx2",), "quantized"),
        ({"asimd"}, ("qint8_arm64", "quantized"), "int8"),
        ({"asimd"}, ("qint8_arm64", "quantized", "int8"), "uint8"),
    ],
)
def test_the_weights_for_this_processor_are_taken(
    quantised, tmp_path, monkeypatch, features, absent, taken
):
    folder = shutil.copytree(quantised, tmp_path / "bert")
    for name in absent:
        (folder / f"onnx/model_{name}.onnx").unlink()
    monkeypatch.setattr(weights, "_processor_features", lambda: frozenset(features))
    made = policy(f"cross-encoder:{folder}#int8")
    assert f"#onnx/model_{taken}.onnx:" in made.fingerprint
    assert len(raw(made, TEXTS[:3])) == 3


def test_weights_for_other_processors_alone_are_named(bert, tmp_path, monkeypatch):
    folder = shutil.copytree(bert, tmp_path / "bert")
    quantise(folder, "qint8_arm64")
    monkeypatch.setattr(weights, "_processor_features", lambda: frozenset({"avx2"}))
    with pytest.raises(InputError, match=r"no weights 'int8'; .*onnx/model_qint8_arm64\.onnx"):
        policy(f"cross-encoder:{folder}#int8")


@pytest.mark.parametrize("name", ["int8", *NAMES])
def test_the_order_is_nearly_that_of_full_precision(quantised, name):
    scores = raw(f"cross-encoder:{quantised}#{name}", TEXTS)
    full = raw(f"cross-encoder:{quantised}", TEXTS)
    assert spearmanr(scores, full).statistic > 0.95
    assert not np.array_equal(scores, full)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bert"])
def test_every_architecture_ranks_in_8_bits(tiny, tmp_path, kind):
    folder = shutil.copytree(tiny(kind)[0], tmp_path / kind)
    quantise(folder, "quantized")
    scores = raw(f"cross-encoder:{folder}#quantized", TEXTS)
    assert spearmanr(scores, raw(f"cross-encoder:{folder}", TEXTS)).statistic > 0.85


@pytest.mark.parametrize("name", ["quint8_avx2", "qint8_avx512_vnni"])
def test_a_score_in_8_bits_is_the_same_beside_any_neighbours(quantised, name):
    made = policy(f"cross-encoder:{quantised}#{name}")
    alone = [raw(made, [text])[0] for text in TEXTS]
    assert raw(made, TEXTS).tolist() == alone
    assert raw(made, TEXTS[::-1]).tolist() == alone[::-1]
