import pickle
import random
import subprocess
import sys
from math import log2

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rearank_agent.errors import InputError
from rearank_agent.listwise import write_reply
from rearank_training.rows.rewards import (
    REWARDS,
    Ndcg,
    Rbo,
    Rearank,
    Recall,
    RelativeNdcg,
    relative_ndcg,
    reward_by_name,
)

SECOND = 1 / log2(3)  # the discount of rank 2; that of rank 3 is 1 / 2
GRADES = [0, 2, 1]
START = 2 * SECOND + 1 / 2
BEST = 2 + SECOND

THOUGHT = "<think>\n[2] says it.\n</think>\n"
BEST_REPLY = write_reply([1, 2, 0], "[2] says it.")


@pytest.mark.parametrize(
    ("new", "initial", "worth"),
    [
        ([1, 0], [0, 1], 1),
        ([0, 1], [0, 1], 0),
        ([1, 0], [1, 0], 0),  # best already
        ([0, 1], [1, 0], 0),  # nothing to gain, and nothing lost is counted
        ([0, 0], [0, 0], 0),
        ([2, 2], [2, 2], 0),
        ([], [], 0),
        ([1, 2, 0], [0, 2, 1], (1 + 2 * SECOND - START) / (BEST - START)),
        ([0, 1, 2], [0, 2, 1], (SECOND + 1 - START) / (BEST - START)),
        ([0, 1, 3], [3, 0, 1], (SECOND + 3 / 2 - 3.5) / (3 + SECOND - 3.5)),  # -10.5, not clipped
        ([1, 0, -1], [0, 1, -1], 1),
        ([0] * 10 + [1], [1] + [0] * 10, 0),
        ([1] + [0] * 10, [0] * 10 + [1], 1),
    ],
)
def test_relative_ndcg_by_hand(new, initial, worth):
    assert relative_ndcg(new, initial) == pytest.approx(worth, abs=1e-12)


def test_the_depth_of_relative_ndcg():
    assert relative_ndcg([0, 1, 2], [2, 0, 1], k=1) == 0
    assert relative_ndcg([1, 2, 0], [0, 2, 1], k=1) == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("name", "order", "worth"),
    [
        ("relative_ndcg", (1, 2, 0), 1),
        ("relative_ndcg", (0, 1, 2), 0),
        ("relative_ndcg", (2, 1, 0), (1 + 2 * SECOND - START) / (BEST - START)),
        ("ndcg", (1, 2, 0), 1),
        ("ndcg", (0, 1, 2), START / BEST),
        ("recall", (0, 1, 2), 1),
        ("rbo", (1, 2, 0), 1),
        # the best order is 1, 2, 0: overlaps 0, 1/2, 3/3 with weights 1, 0.9, 0.81
        ("rbo", (0, 1, 2), (0.9 / 2 + 0.81) / 2.71),
        ("reasonrank", (1, 2, 0), 1.3),
        ("reasonrank", (0, 1, 2), START / BEST + 0.2 + 0.1 * (0.9 / 2 + 0.81) / 2.71),
    ],
)
def test_orders_by_hand(name, order, worth):
    reward = reward_by_name(name)
    assert reward.of_orders([order, order], GRADES) == pytest.approx([worth, worth])
    assert reward([write_reply(order, "a thought")], grades=[GRADES]) == pytest.approx([worth])


def test_parameters():
    assert Ndcg(k=1).of_order((2, 1, 0), GRADES) == pytest.approx(1 / 2)
    assert Recall(k=1).of_order((2, 1, 0), GRADES) == pytest.approx(1 / 2)
    assert Recall(k=1).of_order((0, 1, 2), GRADES) == 0
    assert Rbo(p=0.5).of_order((0, 1, 2), GRADES) == pytest.approx((0.25 + 0.25) / 1.75)
    assert RelativeNdcg(k=1).of_order((2, 1, 0), GRADES) == pytest.approx(1 / 2)


def test_equal_gains_stay_as_they_stand_in_the_best_order_of_rbo():
    assert Rbo().of_order((1, 0, 2), [1, 2, 1]) == 1
    assert Rbo().of_order((1, 2, 0), [1, 2, 1]) < 1


