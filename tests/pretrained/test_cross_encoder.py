"""Cross-encoders as policies: their scores are transformers' own, and depend on nothing else."""

import json
import shutil

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from helpers.tiny_rerankers import KINDS, logits
from rearank_agent import Reranker
from rearank_agent.errors import InputError, PolicyError, SetupError
from rearank_agent.policies.pretrained import cross_encoder as module
from rearank_agent.policies.pretrained.cross_encoder import CrossEncoder
from rearank_agent.policies.pretrained.tokens import MAX_WINDOWS
from rearank_agent.policies.registry import policy
from rearank_agent.types import Passage

QUERY = "fleas jump"
DOCUMENTS = ["fleas jump far from dogs", "the moon barks", "dogs", "bark at the moon jump", "fleas"]


def raw(ranking):
    """The model's numbers in the order of the passages given."""
    return ranking.steps[0].reply.raw


def relevance(rows):
    """The number behind a score: the only label's, or how far the relevant one is above."""
    return rows[:, 1] - rows[:, 0] if rows.shape[1] == 2 else rows[:, 0]


@pytest.mark.parametrize("onnx_file", [True, False], ids=["onnx", "torch"])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_transformers(tiny, kind, onnx_file):
    folder, model, tokens = tiny(kind, onnx_file)
    made = policy(f"cross-encoder:{folder}")
    ranking = Reranker(made).rerank_sync(QUERY, DOCUMENTS)
    wanted = relevance(logits(model, tokens, [(QUERY, text) for text in DOCUMENTS]))
    assert raw(ranking) == pytest.approx(wanted, abs=1e-4)
    order = sorted(range(len(wanted)), key=lambda i: -wanted[i])
    assert ranking.ids == tuple(str(i + 1) for i in order)
    sigmoid = 1 / (1 + np.exp(-wanted))
    assert [one.score for one in ranking.passages] == pytest.approx(sigmoid[order], abs=1e-4)
    assert ranking.faults == ()
    file = "onnx/model.onnx" if onnx_file else "model.safetensors"
    assert made.fingerprint.startswith(f"cross-encoder:{folder}#{file}:")


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.permutations(range(5)), kept=st.integers(1, 5), batch=st.sampled_from([1, 2, 5]))
def test_a_score_does_not_depend_on_the_neighbours(bert, order, kept, batch):
    made = policy(f"cross-encoder:{bert}")
    made.model.runtime.batch = batch
    made._scorer._batch = batch
    texts = [DOCUMENTS[i] for i in order[:kept]]
    alone = [raw(Reranker(made).rerank_sync(QUERY, [text]))[0] for text in texts]
    assert raw(Reranker(made).rerank_sync(QUERY, texts)) == pytest.approx(alone, abs=1e-5)


def test_the_relevant_one_of_two_labels_is_known_by_its_name(tiny, tmp_path):
    folder, model, tokens = tiny("bert-two-labels")
    turned = shutil.copytree(folder, tmp_path / "turned")
    config = json.loads((turned / "config.json").read_text())
    config["id2label"] = {"0": "relevant", "1": "irrelevant"}
    (turned / "config.json").write_text(json.dumps(config))
    ranking = Reranker(f"cross-encoder:{turned}").rerank_sync(QUERY, DOCUMENTS)
    wanted = relevance(logits(model, tokens, [(QUERY, text) for text in DOCUMENTS]))
    assert raw(ranking) == pytest.approx(-wanted, abs=1e-4)


def test_a_long_passage_counts_by_its_best_window_which_is_quoted(bert):
    made = policy(f"cross-encoder:{bert}")
    noise = "the moon barks at the dogs and the dogs bark at the moon. " * 5
    long = f"{noise}Fleas jump far. {noise}"
    windows, complete = made.model.tokenizer.pairs(made._query(QUERY).tokens, long)
    assert len(windows) > 2
    assert complete
    best = max(made._numbers(windows))
    ranking = Reranker(made).rerank_sync(QUERY, [Passage("long", long, title="Over the moon")])
    (one,) = ranking.passages
    assert raw(ranking)[0] >= best - 5  # its title is read too, so the windows are others
    (quote,) = one.rationale.quotes
    assert one.text[quote.start : quote.end] == one.evidence
    assert one.evidence
    scored = made._score(made._query(QUERY), [one.passage])[0]
    shift = len("Over the moon\n")
    assert scored.start - shift <= quote.start < quote.end <= scored.end - shift


def test_what_is_not_read_is_a_fault(bert):
    endless = "the moon barks at dogs. " * 400
    ranking = Reranker(f"cross-encoder:{bert}").rerank_sync(
        "fleas jump far " * 40, [Passage("a", endless), Passage("b", "fleas")]
    )
    faults = [(fault.kind, fault.ids) for fault in ranking.faults]
    assert faults == [("cut", ()), ("cut", ("a",))]
    assert f"the first {MAX_WINDOWS} windows of 64 tokens" in ranking.faults[1].detail


def test_special_tokens_in_a_text_are_text(bert):
    made = policy(f"cross-encoder:{bert}")
    (piece,), _ = made.model.tokenizer.pairs(made._query(QUERY).tokens, "a [SEP] b [CLS]")
    separator = made.model.tokenizer._tokenizer.token_to_id("[SEP]")
    assert piece.ids.count(separator) == 2


