"""Trained models on a hub, with a card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rearank_agent.errors import InputError, SetupError
from rearank_agent.files import write_text
from rearank_agent.redact import add_secret
from rearank_training.model_card import lineage, model_card
from rearank_training.run_report import RunReport

__all__ = ["push"]

_CARD = "README.md"
_REFUSED = (401, 403)  # HTTP: no token, or one that may not


def push(run: RunReport, policy: Path, name: str, public: bool) -> tuple[str, bool]:
    """Upload the policy of a run, with a card.

    A card that lies in the folder already is uploaded as it is: someone may have written on it.

    Args:
        policy: the folder of the model.
        name: of the repository, OWNER/NAME; it is made if there is none.
        public: whether everyone may see it.

    Returns:
        The address, and whether the card is new.

    Raises:
        InputError: the folder has no model, the name cannot be used, or the repository is public
            and that is not asked for.
        SetupError: the hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    if not (policy / "config.json").is_file():
        raise InputError(f"{policy} has no model to push: the run has no evaluation yet")
    if token := get_token():
        add_secret(token)  # in no message, whoever writes it
    api = HfApi()
    with _readable_errors(name):
        try:
            found = api.model_info(name)
        except RepositoryNotFoundError:
            found = None
        if found and not found.private and not public:
            raise InputError(f"{name} is there and public: give --public, or another name")
        new = not (policy / _CARD).exists()
        if new:
            write_text(policy / _CARD, model_card(run, name, _licence(run)))
        if not found:
            api.create_repo(name, private=not public)
        told = api.upload_folder(repo_id=name, folder_path=policy, commit_message="Trained model")
    return str(told.commit_url), new


def _licence(run: RunReport) -> str:
    """The licence of the base model, if the hub says; a base model in a folder has none we know."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    base = str(lineage(run)[0].get("model", ""))
    if not base or Path(base).exists():
        return ""
    try:
        card = HfApi().model_info(base).card_data
    except (HfHubHTTPError, HFValidationError):
        return ""
    return str(getattr(card, "license", None) or "")


@contextmanager
def _readable_errors(name: str) -> Iterator[None]:
    """The errors of the hub's library as ours."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    login = "log in with `hf auth login`, or set HF_TOKEN, to one that may write"
    try:
        yield
    except (InputError, SetupError):
        raise
    except HFValidationError:
        raise InputError(f"a repository is called OWNER/NAME, not {name!r:.80}") from None
    except LocalTokenNotFoundError:
        raise SetupError(f"{name} cannot be written without a token: {login}") from None
    except Exception as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code in _REFUSED:
            raise SetupError(f"the hub does not let you write {name}: {login}") from None
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise SetupError(f"{name} could not be uploaded: {reason}; the same line goes on") from None
