"""A model's files: in a folder, in the cache of the Hugging Face hub, or downloaded into it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rearank_agent.errors import InputError, SetupError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

__all__ = ["Check", "ModelName", "Needed", "Repository", "Select", "fetch", "open_repository"]

_COMMIT = 12
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
        """The start of the SHA-256 of a file."""
        path = (self.folder / file).resolve()
        if self.revision and len(path.name) == _SHA256:  # so the hub's cache names large files
            return path.name[:_COMMIT]
        with path.open("rb") as opened:
            return file_digest(opened, "sha256").hexdigest()[:_COMMIT]


@dataclass(frozen=True, slots=True)
class Needed:
    """The files of a repository that are needed.

    Attributes:
        settings: small ones, which say what the model is.
        weights: the large ones; the one that names the others is the last.
    """

    settings: tuple[str, ...]
    weights: tuple[str, ...]


Select = Callable[[Collection[str]], Needed]
"""Which of all files of a repository are needed."""
Check = Callable[[Repository], object]
"""Reads the settings, and raises if the model cannot be used: before its weights are downloaded."""


def open_repository(name: ModelName, select: Select, check: Check) -> Repository:
    """A model's files: those of a folder, else cached ones, else downloaded now.

    What is cached is used as it is; `fetch` looks for a newer revision.

    Raises:
        InputError: there is no such repository or revision, or it cannot be used.
        SetupError: it may not be read, the hub cannot be reached, or files are missing.
    """
    folder = Path(name.path).expanduser()
    if folder.is_dir():
        found = Repository(name.path, folder.resolve())
        select(found.files)
        check(found)
        return found
    if not _is_hub_name(name.path):
        raise InputError(f"there is no folder {name.path}, and the hub's names are OWNER/NAME")
    if (cached := _cached(name, select)) is None:
        return fetch(name, select, check)
    check(cached)
    return cached


def fetch(name: ModelName, select: Select, check: Check) -> Repository:
    """Download what is needed of a hub's repository, with progress on stderr; what is cached stays.

    Raises:
        InputError: there is no such repository or revision, or it cannot be used.
        SetupError: it may not be read, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    with _HubErrors(name):
        info = HfApi().model_info(name.path, revision=name.revision or None, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        needed = select(sizes)
        found = Repository(name.path, _download(info, needed.settings), str(info.sha)[:_COMMIT])
        check(found)
        _announce(name, info, sum(sizes[file] for file in needed.weights))
        _download(info, needed.weights)
        _remember(name, found.folder)
    return found


def _download(info: ModelInfo, files: Collection[str]) -> Path:
    """Download files one after the other; the folder they are in.

    The last of the weights is the one that names the others, so that a download which was cut
    off is never taken for a complete one.
    """
    from huggingface_hub import hf_hub_download

    for file in files:
        path = hf_hub_download(info.id, file, revision=info.sha)
    return Path(path).parents[file.count("/")]


def _announce(name: ModelName, info: ModelInfo, size: int) -> None:
    licence = getattr(info.card_data, "license", None) or "not stated"
    print(f"{name.path}: {size / 1e6:.1f} MB, licence: {licence}", file=sys.stderr)


def _remember(name: ModelName, folder: Path) -> None:
    """Write which commit the revision stands for, where the hub's library wrote only the files."""
    refs = folder.parents[1] / "refs"
    refs.mkdir(exist_ok=True)
    ref = refs / (name.revision or "main")
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(folder.name)


def _cached(name: ModelName, select: Select) -> Repository | None:
    """The cached files, if all that are needed are there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                name.path, revision=name.revision or None, local_files_only=True, allow_patterns=[]
            )
        )
        found = Repository(name.path, folder, folder.name[:_COMMIT])
        select(found.files)  # raises where weights are missing
    except (LocalEntryNotFoundError, HFValidationError, InputError, SetupError):
        return None
    return found


def _is_hub_name(path: str) -> bool:
    owner, slash, name = path.partition("/")
    return bool(owner and slash and name) and "/" not in name and not path.startswith((".", "~"))


class _HubErrors:
    """Turns the errors of the hub's library into ours."""

    def __init__(self, name: ModelName) -> None:
        self.name = name.path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, InputError | SetupError):
            raise self._ours(error) from None

    def _ours(self, error: Exception) -> Exception:
        from huggingface_hub import constants, errors

        name, login = self.name, "log in with `hf auth login` or set HF_TOKEN"
        if isinstance(error, errors.GatedRepoError):
            page = f"{constants.ENDPOINT}/{name}"
            return SetupError(
                f"{name} asks its users to accept terms: do so on {page}, then {login}"
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return InputError(f"{name} has no such revision")
        if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
            return InputError(f"the hub has no model {name}; if it is a private one, {login}")
        line = f"{sys.executable or 'python'} -m rearank_agent models pull {name}"
        cache = constants.HF_HUB_CACHE
        if isinstance(error, errors.OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
            return SetupError(
                f"{name} is not in {cache}, and HF_HUB_OFFLINE forbids to ask the hub; "
                f"where there is a connection: {line}"
            )
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        return SetupError(
            f"{name} is not in {cache} and could not be downloaded ({first}); "
            f"files that came whole are kept; to go on: {line}"
        )