def test_quotes_of_the_best_are_by_vectors_those_of_others_by_terms(bert, monkeypatch):
    monkeypatch.setattr(module, "BEST", 1)
    made = policy(f"cross-encoder:{bert}")
    asked = []
    encoder = made._quotes._encoder
    quotes = encoder.quotes
    encoder.quotes = lambda query, passage: asked.append(passage.id) or quotes(query, passage)
    ranking = Reranker(made).rerank_sync(QUERY, DOCUMENTS)
    assert asked == [ranking.ids[0]]
    assert "quotes=embedded:" in made.fingerprint
    assert ranking.passages[0].rationale.has + ranking.passages[0].rationale.lacks == (
        "fleas",
        "jump",
    )


def test_numbers_that_are_none_fail_the_window_and_lose_nothing(bert, monkeypatch):
    made = policy(f"cross-encoder:{bert}")
    monkeypatch.setattr(made.model.runtime, "run", lambda inputs: np.array([[np.nan]]))
    ranking = Reranker(made).rerank_sync(QUERY, DOCUMENTS)
    assert ranking.ids == ("1", "2", "3", "4", "5")
    assert [fault.kind for fault in ranking.faults] == ["failed"]
    assert "gave a score of nan" in ranking.faults[0].detail
    with pytest.raises(PolicyError):
        list(made._numbers(made.model.tokenizer.pairs(made._query("q").tokens, "a")[0]))


def changed(folder, tmp_path, **settings):
    """A copy of a model with other settings in config.json."""
    copy = shutil.copytree(folder, tmp_path / "changed")
    config = json.loads((copy / "config.json").read_text()) | settings
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "is no cross-encoder but GPT2LMHeadModel"),
        ({"architectures": ["Qwen3ForCausalLM"]}, "is served by vLLM and asked as vllm:"),
        ({"architectures": ["BertModel"]}, "try encoder:"),
        ({"architectures": None}, "is no cross-encoder but of an unknown kind"),
        ({"id2label": {"0": "no", "1": "maybe", "2": "yes"}}, "has 3 labels (no, maybe, yes)"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}}, "Tanh"),
    ],
)
def test_a_repository_that_is_no_reranker_is_refused(bert, tmp_path, settings, line):
    with pytest.raises(InputError) as refused:
        CrossEncoder(str(changed(bert, tmp_path, **settings)))
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def without(file):
    return lambda folder: (folder / file).unlink()


def cut(folder):
    path = folder / "onnx/model.onnx"
    path.write_bytes(path.read_bytes()[:-1000])


def with_other_inputs(folder):
    path = folder / "onnx/model.onnx"
    model = onnx.load(path)
    for node in model.graph.node:
        node.input[:] = ["pixels" if name == "attention_mask" else name for name in node.input]
    next(one for one in model.graph.input if one.name == "attention_mask").name = "pixels"
    onnx.save(model, path)


def with_settings(**settings):
    def write(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | settings))

    return write


def torch_weights(break_it):
    """Break the safetensors of a folder without ONNX file."""

    def write(folder):
        (folder / "onnx/model.onnx").unlink()
        break_it(folder / "model.safetensors")

    return write


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-1000])


def without_the_head(path):
    kept = {name: tensor for name, tensor in load_file(path).items() if "classifier" not in name}
    save_file(kept, path, {"format": "pt"})


def no_model(folder):
    for file in ("onnx/model.onnx", "model.safetensors"):
        (folder / file).unlink()


@pytest.mark.parametrize(
    ("break_it", "error", "line"),
    [
        (without("config.json"), InputError, "holds no model: it has no config.json"),
        (without("tokenizer.json"), InputError, "has no tokenizer.json; in Python: "),
        (no_model, InputError, "has neither ONNX weights (model.onnx) nor model.safetensors"),
        (cut, SetupError, "model.onnx of "),
        (with_other_inputs, SetupError, "takes input_ids, pixels, token_type_ids, not tokens"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), SetupError, "cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{"), SetupError, "cannot be read"),
        (lambda folder: (folder / "config.json").write_text("[]"), SetupError, "the settings of "),
        (with_settings(id2label=["no", "yes"]), SetupError, "the settings of "),
        (with_settings(id2label={"no": "0"}), SetupError, "the settings of "),
        (with_settings(pad_token_id="[PAD]"), SetupError, "the settings of "),
        (torch_weights(cut_off), SetupError, "cannot be loaded: "),
        (torch_weights(without_the_head), SetupError, "lack classifier.bias, classifier.weight"),
    ],
    ids=[
        "config",
        "tokenizer",
        "weights",
        "cut",
        "inputs",
        "broken tokenizer",
        "broken config",
        "config of a list",
        "labels of a list",
        "labels by name",
        "padding by name",
        "cut safetensors",
        "no head",
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(bert, tmp_path, break_it, error, line):
    folder = shutil.copytree(bert, tmp_path / "broken")
    break_it(folder)
    with pytest.raises(error) as refused:
        CrossEncoder(str(folder))
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)
