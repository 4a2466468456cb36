"""The schemas of tools as all hosts take them: small, flat and without null."""

from __future__ import annotations

from typing import Any

__all__ = ["compact_schema", "without_none"]

_NULL = {"type": "null"}


def without_none(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """What has no value is left out: not all hosts take a type that may be null."""
    return {name: value for name, value in fields if value is not None}


def compact_schema(schema: Any, defs: Any = None) -> Any:
    """The schema without titles, references and null: they cost a model's context, and hosts fail.

    What may be null may be left out instead.
    """
    if isinstance(schema, list):
        return [compact_schema(one, defs) for one in schema]
    if not isinstance(schema, dict):
        return schema
    defs = defs or schema.get("$defs")
    if "$ref" in schema:
        return compact_schema(defs[schema["$ref"].rpartition("/")[2]], defs)
    if kinds := schema.get("anyOf"):
        (only,) = (kind for kind in kinds if kind != _NULL)
        schema = {name: value for name, value in schema.items() if name != "anyOf"} | only
    if "required" in schema:
        may_lack = {n for n, one in schema["properties"].items() if _NULL in one.get("anyOf", ())}
        schema = schema | {"required": [n for n in schema["required"] if n not in may_lack]}
    left_out = {"$defs", "title"}
    return {
        key: {name: compact_schema(one, defs) for name, one in value.items()}
        if key == "properties"
        else compact_schema(value, defs)
        for key, value in schema.items()
        if key not in left_out
    }
