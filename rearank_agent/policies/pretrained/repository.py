"""A model's name, and its files on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, TypeVar

from rearank_agent.errors import InputError, SetupError

__all__ = ["COMMIT", "ModelName", "Needed", "Read", "Repository", "Select"]

Config = TypeVar("Config")

COMMIT = 12
"""The characters of a commit, or of a checksum, that are shown."""
_SHA256 = 64


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model as it is asked for: `REPOSITORY[@REVISION][#VARIANT]` or `FOLDER[#VARIANT]`.

    Attributes:
        path: the repository's name on the hub, or a folder.
        revision: a branch, tag or commit; "" for the default branch.
        variant: which of its weights: "int8", a file, or "" for those in full precision.
    """

    path: str
    revision: str = ""
    variant: str = ""

    @classmethod
    def parse(cls, name: str) -> ModelName:
        """The parts of a name.

        Raises:
            InputError: it is empty.
        """
        path, _, variant = name.partition("#")
        if not Path(path).expanduser().is_dir() and "@" in path:
            path, _, revision = path.rpartition("@")
        else:
            revision = ""
        if not path:
            raise InputError("a model needs a name: OWNER/NAME of the hub, or a folder")
        return cls(path, revision, variant)


@dataclass(frozen=True, slots=True)
class Repository:
    """The files of a model on this machine.

    Attributes:
        name: as messages call it.
        folder: where its files are.
        revision: the commit it was downloaded from; "" for a folder of the user's own.
    """

    name: str
    folder: Path
    revision: str = ""

    @property
    def files(self) -> frozenset[str]:
        """The paths of its files, relative to the folder, with `/`."""
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        return frozenset(path.relative_to(self.folder).as_posix() for path in paths)

    def json(self, file: str, default: Any = None) -> Any:
        """The contents of a JSON file; `default` where that is given and there is no such file.

        Raises:
            SetupError: it is missing or damaged.
        """
        path = self.folder / file
        try:
            return json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            if default is not None:
                return default
            raise SetupError(f"{self.name} has no {file}") from None
        except (OSError, ValueError) as error:
            raise SetupError(f"{file} of {self.name} cannot be read: {error}") from None

    def checksum(self, file: str) -> str:
        """The start of the SHA-256 of a file.

        Raises:
            SetupError: it cannot be read.
        """
        path = (self.folder / file).resolve()
        if self.revision and len(path.name) == _SHA256:  # so the hub's cache names large files
            return path.name[:COMMIT]
        try:
            with path.open("rb") as opened:
                return file_digest(opened, "sha256").hexdigest()[:COMMIT]
        except OSError as error:
            raise SetupError(f"{file} of {self.name} cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class Needed:
    """The files of a repository that are needed.

    Attributes:
        settings: small ones, which say what the model is.
        modules: the weights of modules behind the network.
        weights: the network's; the one that names the others is the last.
    """

    settings: tuple[str, ...]
    modules: tuple[str, ...]
    weights: tuple[str, ...]

    @property
    def network(self) -> str:
        """The file that the network is loaded from."""
        return self.weights[-1]


Select = Callable[[Collection[str]], Needed]
"""Which of all files of a repository are needed."""
Read = Callable[[Repository], Config]
"""Reads the settings, and raises if the model cannot be used: before its weights are downloaded."""
