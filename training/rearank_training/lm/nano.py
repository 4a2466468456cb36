"""A language model of half a million to eight million parameters, made from nothing.

Its tokenizer is learned from rows, and has whole words, identifiers and tags as tokens, so that a
window of five short passages is some 150 of them. It is a Qwen2 like the large ones, so all that
trains and serves those does the same to it, on a laptop and in minutes.
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
from rearank_training.lm.prompts import Example, example_prompt

__all__ = ["LENGTH", "make", "nano_words"]

LENGTH = 1024
"""Tokens of prompt and reply together."""

_END, _USER, _SELF = "<|end|>", "<|user|>", "<|self|>"
# An acknowledgement says nothing, so it is left out: only the last turn of a chat may be our own.
_CHAT = (
    "{% for message in messages %}"
    "{% if message.role == 'user' %}<|user|>{{ message.content }}"
    "{% elif loop.last %}<|self|>{{ message.content }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|self|>{% endif %}"
)
_TAGS = ("<think>\n", "\n</think>\n", "<answer>", "</answer>")
_PIECES = (*(f"[{number}]" for number in range(1, 21)), " > ", *_TAGS)


def nano_words() -> PromptConfig:
    """Its words: windows of five, passages of at most some twenty words."""
    text = Path(__file__).with_name("nano.toml").read_text(encoding="utf-8")
    return PromptConfig(Template.parse(text), window=5, cut=120, budget=128)


def make(
    folder: Path,
    lessons: Iterable[Demonstration],
    size: int,
    layers: int,
    vocabulary: int,
    seed: int,
) -> int:
    """Write a model with random weights, as vLLM and transformers read it; gives its parameters.

    Args:
        lessons: whose words its tokenizer learns.
        size: of a hidden state; a multiple of 32.

    Raises:
        SetupError: the folder cannot be written.
    """
    words = nano_words()
    tokenizer = _tokenizer(_texts(lessons, words), vocabulary)
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

    write_model(folder, save, words)
    return sum(parameter.numel() for parameter in model.parameters())


def _texts(lessons: Iterable[Demonstration], words: PromptConfig) -> Iterator[str]:
    for lesson in lessons:
        shown: Example = lesson.shown
        yield from (message["content"] for message in example_prompt(words, shown).messages)
        yield lesson.reply


def _tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Qwen2's own kind, since transformers cuts a qwen2's text as Qwen2 does, whatever it says."""
    made = Qwen2Tokenizer().train_new_from_iterator(  # type: ignore[no-untyped-call]
        texts, vocabulary, new_special_tokens=[_END, _USER, _SELF], show_progress=False
    )
    made.add_tokens([AddedToken(piece, normalized=False, special=False) for piece in _PIECES])
    made.eos_token = made.pad_token = _END
    made.model_max_length = LENGTH
    made.chat_template = _CHAT
    return made
