"""All that can be written in a pipeline, found by walking the knobs of the stages; and the schema of it for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lorapipe.pipeline.artifacts import Ref
from lorapipe.pipeline.execution.launchers import Launcher
from lorapipe.pipeline.stage_options import Options
from lorapipe.registry import Registry
from lorapipe.spec import Shape, Spec, json_schema, knobs, spec_schema
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
                waiting += _contracts_in(knob.shape)
    return found


def registry_of(contract: type[Spec]) -> Registry[Any]:
    """The registry of a contract."""
    assert contract.registry is not None, f"{contract.__name__} is not a contract"
    return contract.registry


def _contracts_in(shape: Shape) -> Iterator[type[Spec]]:
    """Yield the contracts that a knob of this shape names, also in groups of settings."""
    for spec in shape.specs():
        if spec.registry is not None:
            yield spec
        else:
            for knob in knobs(spec):
                yield from _contracts_in(knob.shape)


def pipeline_schema() -> dict[str, Any]:
    """The draft-07 JSON Schema of a pipeline document, for editors."""
    stage = _with_variables(_with_options(json_schema(Stage)))
    names = {"pattern": r"^(?!vars$|\d+$)\w[\w-]*$"}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "lorapipe pipeline",
        "type": "object",
        "properties": {
            "extends": {
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
                "description": "A file (or several) that this one changes: mappings are merged, `null` takes a stage away.",
            },
            "vars": {"type": ["object", "null"], "description": "Values to use as ${name} in the stages."},
            "stages": {
                "type": "object",
                "description": "The steps, by name; `$name` in a field stands for what another stage makes.",
                "propertyNames": names,
            },
        },
        "if": {"required": ["extends"]},
        "then": {"properties": {"stages": {"additionalProperties": {"anyOf": [_unrequired(stage), {"type": "null"}]}}}},
        "else": {"properties": {"stages": {"minProperties": 1, "additionalProperties": stage}}, "required": ["stages"]},
        "additionalProperties": False,
        "definitions": {"variable": {"type": "string", "pattern": r"\$\{[^{}]*\}"}},
    }


def _with_options(stage: dict[str, Any]) -> dict[str, Any]:
    """The schema of a stage with what every stage takes. What a matrix sets need not be set beside it."""
    values = {"anyOf": [{"type": "array", "minItems": 1}, {"$ref": "#/definitions/variable"}]}
    cells = {"type": "array", "items": {"type": "object", "minProperties": 1}}
    common = {
        "when": {"type": ["string", "boolean"], "description": "A condition on variables: ${quality} == best."},
        "matrix": {
            "description": "Several stages of one: settings (dotted, as adapter.rank) with lists of values; or $stage.",
            "anyOf": [
                Ref.schema(),
                {"type": "object", "properties": {"include": cells, "exclude": cells}, "additionalProperties": values},
            ],
        },
        **spec_schema(Options)["properties"],
    }
    [names, tagged] = stage["anyOf"]
    branches = [{**branch, "then": _joined(branch["then"], common)} for branch in tagged["allOf"]]
    return {"anyOf": [names, {**tagged, "properties": {**tagged["properties"], **common}, "allOf": branches}]}


def _joined(branch: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    required = branch["required"]
    rest = {key: value for key, value in branch.items() if key != "required"}
    either = {"anyOf": [{"required": required}, {"required": ["matrix"]}]} if required else {}
    return {**rest, "properties": {**branch["properties"], **common}, **either}


def _unrequired(schema: Any) -> Any:
    """A stage of which another file may have said the rest."""
    if isinstance(schema, list):
        return [_unrequired(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.keys() == {"required"}:
        return {}
    return {key: value if key == "if" else _unrequired(value) for key, value in schema.items() if key != "required"}


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
