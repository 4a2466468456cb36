"""A random model of some 200,000 parameters with a tokenizer of its own, for a real server.

    python tests/serving/tiny_model.py FOLDER [qwen3]

It answers nonsense, which is what a reader that trusts nothing should be tested on. Run by the
interpreter of the vLLM environment, which has torch and transformers.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

LENGTH = 4096
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "yes", "no"]
KINDS = {"qwen2": (Qwen2ForCausalLM, Qwen2Config), "qwen3": (Qwen3ForCausalLM, Qwen3Config)}
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE over the project's own documents, with the ChatML turns."""
    root = Path(__file__).resolve().parents[2]
    texts = [path.read_text() for path in (*sorted(root.glob("docs/*.md")), root / "README.md")]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=SPECIAL, initial_alphabet=alphabet
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=LENGTH,
        chat_template=CHAT,
    )


def main(folder: Path, kind: str = "qwen2") -> None:
    """Write the model's folder, as vLLM and transformers read it."""
    made, config = KINDS[kind]
    words = tokenizer()
    ends = {"eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    torch.manual_seed(0)
    model = made(
        config(
            vocab_size=len(words),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,
            max_position_embeddings=LENGTH,
            tie_word_embeddings=True,
            bos_token_id=None,
            **ends,
        )
    )
    model.generation_config = GenerationConfig(**ends)
    model.save_pretrained(folder)
    words.save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
