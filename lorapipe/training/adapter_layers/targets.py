"""Target modules of an adapter: LyCORIS' presets (`lycoris/config.py`) and patterns of module paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from lorapipe.errors import InputError, Problem

if TYPE_CHECKING:
    from lorapipe.models import ModuleRef


class HasModules(Protocol):
    """A `Model`, or the `Footprint` of a model that is not loaded."""

    @property
    def denoiser(self) -> str: ...
    def modules(self, part: str) -> list[ModuleRef]: ...
    def outer_modules(self, part: str) -> list[ModuleRef]: ...
    def targets(self, part: str, convolutions: bool = False) -> list[ModuleRef]: ...


Preset = Literal[
    "auto", "full", "full-lin", "attn-mlp", "attn-only", "unet-only", "unet-transformer-only", "unet-convblock-only"
]
INSIDE_ATTENTION = re.compile(r"(^|\.)(attn\d*|self_attn)\.")


@dataclass(frozen=True)
class _Kind:
    """A preset's module groups, whether it includes larger convolutions, and whether text encoders."""

    groups: frozenset[str]
    larger: bool = False
    text: bool = True


TRANSFORMER = frozenset({"attention", "feed_forward", "modulation"})
PRESETS: Mapping[str, _Kind] = {
    "full": _Kind(TRANSFORMER | {"conv", "embedding"}, larger=True),
    "full-lin": _Kind(TRANSFORMER | {"conv"}),
    "attn-mlp": _Kind(TRANSFORMER),
    "attn-only": _Kind(frozenset({"attention"})),
    "unet-only": _Kind(TRANSFORMER | {"conv", "embedding"}, larger=True, text=False),
    "unet-transformer-only": _Kind(TRANSFORMER, text=False),
    "unet-convblock-only": _Kind(frozenset({"conv"}), larger=True, text=False),
}


@dataclass(frozen=True)
class Targets:
    """Choice of target modules. With `convolutions`, `auto` means LoCon's targets, else LoRA's.

    `include` and `exclude` are regular expressions, searched anywhere in a module's path. With `linear_only`, convolutions
    are left out.
    """

    preset: Preset
    include: Sequence[str]
    exclude: Sequence[str]
    convolutions: bool
    linear_only: bool = False

    def of(self, model: HasModules, part: str) -> list[ModuleRef]:
        """Return the target modules of a part, in model order; `InputError` where there is none."""
        found = [ref for ref in self._preset(model, part) if is_meant(ref.path, self.include, self.exclude)]
        found = [ref for ref in found if ref.kind == "linear"] if self.linear_only else found
        if not found:
            what = f"the adapter has no module in the {part.replace('_', ' ')}: preset {self.preset}"
            what += f", include {', '.join(self.include)}" if self.include else ""
            what += f", exclude {', '.join(self.exclude)}" if self.exclude else ""
            rate = "unet_lr" if part == model.denoiser else f"{part}_lr"
            raise InputError(f"{what}.", where="adapter", cure=f"Write {rate}: 0, or take others.")
        return found

    def _preset(self, model: HasModules, part: str) -> Iterator[ModuleRef]:
        if self.preset == "auto":
            yield from model.targets(part, self.convolutions)
            return
        kind = PRESETS[self.preset]
        if part != model.denoiser and not kind.text:
            return
        for ref in (*model.modules(part), *model.outer_modules(part)):
            attention = self.preset != "attn-only" or INSIDE_ATTENTION.search(ref.path)
            if ref.group in kind.groups and (kind.larger or ref.pointwise) and attention:
                yield ref


def is_meant(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Return whether a path contains a match of `include`, if there is one, and none of `exclude`."""
    wanted = not include or any(re.search(each, path) for each in include)
    return wanted and not any(re.search(each, path) for each in exclude)


def pattern_problems(knob: str, patterns: Iterable[tuple[str | int, str]], noun: str = "module") -> Iterator[Problem]:
    """Yield a problem for each pattern of a knob that is no regular expression; each has its place in the knob."""
    for place, pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            cure = f"Write a part of a {noun}'s path, such as attn2; a dot is \\."
            yield Problem(f"{pattern!r} is no regular expression: {error}.", cure=cure, path=(knob, place))
