"""The Plackett-Luce policy over orders: sampling, likelihood, and group-relative advantages.

    pi(order) = prod_i exp(logit[order_i]) / sum_{j >= i} exp(logit[order_j])

Logits are [passages] of one window, an order holds all positions, best first. Only its first
`places` enter the loss, as the measures have the same cutoff.

The policy that is reinforced has the blended scores of `rearank_agent.policies.blend`, divided by
`TEMPERATURE`: its most probable order is the one that is served.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = [
    "LOSSES", "TEMPERATURE", "advantages", "blended_logits", "kl_estimate", "list_mle", "listwise",
    "log_probability", "margin_mse", "order_mle", "sample_orders",
]  # fmt: skip

TEMPERATURE = 0.4
"""Of sampling. The logits deviate by some 2.5, as 20 times the untrained similarities do (1.9 to
3.5 on harbour, LISA and TREC DL19), so that most orders differ, and good passages come first."""

Loss = Callable[[Tensor, Tensor], Tensor]


def blended_logits(scores: Tensor, blend: float) -> Tensor:
    """[passages], logits of the served policy: `policies.blend.blended_order` with gradients.

    Args:
        scores: [passages], of a window in first-stage order.
        blend: the weight of the first stage's rank.
    """
    ranks = torch.arange(1, len(scores) + 1, device=scores.device, dtype=scores.dtype)
    return (_z_scores(scores) - blend * _z_scores(ranks.log1p())) / TEMPERATURE


def _z_scores(values: Tensor) -> Tensor:
    centred = values - values.mean()
    spread = values.std(correction=0)
    return centred / spread if spread > 0 else centred  # all 0, where a spread has no gradient


def sample_orders(logits: Tensor, samples: int, noise: torch.Generator) -> Tensor:
    """Orders drawn from the policy, [samples, passages].

    Logits with Gumbel noise, sorted, are draws without replacement (Kool, van Hoof and Welling,
    arXiv 1903.06059, section 3).
    """
    uniform = torch.rand(samples, len(logits), generator=noise)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
    return (logits.detach().cpu() + gumbel).argsort(1, descending=True).to(logits.device)


def log_probability(logits: Tensor, orders: Tensor, places: int) -> Tensor:
    """The log probability of the first places of orders, [samples]."""
    chosen = logits[orders]
    rest = torch.logcumsumexp(chosen.flip(1), 1).flip(1)
    return (chosen - rest)[:, :places].sum(1)


def advantages(rewards: Tensor) -> Tensor:
    """(reward - mean) / standard deviation within a group; 0 where all are equal (GRPO)."""
    centred = rewards - rewards.mean()
    spread = rewards.std(correction=0)
    return torch.zeros_like(rewards) if spread <= 1e-8 else centred / spread


def kl_estimate(now: Tensor, start: Tensor) -> Tensor:
    """KL of the policy to its start, estimated from log probabilities of its own samples.

    exp(d) - d - 1 with d = start - now, as the paper's recipe has it (low variance, never
    below 0); d is clamped, so that one outlier does not dominate the estimate.
    """
    d = (start - now).clamp(-10, 10)
    return (d.exp() - d - 1).mean()


def listwise(logits: Tensor, gains: Tensor) -> Tensor:
    """Cross entropy of softmax(logits) with the gains as shares (ListNet, top one)."""
    return -(gains / gains.sum() * torch.log_softmax(logits, 0)).sum()


def list_mle(logits: Tensor, gains: Tensor) -> Tensor:
    """Minus the log likelihood of the best order, per place; equal gains in the policy's order.

    ListMLE (Xia et al., ICML 2008) on grades. Irrelevant passages are not ordered.
    """
    grades, scores = gains.tolist(), logits.detach().tolist()
    order = sorted(range(len(grades)), key=lambda i: (-grades[i], -scores[i]))
    relevant = int((gains > 0).sum())
    return (
        -log_probability(logits, torch.tensor([order], device=logits.device), relevant)[0]
        / relevant
    )


def margin_mse(scores: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared error of all pairs' margins, for two passages or more.

    Margin-MSE (Hofstätter et al., arXiv 2010.02666) of every pair of a window. With d = scores -
    teacher it is the mean of (d_i - d_j)^2 over pairs, which is twice the variance of d.
    """
    return 2 * (scores - teacher).var()


def order_mle(logits: Tensor, order: Tensor, places: int) -> Tensor:
    """Minus the log likelihood of an order's first places, per place (ListMLE)."""
    places = min(places, len(order))
    return -log_probability(logits, order[None], places)[0] / places


LOSSES: dict[str, Loss] = {"listwise": listwise, "listmle": list_mle}
"""Of the supervised start, by name; the gains are at least 0 and not all 0."""
