"""Arguments as hosts send them: null or "" for what is not set, numbers for strings."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

__all__ = ["lenient"]

M = TypeVar("M", bound=BaseModel)


def lenient(model: type[M]) -> type[M]:
    """The model of a tool's arguments that also takes what hosts send for it.

    An optional argument that is null or blank has its default, and a number is taken as a
    string where a string is expected; pydantic itself takes "3" as a number. What remains
    wrong has the same error as before. The published schema does not show this, so that a
    model which reads it has one way to call the tool.
    """

    class Lenient(model):  # type: ignore[valid-type, misc]
        model_config = ConfigDict(coerce_numbers_to_str=True)

        @model_validator(mode="before")
        @classmethod
        def _without_unset(cls, arguments: Any) -> Any:
            fields = cls.model_fields
            return {
                name: value
                for name, value in arguments.items()
                if name not in fields or fields[name].is_required() or not _is_unset(value)
            }

    return Lenient


def _is_unset(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
