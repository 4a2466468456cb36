"""A language model that is asked as it is when served: prompts in, replies out, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from rearank_agent.listwise.prompt import Message
from rearank_agent.llm.checkpoint import PromptConfig

__all__ = ["Sampler", "chat_options"]

_AT_ONCE = 64


def chat_options(words: PromptConfig) -> dict[str, Any]:
    """What a chat template is told beside the messages; a server is told the same."""
    return {} if words.think else {"enable_thinking": False}


class Sampler:
    """Replies of a model.

    Args:
        model: of transformers, as it is; also one that is being trained.
        tokenizer: with a chat template.
        words: the model's.
        at_once: prompts that are answered at a time.
    """

    def __init__(
        self, model: Any, tokenizer: Any, words: PromptConfig, at_once: int = _AT_ONCE
    ) -> None:
        self.model, self.tokenizer, self.words = model, tokenizer, words
        self._at_once = at_once
        ends = [tokenizer.eos_token_id, *_listed(model.generation_config.eos_token_id)]
        self._ends = list(dict.fromkeys(ends))

    def say(self, prompts: Sequence[Sequence[Message]]) -> list[str]:
        """The replies at temperature 0, as they are served."""
        return self.text(self.generate([self.tokens(prompt) for prompt in prompts], 0.0))

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """A prompt as the model reads it, the start of the reply included."""
        told = {"add_generation_prompt": True, "return_dict": True, **chat_options(self.words)}
        ids: list[int] = self.tokenizer.apply_chat_template(list(messages), **told)["input_ids"]
        return ids

    def text(self, replies: Sequence[Sequence[int]]) -> list[str]:
        """Replies as a server gives them: without control tokens."""
        said: list[str] = self.tokenizer.batch_decode(replies, skip_special_tokens=True)
        return said

    def generate(self, prompts: Sequence[Sequence[int]], temperature: float) -> list[list[int]]:
        """The replies to prompts, their end token included; 0 takes the likeliest throughout."""
        found: dict[int, list[int]] = {}
        by_length = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        for first in range(0, len(by_length), self._at_once):
            some = by_length[first : first + self._at_once]
            replies = self._generate([prompts[number] for number in some], temperature)
            found.update(zip(some, replies, strict=True))
        return [found[number] for number in range(len(prompts))]

    @torch.no_grad()
    def _generate(self, prompts: list[Sequence[int]], temperature: float) -> list[list[int]]:
        pad, longest = self.tokenizer.pad_token_id, max(map(len, prompts))
        missing = [longest - len(prompt) for prompt in prompts]
        rows = [[pad] * gap + list(ids) for gap, ids in zip(missing, prompts, strict=True)]
        mask = [[0] * gap + [1] * (longest - gap) for gap in missing]
        device, training = self.model.device, self.model.training
        # adapters would copy it onto the model below them, and leave it there
        asked = getattr(self.model, "get_base_model", lambda: self.model)()
        own, asked.generation_config = asked.generation_config, self._sampling(temperature)
        self.model.eval()
        try:
            made = self.model.generate(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(mask, device=device),
            )
        finally:
            asked.generation_config = own
            self.model.train(training)
        return [self._ended(reply) for reply in made[:, longest:].tolist()]

    def _sampling(self, temperature: float) -> GenerationConfig:
        """In place of the model's own, whose penalties and cuts `generate` would add to ours."""
        return GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=temperature > 0,
            temperature=temperature or 1.0,
            top_k=0,
            max_new_tokens=self.words.budget,
            eos_token_id=self._ends,
            pad_token_id=self.tokenizer.pad_token_id,
        )

    def _ended(self, reply: list[int]) -> list[int]:
        end = next((place for place, token in enumerate(reply) if token in self._ends), len(reply))
        return reply[: end + 1]


def _listed(ids: int | list[int] | None) -> list[int]:
    return ids if isinstance(ids, list) else [] if ids is None else [ids]
