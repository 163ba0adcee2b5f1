"""The settings that a dropped folder brings, `lorapipe.yaml`: untrusted, see `allowed_paths` and `resource_limits`."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

from lorapipe.errors import InputError, Problem
from lorapipe.pipeline import loader
from lorapipe.pipeline.extends import EXTENDS
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.tune_options import TUNE
from lorapipe.pipeline.yaml_document import open_document
from lorapipe.regular_files import open_inside, read_regular
from lorapipe.spec import Address
from lorapipe.watch.allowed_paths import AllowedPaths
from lorapipe.watch.settings import WatchSettings

OVERRIDES = "lorapipe.yaml"
MOST_PROBLEMS = 100
MOST_LETTERS = 1000


def read_overrides(path: Path, images: Path, watching: WatchSettings) -> dict[str, object]:
    """Read a folder's own settings. `InputError` if they are not a valid mapping; `loader.load` reports further errors."""
    try:
        read_regular(open_inside(path, images), int(watching.largest_settings * 1000))
    except OSError as error:
        cure = "The limit is watch.largest_settings." if error.errno == errno.EFBIG else ""
        raise InputError(f"cannot be read: {error.strerror}.", where=str(path), cure=cure) from None
    document = open_document(path)
    if not isinstance(document.value, dict):
        raise InputError("is not a mapping.", where=str(path), cure="Write `vars:` or `stages:` in it.")
    if TUNE in document.value:
        cure = "The inbox's owner can have folders tuned: --set watch.tune=true."
        raise InputError("a dropped folder cannot ask to be tuned.", where=document.where((TUNE,)), cure=cure)
    if EXTENDS in document.value:
        cure = "Write the settings to change under `vars:` and `stages:`."
        raise InputError("cannot extend other files.", where=document.where((EXTENDS,)), cure=cure)
    return document.value


def has_address(address: Address, document: Mapping[str, object]) -> bool:
    """Return whether a document has a value at an address, or at one above it."""
    value: object = document
    for part in address:
        if not isinstance(value, dict):
            return True
        if part not in value:
            return False
        value = value[part]
    return True


def load_with_overrides(path: Path, own: Path, places: AllowedPaths) -> Pipeline:
    """Load the pipeline with the folder's own settings; errors mention only these, and reveal no other files."""
    try:
        return loader.load(path, places=places)
    except InputError as error:
        elsewhere = sorted(places.sources | places.targets, key=len, reverse=True)
        named = {text: Path(text).name for text in elsewhere if not Path(text).is_relative_to(places.images)}
        raise InputError(_redacted(each, own, named) for each in error.problems[:MOST_PROBLEMS]) from None


def _redacted(problem: Problem, own: Path, named: Mapping[str, str]) -> Problem:
    """Return a problem without paths that the folder's user may not see."""
    what, cure = problem.what, problem.cure
    for text, name in named.items():
        what, cure = what.replace(text, name), cure.replace(text, name)
    is_theirs = problem.where.startswith(str(own))
    where, excerpt = (problem.where, problem.excerpt) if is_theirs else (str(own), "")
    return Problem(what[:MOST_LETTERS], where[:MOST_LETTERS], cure[:MOST_LETTERS], problem.path, excerpt)
