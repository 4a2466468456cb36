"""The replies of a run: what is kept to read, what is measured, and which alarms that rings."""

import pytest

from rearank_agent.listwise import write_reply
from rearank_training.lm.alarms import ALARMS, alarms_of
from rearank_training.lm.replies import (
    RatedReply,
    Samples,
    is_copied,
    metrics,
    rate,
    repeats,
    shares,
)
from rearank_training.rows.rewards import Rearank, ReasonRank

KEPT, TURNED = write_reply((0, 1, 2), "[1] has it."), write_reply((2, 1, 0), "[3] has it.")
LOOP = "<think>" + "the boat is in the harbour of the town and " * 9 + "</think>"


def rated(reward, reply="r"):
    return RatedReply("a/b/0", "which boat?", reply, (0.0, 1.0), reward, {"tags": 1.0})


def test_a_reply_is_rated_with_the_parts_of_its_reward():
    one = rate(Rearank(), "a/b/0", "q", TURNED, (0, 0, 1))
    assert (one.reward, one.parts) == (1.0, {"relative_ndcg": 1, "tags": 1, "complete_list": 1})
    listed = rate(Rearank(), "a/b/0", "q", TURNED, (0, 0, 1), gain=0.5)
    assert listed.reward == pytest.approx(0.6)
    assert listed.parts["list_gain"] == 0.5
    other = rate(ReasonRank(), "a/b/0", "q", "", (0, 0, 1))
    assert (other.reward, set(other.parts)) == (
        -1,
        {"ndcg", "recall", "rbo", "tags", "complete_list"},
    )


def test_the_best_the_worst_and_a_random_reply_are_kept_once_each():
    samples = Samples(seed=1)
    samples.extend(rated(reward, f"reply {reward}") for reward in (0.2, 0.9, 0.5, -0.3, 0.9, 0.4))
    found = samples.take(step=2)
    assert [one["kind"] for one in found][:2] == ["best", "worst"]
    assert found[0] == {
        "kind": "best", "prompt": "a/b/0", "query": "which boat?", "reply": "reply 0.9",
        "left_out": 0, "grades": (0.0, 1.0), "reward": 0.9, "parts": {"tags": 1.0},
    }  # fmt: skip
    assert found[1]["reward"] == -0.3
    assert samples.take(step=3) == [], "they begin again"
    samples.extend([rated(0.5)])
    assert [one["kind"] for one in samples.take(4)] == ["best"], "the only one is all three"


def test_what_is_drawn_depends_on_seed_and_step_alone():
    def drawn(seed, step):
        samples = Samples(seed)
        samples.extend(map(rated, range(7)))  # of another run, before a resume
        samples.take(step)
        samples.extend(rated(n % 5, f"reply {n}") for n in range(200))
        return samples.take(step)[-1]["reply"]

    assert drawn(0, 4) == drawn(0, 4)
    assert len({drawn(seed, step) for seed in range(4) for step in range(4)}) > 8


def test_texts_are_bounded():
    one = rated(1, "a" * 6_000 + "b" * 500 + "c" * 2_000).as_json()
    assert one["reply"] == "a" * 6_000 + "\n[... 500 characters left out ...]\n" + "c" * 2_000
    assert one["left_out"] == 500


@pytest.mark.parametrize(
    ("reply", "copied"),
    [(KEPT, True), (TURNED, False), ("no answer", None), ("<answer>[1]</answer>", True)],
)
def test_a_copied_order(reply, copied):
    assert is_copied(reply, 3) is copied


@pytest.mark.parametrize(
    ("reply", "loops"),
    [
        (LOOP, True),
        ("好" * 60, True),
        ("[1] > [2] > " * 12, True),
        ("", False),
        (KEPT, False),
        (write_reply(range(20), "\n".join(f"[{n}] has nothing of the query." for n in range(20))), False),
        ("one two three four five six seven eight", False),
    ],
)  # fmt: skip
def test_a_reply_that_repeats_itself(reply, loops):
    assert repeats(reply) is loops


def test_measures_of_replies():
    replies = [rate(Rearank(), "n", "q", text, (0, 0, 1)) for text in (KEPT, TURNED, LOOP, KEPT)]
    assert shares(replies) == {"tagged": 0.75, "repeats": 0.25, "copied": round(2 / 3, 6)}
    assert shares(replies[2:3]) == {"tagged": 0, "repeats": 1, "copied": 0}
    assert metrics(replies[0]) == {
        "fault/unreadable": 0, "fault/missing": 0, "fault/repeated": 0, "fault/foreign": 0,
        "part/relative_ndcg": 0, "part/tags": 1, "part/complete_list": 1, "repeats": 0, "copied": 1,
    }  # fmt: skip
    assert metrics(replies[2])["fault/unreadable"] == 1
    assert "copied" not in metrics(replies[2]), "it has no order"


QUIET = {
    "step": 3,
    "cut_off": 0.09,
    "repeats": 0.09,
    "copied": 0.89,
    "equal": 0.99,
    "part/tags": 0.11,
}


@pytest.mark.parametrize(
    ("kind", "line", "text"),
    [
        ("length", {"cut_off": 0.1}, "10% of the replies reach the limit of tokens"),
        ("repeats", {"repeats": 0.25}, "25% of the replies repeat themselves"),
        ("copying", {"copied": 0.9}, "90% of the replies keep the order of the first stage"),
        ("equal", {"equal": 1.0}, "all replies to each prompt have the same reward; no signal"),
        ("tags", {"part/tags": 0.1}, "only 10% of the replies have the tags"),
        ("tags", {"tagged": 0.0}, "only 0% of the replies have the tags"),
    ],
)
def test_each_alarm_rings_at_its_threshold(kind, line, text):
    assert alarms_of(QUIET) == {}
    found = alarms_of(QUIET | line)
    assert list(found) == [kind]
    assert found[kind].startswith(text)
    assert alarms_of(QUIET | line | {"step": 0}) == {}, "nothing is learned yet"


def test_a_line_without_measures_rings_nothing():
    assert alarms_of({"step": 3, "loss": 0.1}) == {}
    assert [alarm.kind for alarm in ALARMS] == ["length", "repeats", "copying", "equal", "tags"]
