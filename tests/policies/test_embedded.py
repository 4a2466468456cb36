import asyncio
import json
import shutil
from collections import Counter
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rearank_agent import (
    Fault,
    InputError,
    Passage,
    Policy,
    Quote,
    Rationale,
    Reranker,
    SetupError,
    Task,
)  # fmt: skip
from rearank_agent.policies.embedded.policy import DEFAULT, WEIGHTS, Embedded, shipped_weights
from rearank_agent.policies.embedded.similarity import PooledText, similarity
from rearank_agent.policies.lexical import Lexical
from rearank_agent.policies.protocol import unit_score
from rearank_agent.policies.registry import policy
from rearank_agent.text import bigrams

JUMP = "A flea stores energy in a pad of elastic protein. It can leap a hundred times its length."
TEXTS = [
    JUMP, "Dogs bark.", "", " \n", "🦟🦟", "x" * 9000, "flea " * 600, "1648", "def leap(): return 20",
    "The treaty of Münster was signed in 1648 and ended the war.", JUMP + " " + JUMP,
    "Treat every pet in the house, wash bedding at sixty degrees and vacuum daily for two weeks.",
    "跳蚤能活一百天。", "Блоха (flea) живёт сто дней и прыгает far.", "벼룩의 수명은 백일이다. A flea jumps.",
    "A flea is called 跳蚤 in Chinese, and it can jump as far there as anywhere else.",
]  # fmt: skip
QUERY = "how far can fleas jump"


@pytest.fixture(scope="module")
def embedded():
    return Embedded()


def passages(texts=TEXTS):
    return [Passage(f"p{i}", text, title="Fleas" * (i % 2)) for i, text in enumerate(texts)]


def scores(ranking):
    return {p.id: p.score for p in ranking.passages}


def test_a_complete_reply(embedded):
    task = Task(
        "r",
        "how far do fleas jump",
        "",
        (Passage("a", JUMP, title="Fleas"), Passage("b", "Dogs bark.")),
    )
    reply = asyncio.run(embedded.judge(task, (1, 0)))
    assert reply.order == (1, 0)
    assert reply.scores == pytest.approx((0.19, 0.55), abs=0.06)
    assert reply.rationales == (
        Rationale(lacks=("far", "fleas", "jump")),
        Rationale(quotes=(Quote(50, 89),), has=("fleas",), lacks=("far", "jump")),
    )
    assert JUMP[50:89] == "It can leap a hundred times its length."
    assert reply.faults == ()
    assert reply.usage.calls == 1


@pytest.fixture(scope="module")
def alone(embedded):
    one_by_one = Reranker(Embedded(threads=1))
    return {p.id: one_by_one.rerank_sync(QUERY, [p]).passages[0].score for p in passages()}


@settings(max_examples=25)
@given(st.permutations(passages()), st.integers(1, len(TEXTS)), st.sampled_from([1, 2, 4]),
       st.sampled_from(["whole", "sliding:4:2", "groups:3", "batches:5", "tournament:4"]))  # fmt: skip
def test_a_score_depends_on_query_and_passage_alone(alone, shuffled, n, threads, schedule):
    policy = POLICIES[threads]
    ranking = Reranker(policy, schedule=schedule).rerank_sync(QUERY, shuffled[:n])
    assert scores(ranking) == {p.id: alone[p.id] for p in shuffled[:n]}, "to the last bit"


POLICIES = {threads: Embedded(threads=threads) for threads in (1, 2, 4)}


def test_a_passage_is_encoded_once_a_request(monkeypatch):
    policy = Embedded()
    encode, read = policy.encoder.encode, Counter()
    monkeypatch.setattr(
        policy.encoder, "encode", lambda text: (read.update([text]), encode(text))[1]
    )
    texts = [f"passage {i} about fleas" for i in range(30)]
    ranking = Reranker(policy, schedule="sliding:10:5").rerank_sync("fleas", texts)
    assert ranking.usage.calls == 5
    assert read == Counter([*texts, "fleas"])


async def test_windows_at_the_same_time_share_their_work(monkeypatch):
    policy = Embedded()
    encode, read = policy.encoder.encode, Counter()
    monkeypatch.setattr(
        policy.encoder, "encode", lambda text: (read.update([text]), encode(text))[1]
    )
    task = Task("r", "fleas", "", tuple(passages(["one flea", "two fleas", "three"])))
    await asyncio.gather(*(policy.judge(task, (0, 1, 2)) for _ in range(5)))
    assert max(read.values()) == 1