@pytest.mark.parametrize(
    ("reply", "tags", "complete"),
    [
        (BEST_REPLY, 1, 1),
        (f"{THOUGHT}<answer>[2] > [3]</answer>", 1, 0),  # the published check is content
        (f"{THOUGHT}<answer>[2]</answer>", 1, 0),
        (f"{THOUGHT}<answer>[2] > [3] > [1] > [2]</answer>", 1, 0),
        (f"{THOUGHT}<answer>[2] > [3] > [1] > [4]</answer>", 1, 0),
        (f"{THOUGHT}<answer>none fits</answer>", 1, 0),
        (f"{THOUGHT}<ANSWER>[2]>[3]>[1]</ANSWER>", 1, 1),
        ("<answer>[2] > [3] > [1]</answer>", 0, 1),
        ("[2] > [3] > [1]", 0, 1),  # served, so it counts
        (f"{THOUGHT}[2] > [3] > [1]", 0, 0),
        ("<think>[2] > [3] > [1], and on and on", 0, 0),
        ("<think><answer>[2] > [3] > [1]</answer>", 0, 0),
        ("<answer>[2] > [3] > [1]</answer><think>so be it</think>", 0, 0),
        (f"{THOUGHT}<answer>[1]</answer><answer>[2] > [3] > [1]</answer>", 0, 1),
        ("", 0, 0),
        ("\ud800[", 0, 0),
    ],
)
def test_the_form_of_a_reply(reply, tags, complete):
    assert reward_by_name("tags")([reply], grades=[GRADES]) == [tags]
    assert reward_by_name("complete_list")([reply], grades=[GRADES]) == [complete]


@pytest.mark.parametrize(
    ("reply", "rearank", "reasonrank"),
    [
        (BEST_REPLY, 1.0, 1.3),
        (
            write_reply([0, 1, 2], "a thought"),
            0.2,
            reward_by_name("reasonrank").of_order((0, 1, 2), GRADES),
        ),
        ("<answer>[2] > [3] > [1]</answer>", 0.9, -1),
        (f"{THOUGHT}<answer>[2] > [3]</answer>", 0.9, 0),
        (f"{THOUGHT}<answer>nothing</answer>", 0.1, 0),
        ("nothing", 0.0, -1),
    ],
)
def test_the_published_sums(reply, rearank, reasonrank):
    assert Rearank()([reply], grades=[GRADES]) == pytest.approx([rearank])
    assert reward_by_name("reasonrank")([reply], grades=[GRADES]) == pytest.approx([reasonrank])


ANSWER = "<answer>[2] > [3] > [1]</answer>"


@pytest.mark.parametrize(
    ("thought", "reply", "right"),
    [
        ("none", ANSWER, True),
        ("none", BEST_REPLY, False),
        ("none", f"<think></think>{ANSWER}", False),
        ("opened", f"[2] says it.\n</think>\n{ANSWER}", True),
        ("opened", BEST_REPLY, False),
        ("opened", ANSWER, False),
        ("written", BEST_REPLY, True),
        ("written", ANSWER, False),
    ],
)
def test_a_reward_is_for_what_was_asked_for(thought, reply, right):
    assert reward_by_name("tags", thought)([reply], grades=[GRADES]) == [right]
    assert reward_by_name("rearank", thought)([reply], grades=[GRADES]) == pytest.approx(
        [1.0 if right else 0.9]
    )
    assert reward_by_name("reasonrank", thought)([reply], grades=[GRADES]) == pytest.approx(
        [1.3 if right else -1]
    )
    assert reward_by_name("ndcg", thought) == reward_by_name("ndcg")


def test_a_reply_without_an_answer_keeps_the_first_order():
    assert Ndcg()(["I cannot say"], grades=[GRADES]) == pytest.approx([START / BEST])
    assert RelativeNdcg()(["I cannot say"], grades=[GRADES]) == [0]


