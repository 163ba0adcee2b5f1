"""Another rank or another kind of adapter for named modules  (LyCORIS' `name_algo_map`, kohya's `network_reg_dims`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from lorapipe.errors import Problem, near_miss
from lorapipe.training.adapter_layers.block_widths import Blocks, Width
from lorapipe.training.adapter_layers.targets import pattern_problems
from lorapipe.training.adapters import Adapter

if TYPE_CHECKING:
    from lorapipe.models import ModuleRef

T = TypeVar("T")
OWN = ("module_ranks", "module_kinds")
"""Knobs that another kind of adapter does not take over."""


class Choosing(Protocol):
    """An adapter with these knobs."""

    @property
    def module_ranks(self) -> Mapping[str, int]: ...
    @property
    def module_kinds(self) -> Mapping[str, str]: ...
    def width(self, pointwise: bool) -> Width: ...
    def of_rank(self, rank: int, pointwise: bool) -> Width: ...
    def problems(self) -> Iterator[Problem]: ...


C = TypeVar("C", bound=Choosing)


def placed(spec: C, ref: ModuleRef, blocks: Blocks) -> tuple[C, Width, float] | None:
    """The adapter that is on a module, with its width and the factor on its rate; None where the module is left out."""
    kind = kinds(spec).get(first(spec.module_kinds, ref.path) or "", spec)
    found = blocks.of_module(kind.width(ref.pointwise), ref)
    rank = first(spec.module_ranks, ref.path)
    if found is None or rank is None:
        return (kind, *found) if found else None
    return (kind, kind.of_rank(rank, ref.pointwise), found[1]) if rank else None


def first(patterns: Mapping[str, T], path: str) -> T | None:
    """The value of the first regular expression that is found in a path."""
    return next((value for pattern, value in patterns.items() if re.search(pattern, path)), None)


def kinds(spec: C) -> dict[str, C]:
    """The other kinds that a spec names, with its own settings where they have the same."""
    assert Adapter.registry is not None
    found: dict[str, C] = {}
    for name in dict.fromkeys(spec.module_kinds.values()):
        kind = Adapter.registry.get(name)
        shared = [each.name for each in fields(kind) if each.init and hasattr(spec, each.name) and each.name not in OWN]
        found[name] = cast("C", kind(**{each: getattr(spec, each) for each in shared}))
    return found


def problems(spec: Choosing, contract: type[Adapter]) -> Iterator[Problem]:
    """Patterns that are no regular expressions, kinds that there are not, and kinds that cannot have the settings."""
    for knob in OWN:
        yield from pattern_problems(knob, ((pattern, pattern) for pattern in getattr(spec, knob)))
    assert Adapter.registry is not None
    known = [name for name in Adapter.registry.names() if issubclass(Adapter.registry.get(name), contract)]
    odd = {pattern: name for pattern, name in spec.module_kinds.items() if name not in known}
    for pattern, name in odd.items():
        yield Problem(
            f"there is no adapter {name!r} for modules.", cure=near_miss(name, known), path=("module_kinds", pattern)
        )
    if not odd:
        for name, kind in kinds(spec).items():
            for problem in kind.problems():
                yield replace(
                    problem, what=f"of {name}, {'.'.join(map(str, problem.path))}: {problem.what}", path=(OWN[1],)
                )


def unmatched(spec: Choosing, paths: Mapping[str, object]) -> Iterator[Problem]:
    """Patterns that fit none of the base's modules."""
    for knob in OWN:
        for pattern in getattr(spec, knob):
            if not any(re.search(pattern, path) for path in paths):
                cure = "A path is such as up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k."
                yield Problem(f"no module of this base has {pattern!r} in its path.", cure=cure, path=(knob, pattern))