async def test_cancelling_one_window_leaves_the_others_alone():
    policy = Embedded(threads=1)
    task = Task("r", "fleas", "", tuple(Passage(str(i), f"{i} {JUMP}") for i in range(60)))
    everything = tuple(range(60))
    first = asyncio.create_task(policy.judge(task, everything))
    second = asyncio.create_task(policy.judge(task, everything))
    await asyncio.sleep(0.05)
    first.cancel()
    reply = await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert sorted(reply.order) == list(range(60))


def test_control_tokens_in_a_passage_are_text(embedded):
    tokens = embedded.encoder._tokens("[SEP] fleas [CLS] jump [MASK]")[0].tokens
    assert tokens.count("[SEP]") == tokens.count("[CLS]") == 1
    assert "[MASK]" not in tokens


@pytest.mark.parametrize("title", ["", "A title of its own. With two sentences."])
@pytest.mark.parametrize(
    "text", [JUMP, "  \n" + JUMP, "Köln? 跳蚤 🦟 jumps.\n\nFleas leap far!  ", "without an end"]
)
def test_quotes_are_sentences_of_the_text(embedded, title, text):
    ranked = Reranker(embedded).rerank_sync(QUERY, [Passage("a", text, title=title)]).passages[0]
    (quote,) = ranked.rationale.quotes
    sentence = text[quote.start : quote.end]
    assert sentence == sentence.strip() == ranked.evidence
    assert sentence in (
        "It can leap a hundred times its length.",
        "Fleas leap far!",
        "without an end",
    )


def test_the_terms_are_those_of_the_whole_text(embedded):
    long = "and so on " * 400 + "far"
    (ranked,) = Reranker(embedded).rerank_sync("how far", [long]).passages
    assert (ranked.rationale.has, ranked.rationale.lacks) == (("far",), ())


def test_the_evidence_of_a_term_is_found_beyond_what_the_encoder_reads(embedded):
    rows = "\n".join(f"part {n} | of the {n}th shelf | a bolt of brass" for n in range(100, 200))
    (ranked,) = Reranker(embedded).rerank_sync("where is part 187", [rows]).passages
    assert ranked.evidence == "part 187 | of the 187th shelf | a bolt of brass"


def test_long_text_is_truncated_with_a_fault(embedded):
    long = JUMP + " and so on" * 400
    ranking = Reranker(embedded).rerank_sync(QUERY, [Passage("long", long), Passage("short", JUMP)])
    detail = "only the first 256 tokens were read; split longer passages to have all of them read"
    assert ranking.faults == (Fault("cut", ("long",), detail),)
    query = Reranker(embedded).rerank_sync("flea " * 300, [JUMP])
    assert query.faults == (Fault("cut", (), "of the query only the first 256 tokens were read"),)


def test_text_beyond_what_is_read_changes_nothing(embedded):
    head = "fleas jump far and high " * 80
    one, other = head + "x " * 10, head + " dogs bark" * 500_000
    ranking = Reranker(embedded).rerank_sync(QUERY, [Passage("a", one), Passage("b", other)])
    assert scores(ranking)["a"] == scores(ranking)["b"]


def test_spaces_and_endless_words_before_the_text_are_skipped(embedded):
    spaced = Passage("a", " " * 50_000 + JUMP)
    ranking = Reranker(embedded).rerank_sync(QUERY, [spaced, Passage("b", JUMP)])
    assert scores(ranking)["a"] == scores(ranking)["b"]
    assert ranking.faults == ()


def test_megabytes_without_a_token_are_left_with_a_fault(embedded):
    passages = [
        Passage("a", " " * 5_000_000 + JUMP),
        Passage("b", "x" * 5_000_000),
        Passage("c", JUMP),
    ]
    ranking = Reranker(embedded, deadline=60).rerank_sync(QUERY, passages)
    assert ranking.ids[0] == "c"
    assert ranking.partial is False
    assert [(fault.kind, fault.ids) for fault in ranking.faults] == [("cut", ("a", "b"))]


def test_an_instruction_it_cannot_follow_is_a_fault(embedded):
    ranking = Reranker(embedded).rerank_sync(QUERY, [JUMP], instruction="Prefer numbers.")
    detail = "the policy embedded cannot follow an instruction"
    assert ranking.faults == (Fault("instruction", (), detail),)


