"""The replies of a model that is being trained, by the vLLM that samples its rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rearank_agent.llm.checkpoint import PromptConfig
from rearank_training.lm.sampler import Sampler

__all__ = ["VLLMSampler"]


class VLLMSampler(Sampler):
    """As `Sampler`, from a trainer of TRL's with vLLM in its processes."""

    def __init__(self, trainer: Any, tokenizer: Any, words: PromptConfig) -> None:
        super().__init__(trainer.model, tokenizer, words)
        self._trainer = trainer

    def generate(self, prompts: Sequence[Sequence[int]], temperature: float) -> list[list[int]]:
        """The replies to prompts; the weights are brought up to date first."""
        trainer, vllm = self._trainer, self._trainer.vllm_generation
        if trainer.state.global_step != trainer._last_loaded_step:
            vllm.sync_weights()
            trainer._last_loaded_step = trainer.state.global_step
        before, vllm.temperature = vllm.temperature, temperature
        try:
            asked = [list(ids) for ids in prompts]
            _, replies, *_ = vllm.generate(prompts=asked, images=None, num_generations=1)
        finally:
            vllm.temperature = before
        return [self._ended(list(reply)) for reply in replies]
