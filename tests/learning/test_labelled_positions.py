"""Without Triton TRL scores every position of a batch; here those with a label alone."""

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM
from trl.trainer import utils

from rearank_training.lm.labelled_positions import labelled_positions_only

LABELS = [[-100, -100, -100, 3, 4, -100], [-100, -100, 7, -100, -100, -100]]


@pytest.fixture
def scored(monkeypatch):
    """A model's loss and gradient, and the shapes of what went through the head."""
    shapes = []
    plain = utils._ChunkedLogProbFunction.apply

    def watched(hidden, *rest):
        shapes.append(tuple(hidden.shape))
        return plain(hidden, *rest)

    monkeypatch.setattr(utils._ChunkedLogProbFunction, "apply", watched)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    utils.add_fused_lm_head(model)

    def run():
        model.zero_grad()
        tokens = torch.arange(12).reshape(2, 6)
        done = model(input_ids=tokens, labels=torch.tensor(LABELS), fused_lm_head=True)
        done.loss.backward()
        return done.loss.detach(), model.lm_head.weight.grad.clone(), shapes.pop()

    return run


def test_labelled_positions_alone_are_scored_to_the_same_loss_and_gradient(scored):
    loss, gradient, shape = scored()
    # where this fails TRL no longer scores all positions on a CPU: labelled_positions.py can go
    assert shape == (10, 16)
    with labelled_positions_only():
        other, same, shape = scored()
    assert shape == (3, 16)
    torch.testing.assert_close(other, loss)
    torch.testing.assert_close(same, gradient)
    assert scored()[2] == (10, 16), "it is as before afterwards"
