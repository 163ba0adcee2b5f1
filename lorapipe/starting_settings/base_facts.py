"""The family of a base, from the names and shapes of its tensors, or from a folder's configurations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lorapipe.errors import InputError, Problem
from lorapipe.models import Checkpoint, Family
from lorapipe.spec import registry_of


def base_of(checkpoint: Checkpoint) -> Family:
    """Return the base of a file or folder. `InputError` says what it is instead: a LoRA, a VAE, a FLUX model …"""
    contract: Any = Family
    refused: list[Problem] = []
    for name in registry_of(contract).names():
        base: Family = registry_of(contract).get(name)(checkpoint=checkpoint)
        found = [*base.problems()] or [*base.problems_of_captions()]
        if not found:
            return base
        refused = min(refused or found, found, key=_severity)
    where = str(checkpoint.path)
    raise InputError(replace(each, where=where, path=()) for each in refused)


def _severity(found: list[Problem]) -> tuple[bool, int]:
    """Order the answers of the families: one that recognises the file says more than that it is another kind."""
    return any(each.what.startswith("is ") for each in found), len(found)