def test_a_batch_as_trl_gives_it():
    chats = [[{"role": "assistant", "content": write_reply(order)}] for order in ([0, 1], [1, 0])]
    columns = {
        "prompts": [[{"role": "user", "content": "rank"}]] * 2,
        "completion_ids": [[1], [2]],
        "query_id": ["a", "b"],
        "trainer_state": None,
    }
    given_back = RelativeNdcg()(completions=chats, grades=[[0, 1], [0, 1]], **columns)
    assert given_back == [0, 1]
    assert all(type(value) is float for value in given_back)
    assert [RelativeNdcg().__name__, RelativeNdcg.__name__] == ["relative_ndcg", "RelativeNdcg"]
    with pytest.raises(ValueError, match="shorter"):
        RelativeNdcg()(completions=chats, grades=[[0, 1]])


def test_names():
    assert list(REWARDS) == [
        "relative_ndcg", "ndcg", "recall", "rbo", "reasonrank", "tags", "complete_list", "rearank",
    ]  # fmt: skip
    assert all(reward.__name__ == name for name, reward in REWARDS.items())
    with pytest.raises(InputError, match="no reward 'mrr'; there are: relative_ndcg, ndcg"):
        reward_by_name("mrr")


@pytest.mark.parametrize("name", REWARDS)
def test_a_reward_comes_back_from_a_pickle(name):
    again = pickle.loads(pickle.dumps(reward_by_name(name)))
    assert again == reward_by_name(name)
    assert again([BEST_REPLY], grades=[GRADES]) == reward_by_name(name)(
        [BEST_REPLY], grades=[GRADES]
    )


SETS = st.lists(st.integers(-1, 3), min_size=1, max_size=25)


@given(SETS.flatmap(lambda gains: st.tuples(st.just(gains), st.permutations(range(len(gains))))))
def test_what_holds_of_every_order(case):
    gains, order = case
    best = sorted(range(len(gains)), key=lambda position: -gains[position])
    first = range(len(gains))
    reward = RelativeNdcg()
    assert reward.of_order(order, gains) <= 1
    assert reward.of_order(first, gains) == 0
    can_gain = any(gain > 0 for gain in gains) and Ndcg().of_order(first, gains) < 1
    assert reward.of_order(best, gains) == can_gain
    for name in ("ndcg", "recall", "rbo"):
        assert 0 <= reward_by_name(name).of_order(order, gains) <= 1 + 1e-12
        assert (
            reward_by_name(name).of_order(best, gains)
            >= reward_by_name(name).of_order(order, gains) - 1e-12
        )


@given(SETS.flatmap(lambda gains: st.tuples(st.just(gains), st.permutations(range(len(gains))))))
def test_a_reply_is_worth_the_order_it_says(case):
    gains, order = case
    for name in ("relative_ndcg", "ndcg", "recall", "rbo", "reasonrank"):
        reward = reward_by_name(name)
        assert reward([write_reply(order, "a thought")], grades=[gains]) == [
            reward.of_order(order, gains)
        ]


@given(st.text(), SETS)
def test_any_reply_has_a_finite_reward(reply, gains):
    for reward in REWARDS.values():
        [value] = reward([reply], grades=[gains])
        assert value - value == 0


def test_equals_ir_measures_on_200_random_sets():
    rng = random.Random(3)
    for _ in range(200):
        gains = [rng.choice([-1, 0, 0, 0, 1, 2, 3]) for _ in range(rng.randint(1, 30))]
        order = rng.sample(range(len(gains)), len(gains))
        qrels = {"q": {f"d{position}": gain for position, gain in enumerate(gains)}}
        run = {"q": {f"d{position}": -float(rank) for rank, position in enumerate(order)}}
        wanted = [ir_measures.nDCG @ 10, ir_measures.R @ 10]
        official = ir_measures.calc_aggregate(wanted, qrels, run)
        ours = [Ndcg().of_order(order, gains), Recall().of_order(order, gains)]
        assert ours == pytest.approx([official[measure] for measure in wanted], abs=1e-12)


@pytest.mark.parametrize(
    "module",
    [
        "rearank_training.rows.rewards",
        "rearank_training.rows.rows",
        "rearank_training.rows.augment",
    ],
)
def test_imports_are_light(module):
    heavy = ("numpy", "torch", "pandas", "pydantic", "datasets", "evals", "mcp_server")
    code = f"import sys, {module}; print(*[m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == []
