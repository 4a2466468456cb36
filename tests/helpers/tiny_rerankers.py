"""Tiny random rerankers of real architectures, written and laid out as on the hub."""

import json
import warnings

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModel,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)  # fmt: skip

WORDS = [
    "fleas",
    "jump",
    "far",
    "from",
    "dogs",
    "the",
    "moon",
    "barks",
    "bark",
    "at",
    "text",
    "for",
    "over",
    "wide",
    "naive",
]
LETTERS = sorted(set("abcdefghijklmnopqrstuvwxyz0123456789.,:;[]()'-"))
SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 37,
    "vocab_size": 300, "max_position_embeddings": 64, "initializer_range": 0.6,
}  # fmt: skip
KINDS = {
    "bert": (BertForSequenceClassification, BertConfig, ("[CLS]", "[SEP]", "[PAD]"), {}),
    "bert-two-labels": (BertForSequenceClassification, BertConfig, ("[CLS]", "[SEP]", "[PAD]"), {"num_labels": 2}),
    "xlm-roberta": (XLMRobertaForSequenceClassification, XLMRobertaConfig, ("<s>", "</s>", "<pad>"), {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}),
    "modernbert": (ModernBertForSequenceClassification, ModernBertConfig, ("[CLS]", "[SEP]", "[PAD]"), {"pad_token_id": 2, "cls_token_id": 0, "sep_token_id": 1, "bos_token_id": 0, "eos_token_id": 1, "attn_implementation": "eager"}),
    "deberta-v2": (DebertaV2ForSequenceClassification, DebertaV2Config, ("[CLS]", "[SEP]", "[PAD]"), {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0, "position_biased_input": False}),
}  # fmt: skip


def tokenizer(cls, sep, pad, double_sep=False):
    """A WordPiece tokenizer with these special tokens, in this order."""
    special = [cls, pad, sep, "[UNK]"] if double_sep else [cls, sep, pad, "[UNK]"]
    # Written down, since a trainer's choice among equals differs from run to run.
    pieces = [*special, *LETTERS, *(f"##{one}" for one in LETTERS), *WORDS]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    middle = f"{sep} {sep}" if double_sep else sep
    second = 0 if double_sep else 1
    made.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {middle} $B:{second} {sep}:{second}",
        special_tokens=[(cls, made.token_to_id(cls)), (sep, made.token_to_id(sep))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, cls_token=cls, sep_token=sep, pad_token=pad, unk_token="[UNK]",
        model_max_length=64, model_input_names=["input_ids", "attention_mask"] if double_sep else ["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


def cross_encoder(folder, kind="bert", onnx=True, seed=0, **settings):
    """Write one of `KINDS`; the model and its tokenizer."""
    kinds, config, special, more = KINDS[kind]
    torch.manual_seed(seed)
    made = config(**{**SMALL, "num_labels": 1, **more, **settings})
    model = kinds(made).eval()
    tokens = tokenizer(*special, double_sep=kind == "xlm-roberta")
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    if onnx:
        export(model, tokens, folder, "logits")
    return model, tokens


def network(folder, kind="bert"):
    """Write the network of one of `KINDS`, which gives token vectors; model and tokenizer."""
    torch.manual_seed(1)
    _, config, _, more = KINDS[kind]
    model = AutoModel.from_config(config(**{**SMALL, **more})).eval()
    tokens = tokenizer("[CLS]", "[SEP]", "[PAD]")
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return model, tokens


def encoder(folder, onnx=True, pooling="mean_tokens", prompts=None):
    """Write a BERT of single texts as sentence-transformers lays it out; model and tokenizer."""
    model, tokens = network(folder)
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    rows = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(rows))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, f"pooling_mode_{pooling}": True})
    )
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": prompts or {}})
    )
    if onnx:
        export(model, tokens, folder, "last_hidden_state")
    return model, tokens


class _First(torch.nn.Module):
    """A model's first output alone, with its inputs in this order."""

    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs):
        return self.model(**dict(zip(self.names, inputs, strict=True)))[0]


def export(model, tokens, folder, output):
    """Write `onnx/model.onnx` beside the weights."""
    (folder / "onnx").mkdir(exist_ok=True)
    inputs = batch(model, tokens, [("fleas", "jump far"), ("dogs", "bark")])
    axes = {name: {0: "batch", 1: "tokens"} for name in inputs}
    axes[output] = {0: "batch"} if output == "logits" else {0: "batch", 1: "tokens"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _First(model, list(inputs)).eval(), tuple(inputs.values()), folder / "onnx/model.onnx",
            input_names=list(inputs), output_names=[output], dynamic_axes=axes, dynamo=False,
            opset_version=17,
        )  # fmt: skip


def batch(model, tokens, texts):
    """What the model is given for these texts or pairs."""
    inputs = dict(tokens(texts, padding=True, truncation=True, return_tensors="pt"))
    if getattr(model.config, "type_vocab_size", 0) < 2:
        inputs.pop("token_type_ids", None)
    return inputs


def logits(model, tokens, pairs):
    """The model's own numbers for these pairs, [pairs, labels]."""
    with torch.inference_mode():
        return model(**batch(model, tokens, pairs))[0].numpy()
