"""The JSON Schema of pipelines, for editors."""

from __future__ import annotations

from lorapipe.pipeline.stage_options import StageOptions
from lorapipe.pipeline.tune_options import TuneOptions
from lorapipe.spec import JsonObject, Ref, registry_of, shape_of
from lorapipe.spec.schema import DEFINITIONS, SchemaWriter, reference
from lorapipe.stages import Stage

TUNED = "Tuning: the training is run again with the settings that its verdict names, until it is good at strength 1."


def pipeline_schema() -> dict[str, object]:
    """Return the draft-07 JSON Schema of a pipeline document, for editors."""
    stages = {
        "type": "object",
        "description": "The stages, by name; `$name` in a field refers to the result of another stage.",
        "propertyNames": {"pattern": r"^(?!vars$|\d+$)\w[\w-]*$"},
        "additionalProperties": {"anyOf": [reference("stage"), {"type": "null"}]},
    }
    whole = {"minProperties": 1, "additionalProperties": reference("stage.required")}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "lorapipe pipeline",
        "type": "object",
        "properties": {
            "extends": {
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
                "description": "A file (or several) that this one overrides: mappings are merged, `null` removes a stage.",
            },
            "vars": {"type": ["object", "null"], "description": "Values that stages use as ${name}."},
            "tune": reference("tune"),
            "stages": stages,
        },
        "if": {"required": ["extends"]},
        "else": {"properties": {"stages": whole}, "required": ["stages"]},
        "additionalProperties": False,
        DEFINITIONS: _definitions(),
    }


def _definitions() -> dict[str, JsonObject]:
    """Return the definitions of the pipeline schema: of each stage, and of everything in stages."""
    writer = SchemaWriter(instead=reference("variable"))
    stage = writer.forms(shape_of(Stage))
    required = writer.requirements(shape_of(Stage))
    found = writer.definitions
    assert stage == reference("stage") and required == reference("stage.required")
    options = {**_of_every_stage(), **writer.settings(StageOptions)["properties"]}
    for definition in (found["stage"]["anyOf"][1], *(found[f"stage.{name}"] for name in registry_of(Stage).names())):
        definition["properties"] |= {name: reference(f"stage.options/{name}") for name in options}
    for branch in found["stage.required"]["allOf"]:
        branch["then"] = _unless_in_matrix(branch["then"])
    found["stage.required"]["type"] = ["object", "string"]
    variable = {"type": "string", "pattern": r"\$\{[^{}]*\}"}
    tune = {**writer.settings(TuneOptions), "type": ["object", "null"], "description": TUNED}
    return {"variable": variable, "stage.options": options, "tune": tune, **found}


def _of_every_stage() -> JsonObject:
    """Return the schemas of the keys that every stage has, besides its options."""
    variable = reference("variable")
    number = {"anyOf": [{"type": "number"}, variable]}
    ends = {"from": number, "to": number, "log": {"type": "boolean"}}
    range = {"type": "object", "properties": ends, "required": ["from", "to"], "additionalProperties": False}
    values = {"anyOf": [{"type": "array", "minItems": 1}, range, variable]}
    count = {"type": "integer", "minimum": 1}
    counted = {"count": count, "seed": {"type": "integer"}}
    seeded = {"type": "object", "properties": counted, "required": ["count"], "additionalProperties": False}
    sample = {
        "description": "So many samples of ranges and lists, in place of all combinations.",
        "anyOf": [count, seeded],
    }
    cells = {"type": "array", "items": {"type": "object", "minProperties": 1}}
    keep = {"description": "Successive halving: only so many of the cells train to the end.", "anyOf": [count]}
    keys = {"include": cells, "exclude": cells, "sample": sample, "keep": keep}
    table = {"type": "object", "properties": keys, "additionalProperties": values}
    return {
        "when": {
            "type": ["string", "boolean"],
            "description": "A condition on variables: ${quality} == best.",
        },
        "matrix": {
            "description": "Expands to several stages: settings (adapter.rank) with lists or ranges of values; or $stage.",
            "anyOf": [Ref.schema(), table, variable],
        },
    }


def _unless_in_matrix(required: JsonObject) -> JsonObject:
    """Return what a stage requires, unless it has a matrix, which may set it."""
    if "required" not in required:
        return required
    rest = {key: value for key, value in required.items() if key != "required"}
    return {**rest, "anyOf": [{"required": required["required"]}, {"required": ["matrix"]}]}
