"""The nano model: a language model of half a million to eight million parameters.

Its tokenizer is trained on rows, and has whole words, identifiers and tags as tokens, so that a
window of five short passages is some 150 of them. It is a Qwen2 like the large ones, so everything
that trains and serves those works with it, on a laptop and in minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AddedToken,
    GenerationConfig,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
)

from rearank_agent.listwise.template import Template
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_training.lm.demonstrations import Demonstration
from rearank_training.lm.model import write_model
from rearank_training.lm.prompts import example_prompt

__all__ = ["LENGTH", "make", "nano_config"]

LENGTH = 1024
"""Tokens of prompt and reply together."""

_END, _USER, _SELF = "<|end|>", "<|user|>", "<|self|>"
# Acknowledgements carry no information and are left out: only a last turn is the model's own.
_CHAT = (
    "{% for message in messages %}"
    "{% if message.role == 'user' %}<|user|>{{ message.content }}"
    "{% elif loop.last %}<|self|>{{ message.content }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|self|>{% endif %}"
)
_TAGS = ("<think>\n", "\n</think>\n", "<answer>", "</answer>")
_PIECES = (*(f"[{number}]" for number in range(1, 21)), " > ", *_TAGS)


def nano_config() -> PromptConfig:
    """Its prompt config: windows of five, passages of at most some twenty words."""
    text = Path(__file__).with_name("nano.toml").read_text(encoding="utf-8")
    return PromptConfig(Template.parse(text), window=5, cut=120, budget=128)


def make(
    folder: Path,
    demonstrations: Iterable[Demonstration],
    size: int,
    layers: int,
    vocabulary: int,
    seed: int,
) -> int:
    """Write a model with random weights for vLLM and transformers; gives its parameter count.

    Args:
        demonstrations: whose texts the tokenizer is trained on.
        size: of a hidden state; a multiple of 32.
        layers: 1 or more.
        vocabulary: tokens that are learned.
        seed: of the weights.

    Raises:
        SetupError: the folder cannot be written.
    """
    config = nano_config()
    tokenizer = _tokenizer(_texts(demonstrations, config), vocabulary)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=size,
            intermediate_size=3 * size,
            num_hidden_layers=layers,
            num_attention_heads=size // 32,
            num_key_value_heads=size // 32,
            max_position_embeddings=LENGTH,
            tie_word_embeddings=True,
            bos_token_id=None,
            **ends,
        )
    )
    model.generation_config = GenerationConfig(**ends)  # type: ignore[no-untyped-call]

    def save(to: Path) -> None:
        model.save_pretrained(to)
        tokenizer.save_pretrained(to)

    write_model(folder, save, config)
    return sum(parameter.numel() for parameter in model.parameters())


def _texts(demonstrations: Iterable[Demonstration], config: PromptConfig) -> Iterator[str]:
    for one in demonstrations:
        yield from (message["content"] for message in example_prompt(config, one.example).messages)
        yield one.reply


def _tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Of Qwen2's class: for a qwen2 transformers ignores another pre-tokenizer in the file."""
    tokenizer = Qwen2Tokenizer().train_new_from_iterator(  # type: ignore[no-untyped-call]
        texts, vocabulary, new_special_tokens=[_END, _USER, _SELF], show_progress=False
    )
    tokenizer.add_tokens([AddedToken(piece, normalized=False, special=False) for piece in _PIECES])
    tokenizer.eos_token = tokenizer.pad_token = _END
    tokenizer.model_max_length = LENGTH
    tokenizer.chat_template = _CHAT
    return tokenizer
