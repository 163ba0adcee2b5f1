"""Validation by JSON Schema, with readable problems. jsonschema is imported on first use."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from lorapipe.errors import Problem, listed
from lorapipe.limits import MOST_PROBLEMS
from lorapipe.spec.base import JsonObject, sentence
from lorapipe.spec.serialization import show
from lorapipe.spec.shapes import written

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
"""The types of JSON in a message."""
BOUNDS = {
    "minimum": "is below the minimum",
    "exclusiveMinimum": "must be above",
    "maximum": "is above the maximum",
    "exclusiveMaximum": "must be below",
}


def schema_problems(value: object, schema: JsonObject, where: str, cure: str = "") -> list[Problem]:
    """Validate a value that was read from the file `where` by a draft 2020-12 schema, and return its problems.

    Each problem names its field. Its cure is the field's description, then `cure`.
    """
    from jsonschema import Draft202012Validator

    errors = islice(Draft202012Validator(schema).iter_errors(value), MOST_PROBLEMS)
    found = [_problem(each, where, cure) for error in errors for each in _innermost(error)]
    return list(dict.fromkeys(found))


def _innermost(error: ValidationError) -> Iterator[ValidationError]:
    """Replace an `anyOf` error by the errors of the branch that matched deepest."""
    if error.validator != "anyOf" or not error.context:
        yield error
        return
    branches: dict[object, list[ValidationError]] = {}
    for each in error.context:
        branches.setdefault(each.relative_schema_path[0], []).append(each)
    deepest = max(branches.values(), key=lambda errors: max(len(each.absolute_path) for each in errors))
    for each in deepest:
        yield from _innermost(each)


def _problem(error: ValidationError, where: str, cure: str) -> Problem:
    path = tuple(error.absolute_path)
    place = " ".join(filter(None, [where, ".".join(map(str, path))]))
    help = error.schema.get("description", "") if isinstance(error.schema, dict) and path else ""
    cures = " ".join(filter(None, [sentence(help), cure]))
    return Problem(_message(error), place, cures, path)


def _message(error: ValidationError) -> str:
    given, wanted = cast(Any, error.instance), cast(Any, error.validator_value)
    rule = str(error.validator)
    if rule == "required":
        missing = [name for name in wanted if name not in given]
        return f"{listed(missing)} {'is' if len(missing) == 1 else 'are'} missing."
    if rule == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return f"{show(given)} is not {' or '.join(WORDS[each] for each in kinds)}."
    if rule == "enum":
        choices = listed([*map(written, wanted)])
        return f"{show(given)} is not {choices if len(wanted) == 1 else f'one of {choices}'}."
    return f"{show(given)} {BOUNDS[rule]} {wanted}." if rule in BOUNDS else f"{error.message}."
