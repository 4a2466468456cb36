"""Replies sampled from a model in training: prompts and decoding as in serving, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
from transformers import GenerationConfig

from rearank_agent.listwise.prompt import Message
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_training.rows.reply_form import Thought

__all__ = ["Sampler", "asked_thought", "chat_options"]

_BATCH_SIZE = 64
_BATCH_SIZE_SMALL = 512  # of models below _SMALL: a step takes as long for few prompts as for many
_SMALL = 1_000_000_000  # parameters


def chat_options(config: PromptConfig) -> dict[str, Any]:
    """Keywords of the chat template beside the messages; a server gets the same."""
    return {} if config.think else {"enable_thinking": False}


def asked_thought(config: PromptConfig, tokenizer: Any) -> Thought:
    """What a reply must hold beside its answer; some chat templates open the thought."""
    if not config.think:
        return "none"
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "-"}],
        add_generation_prompt=True,
        tokenize=False,
        **chat_options(config),
    )
    return "opened" if text.rstrip().endswith("<think>") else "written"


class Sampler:
    """Replies of a model.

    Args:
        model: of transformers; also one in training.
        tokenizer: with a chat template.
        config: the model's.
        batch_size: prompts per call of the model; None for more where it is small and on a GPU.
    """

    def __init__(
        self, model: Any, tokenizer: Any, config: PromptConfig, batch_size: int | None = None
    ) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, config
        small = model.device.type == "cuda" and _parameters(model) < _SMALL
        self._batch_size = batch_size or (_BATCH_SIZE_SMALL if small else _BATCH_SIZE)
        ends = [tokenizer.eos_token_id, *_as_list(model.generation_config.eos_token_id)]
        self._ends = list(dict.fromkeys(ends))
        self._cut_off: list[bool] = []

    def reply(self, prompts: Sequence[Sequence[Message]]) -> list[str]:
        """The replies at temperature 0, as in serving."""
        replies = self.generate(self.tokens(prompts), 0.0)
        self._cut_off += [not ids or ids[-1] not in self._ends for ids in replies]
        return self.text(replies)

    def share_cut_off(self) -> dict[str, float]:
        """`cut_off`, the share of replies that reached the limit of tokens, since the last call.

        Those of `reply` count; without any there is nothing in it.
        """
        found, self._cut_off = self._cut_off, []
        return {"cut_off": round(fmean(found), 6)} if found else {}

    def tokens(self, prompts: Sequence[Sequence[Message]]) -> list[list[int]]:
        """The token ids of every prompt, the start of the reply included."""
        options = {"add_generation_prompt": True, "return_dict": True, **chat_options(self.config)}
        chats = [list(prompt) for prompt in prompts]
        ids: list[list[int]] = self.tokenizer.apply_chat_template(chats, **options)["input_ids"]
        return ids

    def text(self, replies: Sequence[Sequence[int]]) -> list[str]:
        """Replies as a server gives them: without control tokens."""
        texts: list[str] = self.tokenizer.batch_decode(replies, skip_special_tokens=True)
        return texts

    def generate(self, prompts: Sequence[Sequence[int]], temperature: float) -> list[list[int]]:
        """Token ids of the replies, the end token included; temperature 0 is greedy."""
        found: dict[int, list[int]] = {}
        by_length = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        for first in range(0, len(by_length), self._batch_size):
            batch = by_length[first : first + self._batch_size]
            replies = self._generate([prompts[number] for number in batch], temperature)
            found.update(zip(batch, replies, strict=True))
        return [found[number] for number in range(len(prompts))]

    @torch.no_grad()
    def _generate(self, prompts: list[Sequence[int]], temperature: float) -> list[list[int]]:
        pad, longest = self.tokenizer.pad_token_id, max(map(len, prompts))
        gaps = [longest - len(prompt) for prompt in prompts]
        rows = [[pad] * gap + list(ids) for gap, ids in zip(gaps, prompts, strict=True)]
        mask = [[0] * gap + [1] * (longest - gap) for gap in gaps]
        device, training = self.model.device, self.model.training
        # an adapter would copy its generation config onto the base model, and leave it there
        base = getattr(self.model, "get_base_model", lambda: self.model)()
        own, base.generation_config = base.generation_config, self._generation(temperature)
        self.model.eval()
        try:
            output = self.model.generate(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(mask, device=device),
            )
        finally:
            base.generation_config = own
            self.model.train(training)
        return [self._until_end(reply) for reply in output[:, longest:].tolist()]

    def _generation(self, temperature: float) -> GenerationConfig:
        """Replaces the model's own, whose penalties and top-k `generate` would add to ours."""
        return GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=temperature > 0,
            temperature=temperature or 1.0,
            top_k=0,
            max_new_tokens=self.config.budget,
            eos_token_id=self._ends,
            pad_token_id=self.tokenizer.pad_token_id,
        )

    def _until_end(self, reply: list[int]) -> list[int]:
        end = next((i for i, token in enumerate(reply) if token in self._ends), len(reply))
        return reply[: end + 1]


def _parameters(model: Any) -> int:
    return sum(one.numel() for one in model.parameters())


def _as_list(ids: int | list[int] | None) -> list[int]:
    return ids if isinstance(ids, list) else [] if ids is None else [ids]
