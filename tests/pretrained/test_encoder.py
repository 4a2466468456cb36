"""Encoders as policies: their scores are sentence-transformers' own."""

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from helpers import tiny_rerankers
from rearank_agent import Reranker
from rearank_agent.errors import InputError
from rearank_agent.policies.registry import policy
from rearank_agent.types import Passage

QUERY = "fleas jump"
DOCUMENTS = ["fleas jump far from dogs", "the moon barks", "dogs", "bark at the moon jump", "fleas"]


@pytest.mark.parametrize("onnx_file", [True, False], ids=["onnx", "torch"])
@pytest.mark.parametrize(
    ("pooling", "prompts"),
    [
        ("mean_tokens", {}),
        ("cls_token", {"query": "far moon: ", "passage": "dogs bark: "}),
        ("max_tokens", {"query": "far: ", "document": "bark: "}),
        ("lasttoken", {}),
    ],
    ids=["mean", "cls", "max", "lasttoken"],
)
def test_scores_are_those_of_sentence_transformers(tmp_path, pooling, prompts, onnx_file):
    tiny_rerankers.encoder(tmp_path, onnx_file, pooling, prompts)
    ranking = Reranker(f"encoder:{tmp_path}").rerank_sync(QUERY, DOCUMENTS)
    theirs = SentenceTransformer(str(tmp_path), device="cpu")
    passage = prompts.get("passage") or prompts.get("document") or ""
    query = theirs.encode([prompts.get("query", "") + QUERY], prompt="")
    wanted = (theirs.encode([passage + text for text in DOCUMENTS], prompt="") @ query.T)[:, 0]
    assert ranking.steps[0].reply.raw == pytest.approx(wanted, abs=1e-4)
    assert ranking.ids == tuple(str(i + 1) for i in np.argsort(-wanted, kind="stable"))


def test_the_quote_of_a_long_passage_comes_from_its_best_window(tmp_path):
    tiny_rerankers.encoder(tmp_path, prompts={"passage": "bark: "})
    made = policy(f"encoder:{tmp_path}")
    noise = "The moon barks at the dogs. " * 5
    text = f"{noise}Fleas jump far. {noise}"
    ranking = Reranker(made).rerank_sync(QUERY, [Passage("long", text, title="Over the moon")])
    (one,) = ranking.passages
    (quote,) = one.rationale.quotes
    assert one.text[quote.start : quote.end] == one.evidence
    assert (ranking.faults, one.rationale.has) == ((), ("fleas", "jump"))
    pieces, _ = made.model.tokenizer.singles("bark: Over the moon\n" + text)
    query = made._query(QUERY)
    cosines = [float(np.dot(query.vector, made._pooled(h))) for h in made._hidden(pieces)]
    best = pieces[int(np.argmax(cosines))]
    shift = len("bark: Over the moon\n")
    assert best.start - shift <= quote.start < quote.end <= best.end - shift
    assert ranking.steps[0].reply.raw == (max(cosines),)


@pytest.mark.parametrize(
    ("file", "contents", "line"),
    [
        ("modules.json", [{"path": "", "type": "x.LSTM"}], "has a module LSTM"),
        ("modules.json", [{"path": "2", "type": "x.Normalize"}], "has a module Normalize before"),
        ("1_Pooling/config.json", {"pooling_mode": ["cls", "best"]}, "pools by cls and best"),
        ("1_Pooling/config.json", {}, "pools by nothing known"),
        ("config.json", {"architectures": ["BertForSequenceClassification"]}, "try cross-encoder:"),
        ("config.json", {"architectures": ["LlamaForCausalLM"]}, "asked as vllm:"),
        ("config.json", {"architectures": ["BertModel"]}, "does not say how many tokens it reads"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(tmp_path, file, contents, line):
    tiny_rerankers.encoder(tmp_path)
    (tmp_path / file).write_text(json.dumps(contents))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}))
    with pytest.raises(InputError) as refused:
        policy(f"encoder:{tmp_path}")
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_cross_encoder_says_that_it_is_none(bert):
    with pytest.raises(
        InputError, match=r"but a cross-encoder \(BertForSequenceClassification\); try"
    ):
        policy(f"encoder:{bert}")
