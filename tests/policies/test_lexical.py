import builtins
import sys

import pytest

from rearank_agent import Fault, Passage, Policy, Quote, Rationale, Reranker, policy
from rearank_agent.policies.lexical import Lexical
from rearank_agent.policies.protocol import unit_score
from rearank_agent.text import QueryTerms, bigrams, content_tokens, sentences, words

FLEAS = [
    Passage("dog", "Dogs bark at night. They sleep by day."),
    Passage("flea", "A cat has them. An adult flea lives for a hundred days! It jumps."),
    Passage("life", "The life of fleas is short."),
]


def quoted(text):
    return [text[span.start : span.end] for span in sentences(text)]


def test_words():
    assert words("Don't stop: the Über-flea, 3.5mm! 跳蚤能活 x") == [
        "don't", "stop", "the", "über", "flea", "3", "5mm", "跳蚤", "蚤能", "能活", "x",
    ]  # fmt: skip
    assert words(" \n🙂") == []
    assert bigrams("flea 跳蚤 a") == ["fl", "le", "ea", "跳蚤", "a"]
    assert content_tokens("The fleas are jumping") == ["flea", "jump"]


def test_sentences():
    assert quoted('Fleas bite. "They jump!" Dr. Smith said 3.5 mm.\n\n * ok\nJ. R. came… 你好。世界！') == [
        "Fleas bite.", '"They jump!"', "Dr. Smith said 3.5 mm.", "* ok", "J. R. came…", "你好。", "世界！",
    ]  # fmt: skip
    assert quoted("flush empties the buffer. render draws approx. ten lines, e.g. a title, or fig. b.") == [
        "flush empties the buffer.", "render draws approx. ten lines, e.g. a title, or fig. b.",
    ]  # fmt: skip
    assert quoted("Use it. parse_line() reads. printf writes 12 no. of times.") == [
        "Use it.", "parse_line() reads.", "printf writes 12 no. of times.",
    ]  # fmt: skip
    assert quoted("") == quoted(" \n ---\n") == []
    assert quoted("no end") == ["no end"]


def test_terms():
    terms = QueryTerms.of("How do fleas, and a flea, live?")
    assert terms == QueryTerms(("fleas", "live"), ("flea", "live"))
    assert QueryTerms.of("to be or not to be").written == ("to", "be", "or", "not")
    assert terms.rationale(content_tokens("It lives.")) == Rationale(
        has=("live",), lacks=("fleas",)
    )


def test_lexical_ranks_with_evidence():
    ranking = Reranker("lexical").rerank_sync("how long does a flea live", FLEAS)
    assert ranking.ids == ("flea", "life", "dog")
    assert [p.scored for p in ranking.passages] == [True] * 3
    assert ranking.passages[0].evidence == "An adult flea lives for a hundred days!"
    assert ranking.passages[0].rationale == Rationale(
        quotes=(Quote(16, 55),), has=("flea", "live"), lacks=("long",)
    )
    assert ranking.passages[2].score == 0.0
    assert ranking.passages[2].rationale == Rationale(lacks=("long", "flea", "live"))
    assert ranking.faults == ()


def test_idf_comes_from_all_candidates_whatever_the_window():
    whole = Reranker("lexical").rerank_sync("flea life", FLEAS)
    pairs = Reranker("lexical", schedule="groups:1").rerank_sync("flea life", FLEAS)
    assert pairs.passages == whole.passages


@pytest.mark.parametrize("query", ["zebra", "?!", "the"])
def test_a_query_that_nothing_holds_keeps_the_order(query):
    passages = [*FLEAS[:2], Passage("empty", " ")]
    if query != "the":
        ranking = Reranker("lexical").rerank_sync(query, passages)
        assert ranking.ids == ("dog", "flea", "empty")
        assert {p.score for p in ranking.passages} == {0.0}


def test_bigrams_rank_what_has_no_spaces():
    passages = ["狗在晚上叫。", "跳蚤能活一百天。它会跳。", "猫有跳蚤。"]
    ranking = Reranker(Lexical(bigrams)).rerank_sync("跳蚤能活多久", passages)
    assert ranking.ids == ("2", "3", "1")
    assert ranking.passages[0].evidence == "跳蚤能活一百天。"


def test_first_stage_keeps_the_order():
    ranking = Reranker("first-stage").rerank_sync("flea", FLEAS, instruction="be quick")
    assert ranking.ids == ("dog", "flea", "life")
    assert [p.score for p in ranking.passages] == [1.0, 1 - 1 / 3, 1 - 2 / 3]
    assert ranking.faults == (
        Fault("instruction", (), "the policy first-stage cannot follow an instruction"),
    )
    for schedule in ("sliding:2:1", "tournament:2", "groups:2", "topdown:4"):
        assert (
            Reranker("first-stage", schedule=schedule).rerank_sync("flea", FLEAS).ids == ranking.ids
        )


@pytest.mark.parametrize(("name", "scale"), [("lexical", None), ("first-stage", 1.0)])
def test_both_are_policies(name, scale):
    assert isinstance(policy(name), Policy)
    assert (policy(name).name, policy(name).scale) == (name, scale)


@pytest.mark.parametrize(
    ("score", "scale", "part"),
    [(7.5, 10.0, 0.75), (0.3, 1.0, 0.3), (-0.2, 1.0, 0.0), (1.1, 1.0, 1.0), (3.0, None, 0.75), (0.0, None, 0.0)],
)  # fmt: skip
def test_a_score_is_a_part_of_its_scale(score, scale, part):
    assert unit_score(score, scale) == part


def test_without_onnxruntime_lexical_ranks_with_a_fault(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.split(".")[0] == "onnxruntime":
            raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
        return real(name, *args, **kwargs)

    for module in [m for m in sys.modules if m.split(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, module)
    for module in ("policy", "encoder", "similarity"):
        monkeypatch.delitem(sys.modules, f"rearank_agent.policies.embedded.{module}", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    reranker = Reranker("embedded")
    assert isinstance(reranker.policy, Policy)
    assert reranker.policy.scale is None
    ranking = reranker.rerank_sync("how long does a flea live", FLEAS)
    assert ranking.ids == ("flea", "life", "dog")
    assert ranking.policy.startswith("lexical:")
    assert ranking.faults == (
        Fault("fallback", (), "lexical ranks instead; the embedded policy needs onnxruntime: "
              "pip install onnxruntime tokenizers"),
    )  # fmt: skip
