"""All that can be written in a pipeline, found by walking the knobs of the stages; and the schema of it for editors."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from typing import Any

from lorapipe.pipeline.launchers import Launcher
from lorapipe.registry import Registry
from lorapipe.spec import Spec, json_schema, knobs
from lorapipe.stages import Stage


def contracts() -> dict[str, type[Spec]]:
    """Every contract that a user can name, by what one of its kind is called: stage, adapter, optimizer, launcher …"""
    found: dict[str, type[Spec]] = {}
    waiting: list[type[Spec]] = [Stage, Launcher]
    while waiting:
        contract = waiting.pop(0)
        registry = registry_of(contract)
        if registry.kind in found:
            continue
        found[registry.kind] = contract
        for name in registry.names():
            for knob in knobs(registry.get(name)):
                waiting += _contracts_in(knob.type)
    return found


def registry_of(contract: type[Spec]) -> Registry[Any]:
    """The registry of a contract."""
    assert contract.registry is not None, f"{contract.__name__} is not a contract"
    return contract.registry


def _contracts_in(kind: Any) -> Iterator[type[Spec]]:
    if isinstance(kind, type) and issubclass(kind, Spec):
        if kind.registry is not None:
            yield kind
        else:
            for knob in knobs(kind):
                yield from _contracts_in(knob.type)
    for inner in typing.get_args(kind):
        yield from _contracts_in(inner)


def pipeline_schema() -> dict[str, Any]:
    """The draft-07 JSON Schema of a pipeline document, for editors."""
    stage = _with_variables(json_schema(Stage))
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "lorapipe pipeline",
        "type": "object",
        "properties": {
            "vars": {"type": ["object", "null"], "description": "Values to use as ${name} in the stages."},
            "stages": {
                "type": "object",
                "description": "The steps, by name; `$name` in a field stands for what another stage makes.",
                "minProperties": 1,
                "propertyNames": {"pattern": r"^(?!vars$|\d+$)\w[\w-]*$"},
                "additionalProperties": stage,
            },
        },
        "required": ["stages"],
        "additionalProperties": False,
        "definitions": {"variable": {"type": "string", "pattern": r"\$\{[^{}]*\}"}},
    }


def schema_text() -> str:
    """The schema as it is committed."""
    return json.dumps(pipeline_schema(), ensure_ascii=False, indent=1) + "\n"


def _with_variables(schema: Any) -> Any:
    """The schema of a value in which any part may also be written as `${name}`."""
    if not isinstance(schema, dict):
        return schema
    changed: dict[str, Any] = dict(schema)
    for key in ("anyOf", "allOf"):
        if key in schema:
            changed[key] = [_with_variables(item) for item in schema[key]]
    for key in ("then", "additionalProperties"):
        if key in schema:
            changed[key] = _with_variables(schema[key])
    if "items" in schema:
        changed["items"] = _or_variable(_with_variables(schema["items"]))
    if "properties" in schema:
        changed["properties"] = {name: _or_variable(_with_variables(v)) for name, v in schema["properties"].items()}
    return changed


def _or_variable(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("type") == "string" and "pattern" not in schema:
        return schema
    outer: dict[str, Any] = {key: schema[key] for key in ("description", "default") if key in schema}
    inner = {key: value for key, value in schema.items() if key not in outer}
    return {**outer, "anyOf": [inner, {"$ref": "#/definitions/variable"}]} if inner else schema
