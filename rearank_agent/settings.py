"""Settings from environment variables; a command-line option overrides them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from rearank_agent.errors import SetupError

__all__ = ["Settings", "cache_folder", "settings"]


class Settings(BaseSettings):
    """The settings that environment variables give."""

    model_config = SettingsConfigDict(env_prefix="REARANK_", env_ignore_empty=True)

    policy: str = Field(default="embedded", description="the policy")
    deadline: float | None = Field(default=None, gt=0, description="seconds a request may take")
    calls: int = Field(default=32, ge=1, description="model calls in flight in the whole process")
    cache: str | None = Field(default=None, description="the folder for indexes and answers")
    token: SecretStr | None = Field(default=None, description="the bearer token of the HTTP server")
    vllm_base_url: str | None = Field(
        default=None, validation_alias="VLLM_BASE_URL", description="where vLLM answers"
    )


def settings() -> Settings:
    """The settings of this environment.

    Raises:
        SetupError: a variable holds something that cannot be used.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = name if name.isupper() else f"REARANK_{name.upper()}"
        raise SetupError(f"the environment variable {variable}: {first['msg']}") from None


def cache_folder() -> Path:
    """The cache folder of this user: REARANK_CACHE, else the platform's.

    Raises:
        SetupError: as `settings` does, or there is no home folder.
    """
    if folder := settings().cache:
        return Path(folder)
    try:
        home = Path.home()
    except RuntimeError as error:  # a user that the system does not know
        raise SetupError(
            f"{error}; set REARANK_CACHE to a folder for indexes and answers"
        ) from None
    if sys.platform == "darwin":
        base = home / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "rearank-agent"
