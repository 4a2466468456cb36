"""Models of the Hugging Face hub: cached, or downloaded into the hub's own cache."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rearank_agent.errors import InputError, SetupError
from rearank_agent.policies.pretrained.repository import (
    COMMIT,
    Config,
    ModelName,
    Needed,
    Read,
    Repository,
    Select,
)
from rearank_agent.text import one_line

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

__all__ = ["cached", "fetch"]


def fetch(name: ModelName, select: Select, read: Read[Config]) -> tuple[Repository, Needed, Config]:
    """Download what is needed of a hub's repository, with progress on stderr; what is cached stays.

    Returns:
        The files, which of them are needed, and the settings.

    Raises:
        InputError: there is no such repository or revision, or it cannot be used.
        SetupError: it may not be read, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    with _readable_errors(name.path):
        info = HfApi().model_info(name.path, revision=name.revision or None, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        needed = select(sizes)
        found = Repository(name.path, _download(info, needed.settings), str(info.sha)[:COMMIT])
        config = read(found)
        large = (*needed.modules, *needed.weights)
        _announce(name, info, sum(sizes[file] for file in large))
        _download(info, large)
        _remember(name, found.folder)
    return found, needed, config


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
    line = one_line(f"{name.path}: {size / 1e6:.1f} MB, licence: {licence}")
    logging.getLogger(__name__).warning("%s", line)  # on stderr where nobody set up a log


def _remember(name: ModelName, folder: Path) -> None:
    """Write which commit the revision stands for, where the hub's library wrote only the files."""
    refs = folder.parents[1] / "refs"
    refs.mkdir(exist_ok=True)
    ref = refs / (name.revision or "main")
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(folder.name)


def cached(name: ModelName, select: Select) -> tuple[Repository, Needed] | None:
    """The cached files, and which of them are needed, if all of those are there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                name.path, revision=name.revision or None, local_files_only=True, allow_patterns=[]
            )
        )
        found = Repository(name.path, folder, folder.name[:COMMIT])
        return found, select(found.files)
    except (LocalEntryNotFoundError, HFValidationError, InputError, SetupError, OSError):
        return None  # select raises where weights are missing


@contextmanager
def _readable_errors(name: str) -> Iterator[None]:
    """The errors of the hub's library as ours."""
    try:
        yield
    except (InputError, SetupError):
        raise
    except Exception as error:
        raise _readable(name, error) from None


def _readable(name: str, error: Exception) -> InputError | SetupError:
    from huggingface_hub import constants, errors

    login = "log in with `hf auth login` or set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError):
        page = f"{constants.ENDPOINT}/{name}"
        return SetupError(f"{name} asks its users to accept terms: do so on {page}, then {login}")
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(f"{name} has no such revision")
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return InputError(
            f"there is no folder {name}, and the hub has no model of that name; "
            f"if it is a private one, {login}"
        )
    line = f"{sys.executable or 'python'} -m rearank_agent models pull {name}"
    cache = constants.HF_HUB_CACHE
    if isinstance(error, errors.OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        return SetupError(
            f"{name} is no folder, not in {cache}, and HF_HUB_OFFLINE forbids to ask the hub; "
            f"where there is a connection: {line}"
        )
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    return SetupError(
        f"{name} is not in {cache} and could not be downloaded ({first}); "
        f"files that came whole are kept; to go on: {line}"
    )
