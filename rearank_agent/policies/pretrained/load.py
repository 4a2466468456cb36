"""A model that is ready to run: its repository, and the runtime that fits its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rearank_agent.errors import InputError
from rearank_agent.policies.pretrained.config import (
    CrossEncoderConfig,
    EncoderConfig,
    is_cross_encoder,
)
from rearank_agent.policies.pretrained.hub import cached, fetch
from rearank_agent.policies.pretrained.modules import Head, Module
from rearank_agent.policies.pretrained.repository import (
    ModelName,
    Needed,
    Read,
    Repository,
    Select,
)
from rearank_agent.policies.pretrained.tokens import Piece, TextTokenizer, padded
from rearank_agent.policies.pretrained.weights import module_weights, select_files

__all__ = ["Model", "Runtime", "Settings", "load", "pull"]

_KINDS = ("cross-encoder", "encoder")


class Runtime(Protocol):
    """Runs a network on batches of texts."""

    batch: int

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """The output for a batch: [texts, labels], or [texts, tokens, width]."""
        ...


class Settings(Protocol):
    """What loading needs of a model's settings."""

    @property
    def max_tokens(self) -> int:
        """The tokens that are read at once."""
        ...

    @property
    def pad(self) -> int:
        """The id of the padding token."""
        ...

    @property
    def dimensions(self) -> int:
        """Of the network's output: 2 for labels, 3 for token vectors."""
        ...

    @property
    def modules(self) -> tuple[Module, ...]:
        """What stands behind the network."""
        ...


Config = TypeVar("Config", bound=Settings)


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is ready to run.

    Attributes:
        fingerprint: its name, the revision, and the weights' file and checksum.
        tokenizer: of the model.
        runtime: its network.
        head: what stands behind it.
        pad: the id of the padding token.
    """

    fingerprint: str
    tokenizer: TextTokenizer
    runtime: Runtime
    head: Head
    pad: int

    def rows(self, pieces: Sequence[Piece]) -> Iterator[NDArray[np.float32]]:
        """The network's output for each piece: [labels], or [tokens, width] without padding."""
        size = self.runtime.batch
        for i in range(0, len(pieces), size):
            batch = pieces[i : i + size]
            for piece, row in zip(batch, self.runtime.run(padded(batch, self.pad)), strict=True):
                yield row if row.ndim == 1 else row[: len(piece.ids)]


def load(name: str, read: Read[Config]) -> tuple[Model, Config]:
    """Load a model by name, with its settings; it is downloaded where that is needed.

    Args:
        name: as `ModelName` has it.
        read: reads the settings, and refuses models that are of another kind.

    Raises:
        InputError: there is no such model, or it cannot be used.
        SetupError: files are missing or damaged, or a package is.
    """
    asked = ModelName.parse(name)
    found, needed, config = _open(asked, _selection(asked), read)
    tokenizer = TextTokenizer(found.folder / "tokenizer.json", found.name, config.max_tokens)
    head = Head(config.modules, partial(module_weights, found, needed), found.name)
    runtime = _runtime(found, needed.network, config.dimensions)
    if asked.variant:  # weights in 8 bits take one scale from all texts of a run
        runtime.batch = 1
    return Model(_fingerprint(asked, found, needed), tokenizer, runtime, head, config.pad), config


def pull(name: str) -> Repository:
    """Download a model's newest revision, whatever kind it is of.

    Args:
        name: as `ModelName` has it, also with `cross-encoder:` or `encoder:` in front.

    Raises:
        InputError: there is no such model, or it is of neither kind.
        SetupError: it may not be read, or the hub cannot be reached.
    """
    kind, colon, rest = name.partition(":")
    asked = ModelName.parse(rest if colon and kind in _KINDS else name)
    if Path(asked.path).expanduser().exists():
        raise InputError(
            f"{asked.path} is on this machine already; a name of the hub is OWNER/NAME"
        )
    return fetch(asked, _selection(asked), _read_either)[0]


def _selection(name: ModelName) -> Select:
    return lambda files: select_files(files, name.path, name.variant)


def _open(name: ModelName, select: Select, read: Read[Config]) -> tuple[Repository, Needed, Config]:
    """A model's files, which are needed, and its settings.

    Those of a folder, else cached ones, else downloaded now. What is cached is used as it is;
    `pull` looks for a newer revision.
    """
    folder = Path(name.path).expanduser()
    if folder.is_dir():
        found = Repository(name.path, folder.resolve())
        return found, select(found.files), read(found)
    if folder.is_file():
        raise InputError(f"{name.path} is a file; a model is named by its folder, {folder.parent}")
    if not _is_hub_name(name.path):
        raise InputError(f"there is no folder {name.path}, and the hub's names are OWNER/NAME")
    if known := cached(name, select):
        return *known, read(known[0])
    return fetch(name, select, read)


def _fingerprint(name: ModelName, found: Repository, needed: Needed) -> str:
    revision = f"@{found.revision}" if found.revision else ""
    files = [*needed.modules, needed.network]
    return f"{name.path}{revision}#" + " ".join(f"{one}:{found.checksum(one)}" for one in files)


def _is_hub_name(path: str) -> bool:
    owner, slash, name = path.partition("/")
    return bool(owner and slash and name) and "/" not in name and not path.startswith((".", "~"))


def _read_either(repository: Repository) -> CrossEncoderConfig | EncoderConfig:
    """The settings of a cross-encoder or an encoder; what is neither is refused."""
    kind = CrossEncoderConfig if is_cross_encoder(repository) else EncoderConfig
    return kind.read(repository)


def _runtime(repository: Repository, file: str, dimensions: int) -> Runtime:
    if file.endswith(".onnx"):
        from rearank_agent.policies.pretrained.onnx import OnnxModel

        return OnnxModel(repository.folder / file, repository.name, dimensions)
    from rearank_agent.policies.pretrained.torch import TorchModel

    return TorchModel(repository.folder, repository.name, dimensions)
