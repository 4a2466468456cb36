"""Replies of a model in training, by the vLLM that samples its rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rearank_agent.llm.checkpoint import PromptConfig
from rearank_training.lm.sampler import Sampler

__all__ = ["VLLMSampler"]


class VLLMSampler(Sampler):
    """A `Sampler` for a TRL trainer with vLLM in its processes."""

    def __init__(self, trainer: Any, tokenizer: Any, config: PromptConfig) -> None:
        super().__init__(trainer.model, tokenizer, config)
        self._trainer = trainer

    def generate(self, prompts: Sequence[Sequence[int]], temperature: float) -> list[list[int]]:
        """Token ids of the replies; the weights are synchronized first."""
        trainer, vllm = self._trainer, self._trainer.vllm_generation
        if trainer.state.global_step != trainer._last_loaded_step:
            vllm.sync_weights()
            trainer._last_loaded_step = trainer.state.global_step
        before, vllm.temperature = vllm.temperature, temperature
        try:
            token_ids = [list(ids) for ids in prompts]
            _, replies, *_ = vllm.generate(prompts=token_ids, images=None, num_generations=1)
        finally:
            vllm.temperature = before
        return [self._until_end(list(reply)) for reply in replies]
