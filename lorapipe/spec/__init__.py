"""One source of truth for every knob.

A spec is a frozen dataclass whose fields are declared with `param()`. From those declarations alone come validation
(`from_dict`), the plain form (`to_dict`), the JSON Schema for editors (`schema.json_schema`), `lorapipe show`, the tables of
the documentation and ComfyUI's widgets. Nothing else names a knob.

A *contract* is a spec with many implementations, one file each (see `registry`). A field typed as a contract is a
tagged union: `{type: lora, rank: 8}`, or just `lora`. The tag key is the contract's own (`type`, `uses`, `family`).

A *value type* (`Value`) is a class with its own text form, such as a duration `10 epochs`.

    base           Param, Value, Spec: the declarations          parse          document → spec, or its problems
    fields         the knobs of a spec class                     serialization  spec → document, content of a key
    shapes         a knob's type, resolved                       schema         spec class → JSON Schema
    types          values that any stage may use                   reference      $stage, another stage's result
    value_words    type, range and default of a knob in words
    documents      JSON files that others read or edit             document_schema   their JSON Schema
"""

from lorapipe.spec.base import REQUIRED, JsonObject, Param, Spec, Value, ValueKind, param, registry_of, sentence
from lorapipe.spec.destination import Destination
from lorapipe.spec.documents import JsonDocument
from lorapipe.spec.fields import Knob, knobs, knobs_by_use
from lorapipe.spec.parse import Address, Parsed, from_dict, parse_spec
from lorapipe.spec.paths import PathPolicy
from lorapipe.spec.problem_cache import ProblemCache
from lorapipe.spec.reference import Ref
from lorapipe.spec.serialization import PLAIN, canonical, content, plain, show, to_dict
from lorapipe.spec.shapes import Shape, shape_of
from lorapipe.spec.types import Duration, Source, Span, Warmup

__all__ = [
    "PLAIN",
    "REQUIRED",
    "Address",
    "Destination",
    "Duration",
    "JsonDocument",
    "JsonObject",
    "Knob",
    "Param",
    "Parsed",
    "PathPolicy",
    "ProblemCache",
    "Ref",
    "Shape",
    "Source",
    "Span",
    "Spec",
    "Value",
    "ValueKind",
    "Warmup",
    "canonical",
    "content",
    "from_dict",
    "knobs",
    "knobs_by_use",
    "param",
    "parse_spec",
    "plain",
    "registry_of",
    "sentence",
    "shape_of",
    "show",
    "to_dict",
]
