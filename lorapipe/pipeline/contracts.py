"""All contracts that a pipeline can name, found by walking the knobs of the stages."""

from __future__ import annotations

from collections.abc import Iterator

from lorapipe.pipeline.execution.launchers import Launcher
from lorapipe.spec import Shape, Spec, knobs, registry_of
from lorapipe.stages import Stage


def contracts() -> dict[str, type[Spec]]:
    """Return every contract that a user can name, by kind: stage, adapter, optimizer, launcher …"""
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


def _contracts_in(shape: Shape) -> Iterator[type[Spec]]:
    """Yield the contracts in a knob of this shape, also in groups of settings."""
    for spec in shape.specs():
        if spec.registry is not None:
            yield spec
        else:
            for knob in knobs(spec):
                yield from _contracts_in(knob.shape)