FLEAS_IN = {
    "Chinese": ("跳蚤能活多久", ["狗在晚上叫。", "跳蚤能活一百天。", "猫会睡觉。"]),
    "Japanese": ("ノミの寿命", ["犬は夜に吠えます。", "ノミの寿命は百日です。", "猫は眠る。"]),
    "Korean": ("벼룩의 수명", ["개는 밤에 짖는다.", "벼룩의 수명은 백일이다.", "고양이는 잔다."]),
    "Arabic": ("دورة حياة البرغوث", ["الكلاب تنبح ليلا.", "حياة البرغوث مئة يوم.", "القطط تنام."]),
    "Russian": ("сколько живёт блоха", ["Собаки лают.", "Блоха живёт сто дней.", "Кошки спят."]),
    "Thai": ("หมัดอยู่ได้นานแค่ไหน", ["สุนัขเห่าตอนกลางคืน", "หมัดอยู่ได้ร้อยวัน", "แมวนอนหลับ"]),
}  # fmt: skip


@pytest.mark.parametrize("language", FLEAS_IN)
def test_unsupported_scripts_are_ranked_by_pairs_of_letters(embedded, language):
    query, texts = FLEAS_IN[language]
    ranking = Reranker(embedded).rerank_sync(query, texts)
    assert ranking.ids[0] == "2"
    assert [fault.kind for fault in ranking.faults] == ["vocabulary"]
    assert "BM25 on pairs of letters ranks" in ranking.faults[0].detail
    pairs = Reranker(Lexical(bigrams)).rerank_sync(query, texts)
    assert ranking.ids == pairs.ids
    assert scores(ranking) == {p.id: unit_score(p.score, None) for p in pairs.passages}


@pytest.mark.parametrize(
    "text",
    ["Größere Flöhe überwintern häufig.", "Où êtes-vous allés cet été ?", "Vòng đời của bọ chét",
     "great 😍😍😍 food 🍕🍔 10/10 🔥", "IL-1β and TNF-α rose", "TNF-α", "Δ9-THC", "µ and α, β", "12:30 (+49) 30-60", "x = y ** 2"],
)  # fmt: skip
def test_accents_emoji_and_signs_are_supported(embedded, text):
    assert Reranker(embedded).rerank_sync(text, [text]).faults == ()


@pytest.mark.parametrize("n", [1, 9])
def test_passages_in_unsupported_scripts_are_named_and_placed_by_pairs_of_letters(embedded, n):
    texts = [JUMP, "跳蚤能活一百天。", *["跳蚤 flea jump 一百天跳蚤能活。"] * n, "Dogs bark."]
    ranking = Reranker(embedded).rerank_sync("flea jump", texts)
    ids = tuple(map(str, range(2, 3 + n)))
    detail = "in a script the encoder does not support; BM25 on pairs of letters scores them"
    assert ranking.faults == (Fault("vocabulary", ids, detail),)
    assert (ranking.ids[0], ranking.ids[-1]) == ("1", "2")
    pairs = Reranker(Lexical(bigrams)).rerank_sync("flea jump", [texts[2]]).passages[0]
    assert scores(ranking)["2"] == 0.0
    assert scores(ranking)["3"] == unit_score(pairs.score, None) > 0.3
    (placed,) = (p for p in ranking.passages if p.id == "3")
    assert placed.rationale == Rationale(quotes=(Quote(0, 21),), has=("flea", "jump"))


OTHER = ["Dogs bark.", "The treaty of Münster was signed in 1648 and ended the war."]


@pytest.mark.parametrize(
    ("query", "texts", "said"),
    [
        (QUERY, OTHER, True),
        (QUERY, [*OTHER, JUMP], False),
        ("error XK-4471", [*OTHER, "XK-4471 (error): see the list on page nine."], False),
        ("Münster 1648", OTHER, False),
        (QUERY, ["跳蚤能活一百天。"], False),
    ],
)
def test_a_query_that_nothing_answers_has_a_fault(embedded, query, texts, said):
    ranking = Reranker(embedded).rerank_sync(query, passages(texts))
    kinds = [fault.kind for fault in ranking.faults]
    assert ("unanswered" in kinds) is said
    assert ranking.partial is False


def test_the_fault_of_an_unanswered_query_names_the_best_score(embedded):
    ranking = Reranker(embedded).rerank_sync(QUERY, OTHER)
    best = max(one.relevance for one in ranking.passages)
    (fault,) = ranking.faults
    assert fault == Fault(
        "unanswered",
        (),
        f"probably nothing here answers the query: the best score is {best:.2f}, and of queries "
        "with an answer hardly any is below 0.35",
    )


