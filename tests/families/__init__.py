"""Model families that only the tests have: what the contracts must hold besides Stable Diffusion."""

from __future__ import annotations

from families.tiny_flow import TinyFlow
from lorapipe.models import Family

NAME = "tiny_flow"


def register() -> type[TinyFlow]:
    """Let the registry of this process find the family by its name, without listing it: schemas are of what is shipped."""
    registry = Family.registry
    assert registry is not None
    registry._found[NAME], registry._names[TinyFlow] = TinyFlow, NAME
    return TinyFlow
