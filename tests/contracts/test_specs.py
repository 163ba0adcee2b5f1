"""Every implementation in every registry fulfils the contract of specs, so a new knob needs no test of its own."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest

from lorapipe.models import Checkpoint, Family
from lorapipe.pipeline.contracts import contracts
from lorapipe.pipeline.extends import TAGS
from lorapipe.pipeline.pipeline_schema import pipeline_schema
from lorapipe.pipeline.stage_options import RESERVED
from lorapipe.pipeline.yaml_document import open_document
from lorapipe.pocket import CLIP, TAGGER
from lorapipe.spec import (
    Duration,
    Knob,
    Shape,
    Spec,
    from_dict,
    knobs,
    parse_spec,
    registry_of,
    to_dict,
)
from lorapipe.spec.schema import json_schema
from lorapipe.stages import Stage

ROOT = Path(__file__).parents[2]
BASES = tempfile.TemporaryDirectory()
CONTRACTS = contracts()
SPECS = {f"{kind} {name}": (kind, name) for kind, each in CONTRACTS.items() for name in registry_of(each).names()}
CLASSES = {label: registry_of(CONTRACTS[kind]).get(name) for label, (kind, name) in SPECS.items()}
NAMES = {cls: SPECS[label][1] for label, cls in CLASSES.items()}
KNOBS = {f"{label}.{knob.name}": knob for label, cls in CLASSES.items() for knob in knobs(cls)}

TRIALS: list[Any] = [
    None, True, False, -1, 0, 1, 2, 3, 0.5, -0.5, 64, 1e9, 1e30, "", "x", "$stage", "$stage.field", "10 epochs",
    "0 steps", [], ["x"], [1], [0.5], [[]], {}, {"x": 1}, {"type": "x"}, {"x": "y"}, "constant", "pocket", "true", "1",
]  # fmt: skip
"""Values of every shape: for each knob, some are valid and some are not."""
VALUES = ("value", "source", "destination")


def sample(shape: Shape, here: Path) -> Any:
    """Return a valid plain value of a type, for knobs without a default."""
    if shape.optional:
        return None
    match shape.kind:
        case "choice":
            return shape.choices[0]
        case "list":
            return [sample(shape.item, here)] * 2
        case "mapping":
            return {"x": sample(shape.item, here)}
        case "spec":
            return document(shape.spec, here)
        case "contract":
            registry = registry_of(shape.spec)
            name = registry.names()[0]
            return {shape.spec.tag: name, **document(registry.get(name), here)}
        case "source":
            return "pocket" if issubclass(shape.value, Checkpoint) else model_folder()
        case "path" | "destination":
            return str(here / "new")
        case "value":
            return 10 if issubclass(shape.value, Duration) else {}
    return {"boolean": True, "integer": 1, "number": 1.0, "text": "x", "reference": "$stage"}.get(shape.kind, {})


def document(cls: type[Spec], here: Path) -> dict[str, Any]:
    """Return the shortest valid document of a spec: its required settings, and one more where it needs one of several."""
    required = {knob.name: sample(knob.shape, here) for knob in knobs(cls) if knob.required}
    if issubclass(cls, Family):
        return {**required, "checkpoint": checkpoint(cls)}
    others = {knob.name: knob.shape._replace(optional=False) for knob in knobs(cls) if not knob.required}
    documents = (required, *({**required, name: sample(shape, here)} for name, shape in others.items()))
    tag = {cls.tag: NAMES[cls]} if cls in NAMES else {}
    return next((each for each in documents if parse_spec(cls, {**tag, **each}, here).spec is not None), required)


@functools.cache
def model_folder() -> str:
    """Create a folder with the files of a CLIP and of a WD14 tagger, which specs look for in folders of models."""
    folder = Path(BASES.name) / "model"
    for each in (CLIP, TAGGER):
        shutil.copytree(each, folder, dirs_exist_ok=True)
    return str(folder)


@functools.cache
def checkpoint(family: type[Family]) -> str:
    """Create a base of the family, since families read the file that they are given."""
    return family.tiny(Path(BASES.name) / family.__name__).checkpoint.plain()


def built(label: str, here: Path) -> Spec:
    """Build a spec with only its required knobs."""
    kind, name = SPECS[label]
    contract = CONTRACTS[kind]
    return from_dict(contract, {contract.tag: name, **document(CLASSES[label], here)}, here)


def test_there_is_something_to_test() -> None:
    assert {"stage", "family", "adapter", "optimizer", "scheduler", "loss", "format"} <= set(CONTRACTS)


@pytest.mark.parametrize("label", SPECS)
def test_a_spec_is_a_frozen_dataclass_that_explains_itself(label: str) -> None:
    cls = CLASSES[label]
    assert dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen
    assert cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}("), "a sentence on what it is"
    undeclared = [field.name for field in dataclasses.fields(cls) if "param" not in field.metadata]
    assert not undeclared, "every field is declared with param()"


@pytest.mark.parametrize("label", KNOBS)
def test_a_knob_says_what_it_is_for(label: str) -> None:
    knob = KNOBS[label]
    assert len(knob.param.help) >= 5 and knob.param.help == knob.param.help.strip()


@pytest.mark.parametrize("label", SPECS)
def test_the_defaults_are_right_and_survive_the_document_form(label: str, tmp_path: Path) -> None:
    spec = built(label, tmp_path)
    plain = to_dict(spec)
    assert from_dict(CONTRACTS[SPECS[label][0]], plain, Path("/elsewhere")) == spec
    assert spec.name == SPECS[label][1]


@pytest.mark.parametrize("label", SPECS)
def test_the_schema_accepts_what_the_program_accepts(label: str, tmp_path: Path) -> None:
    contract = CONTRACTS[SPECS[label][0]]
    schema = json_schema(contract)
    jsonschema.Draft7Validator.check_schema(schema)
    valid = jsonschema.Draft7Validator(schema).is_valid
    plain = to_dict(built(label, tmp_path))
    assert valid(plain)
    assert not valid({**plain, "no such knob": 1})
    assert not valid({**plain, contract.tag: "nothing"})


@pytest.mark.parametrize("label", KNOBS)
def test_program_and_schema_agree_on_every_trial(label: str, tmp_path: Path) -> None:
    knob = KNOBS[label]
    alone = _alone(knob)
    valid = jsonschema.Draft7Validator(json_schema(alone)).is_valid
    inner = knob.shape.item if knob.shape.kind == "list" else knob.shape
    names_a_file = inner.kind == "source"  # whether there is one decides, which no schema can see
    trials = [trial for trial in TRIALS if not (names_a_file and _has_text(trial))]
    taken = {}
    for index, trial in enumerate(trials):
        taken[index] = parse_spec(alone, {knob.name: trial}, tmp_path).spec is not None
        a_text_of_its_own = isinstance(trial, str) and inner.kind in VALUES  # a pattern cannot see a range
        if taken[index] or not a_text_of_its_own:
            assert taken[index] == valid({knob.name: trial}), f"{knob.name}: {trial!r}"
    assert not all(taken.values()), "no value at all is refused"


def _has_text(trial: object) -> bool:
    return any(isinstance(each, str) for each in (trial if isinstance(trial, list) else [trial]))


def _alone(knob: Knob) -> type[Spec]:
    """Make a spec class with only this knob."""
    return dataclasses.make_dataclass("Alone", [(knob.name, knob.type, knob.field)], bases=(Spec,), frozen=True)


@pytest.mark.parametrize("label", KNOBS)
def test_a_knobs_default_is_one_that_documents_can_hold(label: str) -> None:
    assert KNOBS[label].shape
    default = KNOBS[label].default()
    assert not isinstance(default, Path) or default.is_absolute(), "a default path has no folder to start from"


# ------------------------------------------------------------------------------------------- the schema for editors


def test_the_schema_says_everything_once() -> None:
    definitions = pipeline_schema()["definitions"]
    assert {f"{kind}.{name}" for kind, name in SPECS.values() if kind != "launcher"} <= definitions.keys()
    for label, cls in CLASSES.items():
        if knobs(cls) and not label.startswith("launcher"):
            assert not any("properties" in each for each in definitions[label.replace(" ", ".")]["properties"].values())


@pytest.mark.parametrize("file", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda file: file.name)
def test_shipped_pipelines_fit_the_schema_and_name_it(file: Path) -> None:
    jsonschema.Draft7Validator(pipeline_schema()).validate(open_document(file).value)
    head = file.read_text("utf-8").partition("\n")[0]
    assert head == "# yaml-language-server: $schema=../schemas/pipeline.schema.json"


@pytest.mark.parametrize(
    "change",
    [
        {"stage": {}},
        {"stages": {}},
        {"stages": {"a": {"uses": "nothing"}}},
        {"stages": {"a": {"uses": "train"}}},
        {"stages": {"a": {"uses": "train", "dataset": "$d", "steps": "many"}}},
        {"stages": {"a": {"uses": "train", "dataset": "$d", "adapter": {"type": "lora", "rank": 0}}}},
        {"stages": {"1": {"uses": "train", "dataset": "$d"}}},
        {"stages": {"a": {"uses": "train", "dataset": "$d", "retries": -1}}},
        {"stages": {"a": {"uses": "train", "dataset": "$d", "timeout": "soon"}}},
        {"stages": {"a": {"uses": "train", "dataset": "$d", "matrix": {"adapter.rank": 8}}}},
        {"stages": {"a": None}},
        {"extends": "b.yaml", "stages": {"a": {"uses": "train", "steps": "many"}}},
    ],
)
def test_an_editor_underlines_what_the_program_refuses(change: dict[str, Any]) -> None:
    right = {"stages": {"a": {"uses": "train", "dataset": "$d", "steps": "${n}"}}}
    validator = jsonschema.Draft7Validator(pipeline_schema())
    assert validator.is_valid(right)
    assert not validator.is_valid({**right, **change})


@pytest.mark.parametrize(
    "document",
    [
        {"stages": {"a": {"uses": "train", "dataset": "$d", "when": "${x}", "retries": 0, "timeout": "2 h"}}},
        {"stages": {"a": {"uses": "train", "matrix": {"dataset": ["$d", "$e"], "exclude": [{"dataset": "$d"}]}}}},
        {"stages": {"a": {"uses": "train", "dataset": "$d", "matrix": "$d"}}},
        {"extends": "b.yaml"},
        {"extends": ["b.yaml", "c.yaml"], "stages": {"a": {"steps": 5}, "b": None}},
    ],
)
def test_an_editor_knows_the_whole_language(document: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(pipeline_schema()).validate(document)


def test_no_stage_has_a_knob_that_the_language_needs_for_itself() -> None:
    stages = registry_of(cast("type[Spec]", Stage))
    assert not {knob.name for name in stages.names() for knob in knobs(stages.get(name))} & set(RESERVED)


def test_layers_know_every_key_that_names_a_kind() -> None:
    assert {contract.tag for contract in contracts().values()} <= set(TAGS)
