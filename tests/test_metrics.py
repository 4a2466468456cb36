import random

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rearank_agent.metrics import dcg, ndcg, rbo, recall, rr


def test_by_hand():
    assert dcg([3, 2, 0, 1], 10) == pytest.approx(
        3 + 2 / 1.5849625007211562 + 1 / 2.321928094887362
    )
    assert dcg([3, 2, 0, 1], 1) == 3
    assert ndcg([0, 1], [1], 10) == pytest.approx(0.6309297535714575)
    assert ndcg([0, 1], [1], 1) == 0
    assert ndcg([0, 0], [], 10) == 0
    assert ndcg([-2, 1], [1, -2], 10) == pytest.approx(0.6309297535714575)
    assert recall([0, 1, 2, 1], relevant=4, k=3) == 0.5
    assert recall([], relevant=0, k=3) == 0
    assert rr([0, 0, 1], 10) == pytest.approx(1 / 3)
    assert rr([0, 0, 1], 2) == 0


def test_the_ideal_counts_unranked_passages():
    assert ndcg([1], [1, 3], 10) == pytest.approx(1 / (3 + 1 / 1.5849625007211562))


def test_rbo():
    assert rbo("abc", "abc", 0.9) == 1
    assert rbo("ab", "cd", 0.9) == 0
    # overlaps 0, 2/2 with weights 1 and 0.5
    assert rbo("ab", "ba", 0.5) == pytest.approx(0.5 / 1.5)


@given(st.permutations(range(12)), st.floats(0.1, 0.99))
def test_rbo_is_symmetric_and_in_range(order, p):
    value = rbo(order, range(12), p)
    assert value == pytest.approx(rbo(range(12), order, p))
    assert 0 <= value <= 1


def test_equals_ir_measures_on_300_random_runs():
    rng = random.Random(7)
    for _ in range(300):
        docs = [f"d{i}" for i in range(rng.randint(1, 60))]
        grades = {d: rng.choice([-1, 0, 0, 0, 1, 2, 3]) for d in docs if rng.random() < 0.7}
        grades |= {f"unseen{i}": rng.randint(0, 3) for i in range(rng.randint(0, 5))} or {"x": 0}
        ranked = rng.sample(docs, rng.randint(1, len(docs)))
        run = {"q": {d: float(-i) for i, d in enumerate(ranked)}}
        k = rng.choice([1, 5, 10, 100])
        measures = [ir_measures.nDCG @ k, ir_measures.RR @ k, ir_measures.R @ k]
        official = ir_measures.calc_aggregate(measures, {"q": grades}, run)
        gains = [grades.get(d, 0) for d in ranked]
        relevant = sum(g > 0 for g in grades.values())
        assert ndcg(gains, list(grades.values()), k) == pytest.approx(
            official[measures[0]], abs=1e-12
        )
        assert rr(gains, k) == pytest.approx(official[measures[1]], abs=1e-12)
        assert recall(gains, relevant, k) == pytest.approx(official[measures[2]], abs=1e-12)