def test_layers_without_a_measured_score_name_no_unanswered_query():
    ranking = Reranker("embedded:untrained").rerank_sync(QUERY, OTHER)
    assert ranking.faults == ()


def test_empty_passages_come_last(embedded):
    ranking = Reranker(embedded).rerank_sync(QUERY, ["", "Dogs bark.", " \n\t", JUMP])
    assert ranking.ids == ("4", "2", "1", "3")
    assert [p.score for p in ranking.passages[2:]] == [-1.0, -1.0]


def test_a_deadline_in_the_middle_drops_what_was_not_begun(embedded):
    many = [f"passage {i} {JUMP}" for i in range(3000)]
    ranking = Reranker(embedded, deadline=1.5).rerank_sync(QUERY, many)
    assert ranking.partial is True
    assert len(ranking.passages) == 3000
    assert ranking.usage.seconds < 4


def test_it_is_a_policy(embedded):
    assert isinstance(embedded, Policy)
    facts = json.loads((WEIGHTS / DEFAULT / "policy.json").read_text())
    assert embedded.name == "embedded"
    assert embedded.blend == facts["blend"]
    assert embedded.scale == 1.0
    assert embedded.fingerprint == f"embedded:{facts['sha256']['top.onnx'][:12]}"


def test_other_upper_layers_by_name_or_folder():
    assert {DEFAULT, "untrained"} <= set(shipped_weights())
    named, folder = policy("embedded:untrained"), policy(f"embedded:{WEIGHTS / 'untrained'}")
    assert named.name == ("embedded" if DEFAULT == "untrained" else "embedded:untrained")
    assert named.fingerprint == folder.fingerprint
    with pytest.raises(InputError, match=r"no embedded policy 'nix'; there are: .*untrained"):
        policy("embedded:nix")
    with pytest.raises(InputError, match="is no language model and takes no options: think"):
        policy("embedded:untrained", think=False)


def test_the_files_are_those_the_card_describes():
    card = (WEIGHTS / "MODEL_CARD.md").read_text()
    for facts in (WEIGHTS / "encoder.json", *WEIGHTS.glob("*/policy.json")):
        for name, digest in json.loads(facts.read_text())["sha256"].items():
            assert sha256((facts.parent / name).read_bytes()).hexdigest() == digest
            assert digest in card


def test_missing_or_damaged_weights(tmp_path):
    folder = shutil.copytree(WEIGHTS, tmp_path / "weights")
    (folder / "untrained" / "top.onnx").write_bytes(b"not a network")
    with pytest.raises(SetupError, match=r"top\.onnx is damaged"):
        Embedded("untrained", weights=folder)
    (folder / "untrained" / "top.onnx").unlink()
    with pytest.raises(SetupError, match=r"top\.onnx cannot be read"):
        Embedded("untrained", weights=folder)
    facts = json.loads((folder / "untrained" / "policy.json").read_text())
    (folder / "untrained" / "policy.json").write_text(json.dumps(facts | {"trunk": "another"}))
    with pytest.raises(SetupError, match="trained on other lower layers"):
        Embedded("untrained", weights=folder)
    (folder / "untrained" / "policy.json").write_text("{}")
    with pytest.raises(SetupError, match=r"policy\.json cannot be used: 'trunk'"):
        Embedded("untrained", weights=folder)
    (folder / "encoder.json").unlink()
    with pytest.raises(SetupError, match=r"encoder\.json cannot be used"):
        Embedded("untrained", weights=folder)


def test_similarity_by_hand():
    """A text of 20 tokens in two directions has spans of 16, at 0, and of 12, at 8."""
    east, north = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    query = PooledText(np.stack([east] * 12))
    passage = PooledText(np.stack([north] + [north] * 10 + [east] * 10 + [north]))
    assert query.spans.tolist() == [[1.0, 0.0]]
    means = [np.array([6, 10]), np.array([10, 2])]
    assert passage.spans == pytest.approx(np.stack([m / np.linalg.norm(m) for m in means]))
    whole, part = 10 / np.hypot(10, 12), 10 / np.hypot(10, 2)
    assert similarity(query, passage, 0) == pytest.approx(whole)
    assert similarity(query, passage, 0.25) == pytest.approx(0.75 * whole + 0.25 * part)
