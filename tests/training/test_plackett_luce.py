import math
from collections import Counter
from itertools import permutations

import pytest
import torch

from rearank_agent.policies.blend import blended_order, z_scores
from rearank_training.embedded.plackett_luce import (
    TEMPERATURE,
    advantages,
    blended_logits,
    kl_estimate,
    list_mle,
    listwise,
    log_probability,
    margin_mse,
    order_mle,
    sample_orders,
)

LOGITS = torch.tensor([1.0, 0.0, -0.5])


def by_hand(logits, order):
    value, left = 1.0, [math.exp(x) for x in logits.tolist()]
    for place in order:
        value *= math.exp(logits[place]) / sum(left)
        left.remove(math.exp(logits[place]))
    return value


def test_the_likelihood_is_the_products_and_sums_to_one():
    orders = torch.tensor(list(permutations(range(3))))
    found = log_probability(LOGITS, orders, 3).exp()
    assert found.tolist() == pytest.approx([by_hand(LOGITS, o) for o in permutations(range(3))])
    assert found.sum().item() == pytest.approx(1)
    first = log_probability(LOGITS, orders, 1).exp()
    assert first.tolist() == pytest.approx(
        [torch.softmax(LOGITS, 0)[o[0]].item() for o in permutations(range(3))]
    )


@pytest.mark.parametrize("blend", [0.0, 0.3, 2.0])
def test_logits_are_the_scores_that_are_served_at_one_temperature(blend):
    scores = torch.rand(20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order, served = blended_order(tuple(range(20)), scores.tolist(), blend)
    expected = served if blend else z_scores(scores.tolist())
    logits = blended_logits(scores, blend)
    assert logits.tolist() == pytest.approx([score / TEMPERATURE for score in expected])
    assert logits.argsort(descending=True).tolist() == list(order)


def test_equal_scores_leave_the_first_stage_and_a_gradient():
    scores = torch.zeros(3, requires_grad=True)
    logits = blended_logits(scores, 0.3)
    assert logits.argsort(descending=True).tolist() == [0, 1, 2]
    logits[0].backward()
    assert torch.isfinite(scores.grad).all()


def test_margin_mse_is_that_of_every_pair():
    teacher = torch.tensor([4.0, 0.5, -1.0])
    pairs = [(0, 1), (0, 2), (1, 2)]
    by_pairs = [(LOGITS[i] - LOGITS[j] - (teacher[i] - teacher[j])) ** 2 for i, j in pairs]
    assert margin_mse(LOGITS, teacher).item() == pytest.approx(torch.stack(by_pairs).mean().item())
    assert margin_mse(LOGITS + 7, LOGITS).item() == pytest.approx(0, abs=1e-10)


def test_order_mle_is_the_likelihood_of_an_orders_first_places():
    order = torch.tensor([2, 0, 1])
    whole = math.log(by_hand(LOGITS, [2, 0, 1])) / 3
    assert order_mle(LOGITS, order, 10).item() == pytest.approx(-whole)
    first = torch.log_softmax(LOGITS, 0)[2].item()
    assert order_mle(LOGITS, order, 1).item() == pytest.approx(-first)


def test_samples_follow_the_policy():
    noise = torch.Generator().manual_seed(0)
    orders = Counter(map(tuple, sample_orders(LOGITS, 20_000, noise).tolist()))
    for order in permutations(range(3)):
        assert orders[order] / 20_000 == pytest.approx(by_hand(LOGITS, order), abs=0.012)


def test_the_same_noise_gives_the_same_orders():
    again = [sample_orders(LOGITS, 5, torch.Generator().manual_seed(3)).tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_advantages():
    assert advantages(torch.tensor([1.0, 3.0])).tolist() == [-1.0, 1.0]
    assert advantages(torch.tensor([0.4, 0.4])).tolist() == [0.0, 0.0]


def test_the_kl_is_0_where_nothing_changed_and_never_below():
    now = torch.tensor([-3.0, -2.0])
    assert kl_estimate(now, now).item() == 0
    assert kl_estimate(now, torch.tensor([-1.0, -4.0])).item() == pytest.approx(
        (math.exp(2) - 3 + math.exp(-2) + 1) / 2
    )


def test_losses_by_hand():
    shares = torch.log_softmax(LOGITS, 0)
    assert listwise(LOGITS, torch.tensor([0.0, 3.0, 1.0])).item() == pytest.approx(
        -(0.75 * shares[1] + 0.25 * shares[2]).item()
    )
    expected = -math.log(by_hand(LOGITS, (1, 0, 2)))
    assert list_mle(LOGITS, torch.tensor([1.0, 2.0, 0.0])).item() == pytest.approx(expected / 2)
    one = -math.log(torch.softmax(LOGITS, 0)[2].item())
    assert list_mle(LOGITS, torch.tensor([0.0, 0.0, 1.0])).item() == pytest.approx(one)


def test_the_gradient_raises_the_order_with_the_higher_reward():
    logits = LOGITS.clone().requires_grad_()
    orders = torch.tensor([[2, 1, 0], [0, 1, 2]])
    worth = torch.tensor([1.0, 0.0])
    (-(advantages(worth) * log_probability(logits, orders, 3)).mean()).backward()
    assert logits.grad[2] < 0 < logits.grad[0]
