"""What a model's repository says of it: labels, length, pooling, prompts. Nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from rearank_agent.errors import InputError, RearankError, SetupError
from rearank_agent.policies.pretrained.modules import Module, gives_scores, read_modules
from rearank_agent.policies.pretrained.repository import Repository

__all__ = ["CrossEncoderConfig", "EncoderConfig", "is_cross_encoder"]

_MOST_TOKENS = 10**6
"""A tokenizer without a limit says 10**30."""
_OFFSET_BY_PAD = frozenset({"camembert", "roberta", "xlm-roberta", "xlm-roberta-xl", "mpnet"})
"""Models whose positions begin after the padding token's id."""
_RELEVANT = frozenset({"relevant", "positive", "yes", "true", "1"})
_MONOTONE = frozenset({"Identity", "Sigmoid"})
_MEAN = Module("Pooling", "", {"modes": ("mean",)})
"""Of an encoder without modules."""
_SETTINGS = "config_sentence_transformers.json"
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
        modules: what makes labels of token vectors; none where the network gives labels itself.
    """

    max_tokens: int
    labels: int
    relevant: int
    pad: int
    modules: tuple[Module, ...]

    @property
    def dimensions(self) -> int:
        """Of the network's output: 2 for labels, 3 for token vectors."""
        return 3 if self.modules else 2

    @classmethod
    @_checked
    def read(cls, repository: Repository) -> CrossEncoderConfig:
        """Read a repository's settings.

        Raises:
            InputError: it holds no cross-encoder, or one whose scores are no relevance.
            SetupError: a file is missing or damaged, or its values are of another type.
        """
        config = repository.json("config.json")
        modules = read_modules(repository)
        kind = _architecture(config)
        if not _is_cross_encoder(kind, modules):
            advice = _advice(kind, repository.name)
            raise InputError(f"{repository.name} is no cross-encoder but {kind}{advice}")
        if modules:  # labels of config.json are not theirs
            names, labels = dict[int, str](), int(modules[-1].settings["out_features"])
        else:
            names = _label_names(config)
            labels = len(names) or int(config.get("num_labels", 2))
        if labels not in (1, 2):
            shown = f" ({', '.join(names.values())})" if names else ""
            raise InputError(
                f"{repository.name} has {labels} labels{shown}; a reranker has one or two"
            )
        _check_scores(config, repository, labels)
        relevant = (key for key, value in names.items() if value.lower() in _RELEVANT)
        return cls(
            max_tokens=_max_tokens(config, repository),
            labels=labels,
            relevant=next(relevant, labels - 1),
            pad=int(config.get("pad_token_id") or 0),
            modules=modules,
        )


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """How an encoder of single texts reads them and how its token vectors become one.

    Attributes:
        max_tokens: of a text with its special tokens.
        modules: what makes one vector of token vectors.
        query, passage: what is put in front of a text of each kind; often "".
        pad: the id of the padding token.
    """

    max_tokens: int
    modules: tuple[Module, ...]
    query: str
    passage: str
    pad: int

    @property
    def dimensions(self) -> int:
        """Of the network's output, which is token vectors."""
        return 3

    @classmethod
    @_checked
    def read(cls, repository: Repository) -> EncoderConfig:
        """Read a repository's settings, as sentence-transformers writes them.

        Raises:
            InputError: it holds no encoder, or has modules that are not supported.
            SetupError: a file is missing or damaged, or its values are of another type.
        """
        config = repository.json("config.json")
        modules = read_modules(repository)
        kind = _architecture(config)
        if _is_cross_encoder(kind, modules):
            raise InputError(
                f"{repository.name} is no encoder but a cross-encoder ({kind}); "
                f"try cross-encoder:{repository.name}"
            )
        if kind.endswith("ForCausalLM"):
            advice = _advice(kind, repository.name)
            raise InputError(f"{repository.name} is no encoder but {kind}{advice}")
        prompts = repository.json(_SETTINGS, {}).get("prompts") or {}
        query, passage = _first(prompts, _QUERY), _first(prompts, _PASSAGE)
        whole = all(one.settings.get("include_prompt", True) for one in modules)
        if (query or passage) and not whole:
            raise InputError(f"{repository.name} pools without its prompt: not supported")
        return cls(
            max_tokens=_max_tokens(config, repository),
            modules=modules or (_MEAN,),
            query=query,
            passage=passage,
            pad=int(config.get("pad_token_id") or 0),
        )


def is_cross_encoder(repository: Repository) -> bool:
    """Whether a repository holds a model that gives labels or scores."""
    config = repository.json("config.json")
    if not isinstance(config, dict):
        return False
    return _is_cross_encoder(_architecture(config), read_modules(repository))


def _is_cross_encoder(kind: str, modules: tuple[Module, ...]) -> bool:
    return gives_scores(modules) or kind.endswith("ForSequenceClassification")


def _architecture(config: Mapping[str, Any]) -> str:
    return str((config.get("architectures") or ["of an unknown kind"])[0])


def _advice(kind: str, name: str) -> str:
    if kind.endswith("ForCausalLM"):
        return f"; a language model is served by vLLM and asked as vllm:{name}"
    return f"; try encoder:{name}" if kind.endswith("Model") else ""


def _label_names(config: Mapping[str, Any]) -> dict[int, str]:
    return {int(key): str(value) for key, value in (config.get("id2label") or {}).items()}


def _check_scores(config: Mapping[str, Any], repository: Repository, labels: int) -> None:
    """Refuse scores whose order or input is another than the model's own.

    Raises:
        InputError: an activation or a default prompt is not supported.
    """
    activation = _activation(config, repository)
    if labels == 1 and activation not in _MONOTONE:
        raise InputError(
            f"{repository.name} puts its scores through {activation}, which is not supported"
        )
    settings = repository.json(_SETTINGS, {})
    if (settings.get("prompts") or {}).get(settings.get("default_prompt_name")):
        raise InputError(f"{repository.name} puts a prompt before pairs, which is not supported")


def _activation(config: Mapping[str, Any], repository: Repository) -> str:
    """The name of the function that sentence-transformers puts scores through."""
    paths = (
        (config.get("sentence_transformers") or {}).get("activation_fn"),
        config.get("sbert_ce_default_activation_function"),
        repository.json(_SETTINGS, {}).get("activation_fn"),
    )
    return str(next(filter(None, paths), "Sigmoid")).rpartition(".")[2]


def _max_tokens(config: Mapping[str, Any], repository: Repository) -> int:
    """What there are positions for, and what tokenizer and settings say; the lowest.

    Raises:
        InputError: none gives a length.
    """
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and config.get("model_type") in _OFFSET_BY_PAD:
        positions -= int(config.get("pad_token_id") or 0) + 1
    said = repository.json("tokenizer_config.json", {}).get("model_max_length")
    set_to = repository.json("sentence_bert_config.json", {}).get("max_seq_length")
    known = [
        int(n)
        for n in (positions, said, set_to)
        if isinstance(n, int | float) and 0 < n < _MOST_TOKENS
    ]
    if not known:
        raise InputError(f"{repository.name} does not say how many tokens it reads")
    return min(known)


def _first(prompts: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return str(next((prompts[name] for name in names if prompts.get(name)), ""))
