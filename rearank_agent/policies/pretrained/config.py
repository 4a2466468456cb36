"""What a model's repository says of it: labels, length, pooling, prompts. Nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from rearank_agent.errors import InputError, RearankError, SetupError
from rearank_agent.policies.pretrained.repository import Repository

__all__ = ["CrossEncoderConfig", "EncoderConfig", "is_cross_encoder"]

_MOST_TOKENS = 10**6
"""A tokenizer without a limit says 10**30."""
_OFFSET_BY_PAD = frozenset({"camembert", "roberta", "xlm-roberta", "xlm-roberta-xl", "mpnet"})
"""Models whose positions begin after the padding token's id."""
_RELEVANT = frozenset({"relevant", "positive", "yes", "true", "1"})
_MONOTONE = frozenset({"Identity", "Sigmoid"})
_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
}
_QUERY, _PASSAGE = ("query", "Query"), ("passage", "document", "corpus")


T = TypeVar("T")


def _checked(read: Callable[[type[T], Repository], T]) -> Callable[[type[T], Repository], T]:
    """Raise SetupError where settings are of another type than they should be."""

    @wraps(read)
    def checked(cls: type[T], repository: Repository) -> T:
        try:
            return read(cls, repository)
        except RearankError:
            raise
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            line = f"{type(error).__name__}: {error}"
            raise SetupError(f"the settings of {repository.name} cannot be used: {line}") from None

    return checked


@dataclass(frozen=True, slots=True)
class CrossEncoderConfig:
    """How a cross-encoder reads a pair and what its numbers mean.

    Attributes:
        max_tokens: of query, passage and special tokens together.
        labels: 1, or 2.
        relevant: the label of relevant passages, where there are two.
        pad: the id of the padding token.
    """

    max_tokens: int
    labels: int
    relevant: int
    pad: int

    @classmethod
    @_checked
    def read(cls, repository: Repository) -> CrossEncoderConfig:
        """Read a repository's settings.

        Raises:
            InputError: it holds no cross-encoder, or one whose scores are no relevance.
            SetupError: a file is missing or damaged, or its values are of another type.
        """
        config = repository.json("config.json")
        kind = _architecture(config)
        if not kind.endswith("ForSequenceClassification"):
            raise InputError(
                f"{repository.name} is no cross-encoder but {kind}{_advice(kind, repository.name)}"
            )
        names = {int(key): str(value) for key, value in (config.get("id2label") or {}).items()}
        labels = len(names) or int(config.get("num_labels", 2))
        if labels not in (1, 2):
            shown = ", ".join(names.values())
            raise InputError(
                f"{repository.name} has {labels} labels ({shown}); a reranker has one or two"
            )
        activation = _activation(config, repository)
        if labels == 1 and activation not in _MONOTONE:
            raise InputError(
                f"{repository.name} puts its scores through {activation}, which is not supported"
            )
        relevant = (key for key, value in names.items() if value.lower() in _RELEVANT)
        return cls(
            max_tokens=_max_tokens(config, repository),
            labels=labels,
            relevant=next(relevant, labels - 1),
            pad=int(config.get("pad_token_id") or 0),
        )


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """How an encoder of single texts reads them and how its token vectors become one.

    Attributes:
        max_tokens: of a text with its special tokens.
        pooling: "mean", "cls", "max" or "lasttoken".
        query, passage: what is put in front of a text of each kind; often "".
        pad: the id of the padding token.
    """

    max_tokens: int
    pooling: str
    query: str
    passage: str
    pad: int

    @classmethod
    @_checked
    def read(cls, repository: Repository) -> EncoderConfig:
        """Read a repository's settings, as sentence-transformers writes them.

        Raises:
            InputError: it holds no encoder, or has modules that are not supported.
            SetupError: a file is missing or damaged, or its values are of another type.
        """
        config = repository.json("config.json")
        kind = _architecture(config)
        if kind.endswith(("ForSequenceClassification", "ForCausalLM")):
            raise InputError(
                f"{repository.name} is no encoder but {kind}{_advice(kind, repository.name)}"
            )
        prompts = repository.json("config_sentence_transformers.json", {}).get("prompts") or {}
        length = repository.json("sentence_bert_config.json", {}).get("max_seq_length")
        most = _max_tokens(config, repository)
        return cls(
            max_tokens=min(most, length) if isinstance(length, int) else most,
            pooling=_pooling(repository),
            query=_first(prompts, _QUERY),
            passage=_first(prompts, _PASSAGE),
            pad=int(config.get("pad_token_id") or 0),
        )


def is_cross_encoder(repository: Repository) -> bool:
    """Whether a repository holds a model with labels."""
    config = repository.json("config.json")
    return isinstance(config, dict) and _architecture(config).endswith("ForSequenceClassification")


def _architecture(config: Mapping[str, Any]) -> str:
    return str((config.get("architectures") or ["of an unknown kind"])[0])


def _advice(kind: str, name: str) -> str:
    if kind.endswith("ForCausalLM"):
        return f"; a language model is served by vLLM and asked as vllm:{name}"
    if kind.endswith("ForSequenceClassification"):
        return f"; try cross-encoder:{name}"
    return f"; try encoder:{name}" if kind.endswith("Model") else ""


def _activation(config: Mapping[str, Any], repository: Repository) -> str:
    """The name of the function that sentence-transformers puts scores through."""
    paths = (
        (config.get("sentence_transformers") or {}).get("activation_fn"),
        config.get("sbert_ce_default_activation_function"),
        repository.json("config_sentence_transformers.json", {}).get("activation_fn"),
    )
    return str(next(filter(None, paths), "Sigmoid")).rpartition(".")[2]


def _max_tokens(config: Mapping[str, Any], repository: Repository) -> int:
    """What positions there are for, and what the tokenizer says; the lower of both.

    Raises:
        InputError: neither gives a length.
    """
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and config.get("model_type") in _OFFSET_BY_PAD:
        positions -= int(config.get("pad_token_id") or 0) + 1
    said = repository.json("tokenizer_config.json", {}).get("model_max_length")
    known = [
        int(n) for n in (positions, said) if isinstance(n, int | float) and 0 < n < _MOST_TOKENS
    ]
    if not known:
        raise InputError(f"{repository.name} does not say how many tokens it reads")
    return min(known)


def _pooling(repository: Repository) -> str:
    """How token vectors become one: the mean, where no modules are listed.

    Raises:
        InputError: a module or a way of pooling that is not supported.
    """
    pooling = "mean"
    for module in repository.json("modules.json", []):
        kind = str(module.get("type")).rpartition(".")[2]
        if kind == "Pooling":
            pooling = _pooling_of(repository.json(f"{module['path']}/config.json"), repository.name)
        elif kind not in ("Transformer", "Normalize"):
            raise InputError(f"{repository.name} has a module {kind}, which is not supported")
    return pooling


def _pooling_of(config: Mapping[str, Any], name: str) -> str:
    mode = config.get("pooling_mode")
    modes = [mode] if isinstance(mode, str) else list(mode or ())
    modes = modes or [known for key, known in _POOLINGS.items() if config.get(key)]
    if len(modes) != 1 or modes[0] not in _POOLINGS.values():
        raise InputError(f"{name} pools by {' and '.join(modes) or 'nothing known'}: not supported")
    return str(modes[0])


def _first(prompts: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return str(next((prompts[name] for name in names if prompts.get(name)), ""))
