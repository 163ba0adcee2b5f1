"""One source of truth for every knob.

A spec is a frozen dataclass whose fields are declared with `param()`. From those declarations alone come validation
(`from_dict`), the plain form (`to_dict`), the JSON Schema for editors (`json_schema`), `lorapipe show`, the tables of
the documentation and ComfyUI's widgets. Nothing else names a knob.

A *contract* is a spec with many implementations, one file each (see `registry`). A field typed as a contract is a
tagged union: `{type: lora, rank: 8}`, or just `lora`. The tag key is the contract's own (`type`, `uses`, `family`).

A *value type* (`Value`) is a class with its own text form, such as a duration `10 epochs`.
"""

from lorapipe.spec.destination import Destination
from lorapipe.spec.fields import (
    PLAIN,
    REQUIRED,
    Knob,
    Param,
    Spec,
    Value,
    canonical,
    content,
    knobs,
    param,
    plain,
    sentence,
    show,
    to_dict,
)
from lorapipe.spec.parse import Address, Parsed, PathPolicy, ProblemCache, from_dict, parse_spec
from lorapipe.spec.schema import json_schema, spec_schema
from lorapipe.spec.types import Duration, Source, Span, Warmup

__all__ = [
    "PLAIN",
    "REQUIRED",
    "Address",
    "Destination",
    "Duration",
    "Knob",
    "Param",
    "Parsed",
    "PathPolicy",
    "ProblemCache",
    "Source",
    "Span",
    "Spec",
    "Value",
    "Warmup",
    "canonical",
    "content",
    "from_dict",
    "json_schema",
    "knobs",
    "param",
    "parse_spec",
    "plain",
    "sentence",
    "show",
    "spec_schema",
    "to_dict",
]
