"""Knobs that choose the base's modules that an adapter trains."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import InputError, Problem
from lorapipe.spec import param
from lorapipe.training.adapter_layers import module_choice
from lorapipe.training.adapter_layers.block_widths import BY_BLOCK, Blocks, Width
from lorapipe.training.adapter_layers.targets import Preset, Targets, pattern_problems
from lorapipe.training.adapters import Adapter, Attached

if TYPE_CHECKING:
    from torch.nn import Module

    from lorapipe.models import Family, Footprint, Model, ModuleRef, Role
    from lorapipe.training.adapter_layers.layer import AdapterLayer

DROPOUTS = ("dropout", "rank_dropout", "module_dropout")


@dataclass(frozen=True)
class TargetKnobs(Adapter):
    """Adapter whose layers wrap modules chosen by a preset and patterns; a subclass gives the layer and its width."""

    algorithm: ClassVar[str]
    """Registered name of the algorithm of its layers' tensors."""
    convolutions: ClassVar[bool] = False
    """Whether `auto` includes the resnet, downsample and upsample blocks."""

    preset: Preset = param(
        "auto",
        "which modules to train, by LyCORIS' names: full (all blocks, first and last convolution, time embedding), "
        "full-lin (without 3×3 convolutions), attn-mlp (lora's modules), attn-only, unet-only, unet-transformer-only, "
        "unet-convblock-only; auto: the usual modules of this kind of adapter",
        kohya=("preset",),
    )
    include: tuple[str, ...] = param(
        (),
        "regular expressions: train only modules whose path contains a match, such as attn2 or mid_block",
        kohya=("include_patterns",),
        rare=True,
    )
    exclude: tuple[str, ...] = param(
        (),
        "regular expressions: leave out modules whose path contains a match, such as ff\\.net",
        kohya=("exclude_patterns",),
        rare=True,
    )
    norms: bool = param(
        False, "also train weights and biases of normalisations (LyCORIS' train_norm)", kohya=("train_norm",), rare=True
    )
    module_dropout: float = param(
        0.0,
        "chance of each module to be left out of a training step; 0.1 to 0.3 against over-fitting",
        ge=0,
        lt=1,
        kohya=("module_dropout",),
        rare=True,
    )

    module_ranks: dict[str, int] = param(
        dict,
        "another rank for named modules: a regular expression and a rank, {attn2: 64, ff\\.net: 8}; the first that is found "
        "in a module's path counts, 0 leaves it out",
        kohya=("network_reg_dims",),
        rare=True,
    )
    module_kinds: dict[str, str] = param(
        dict,
        "another kind of adapter for named modules, {ff\\.net: lokr}, with the settings of this one that it has too and its "
        "usual ones else (LyCORIS' name_algo_map)",
        rare=True,
    )

    @abstractmethod
    def layer(self, base: Module, width: Width) -> AdapterLayer:
        """Make the layer that replaces a Linear or Conv2d."""

    @abstractmethod
    def width(self, pointwise: bool) -> Width:
        """Return the width of the update: of Linear layers and 1×1 convolutions (`pointwise`), or of larger ones."""

    def of_rank(self, rank: int, pointwise: bool) -> Width:
        """The width of an update of this rank."""
        return replace(self.width(pointwise), rank=rank)

    def _targets(self) -> Targets:
        return Targets(self.preset, self.include, self.exclude, self.convolutions)

    def layer_of(self, base: Module, width: Width) -> AdapterLayer:
        """Make the layer, wrapped as further knobs say (DoRA)."""
        return self.layer(base, width)

    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        from lorapipe.training.adapter_layers import host

        blocks = Blocks.of(self, model.blocks)

        def placed(ref: ModuleRef) -> tuple[Callable[[Module], AdapterLayer], float] | None:
            if (found := module_choice.placed(self, ref, blocks)) is None:
                return None
            kind, width, rate = found
            return lambda base: kind.layer_of(base, width), rate

        options = host.Options(
            targets=self._targets(),
            norms=self.norms,
            placed=placed,
            dropouts={name: getattr(self, name, 0.0) for name in DROPOUTS},
            lora_plus={part: self.lora_plus_of(model.roles[part]) for part in parts},
        )
        return host.attach(model, parts, options, seed)

    def numbers(self, shape: Sequence[int], width: Width) -> int:
        """Count the trainable parameters of a layer of this width for a weight of this shape; 0 if unknown."""
        return 0

    def numbers_of(self, shape: Sequence[int], width: Width) -> int:
        """Count the parameters of `layer_of`, with those that further knobs add."""
        return self.numbers(shape, width)

    def size(self, footprint: Footprint, parts: Sequence[str]) -> int:
        if [*Blocks.problems(self, footprint.blocks)]:
            return 0
        blocks, targets = Blocks.of(self, footprint.blocks), self._targets()
        try:
            refs = [ref for part in parts for ref in targets.of(footprint, part)]
        except InputError:
            return 0
        widths = ((ref, module_choice.placed(self, ref, blocks)) for ref in refs)
        counts = [found[0].numbers_of(ref.shape, found[1]) for ref, found in widths if found]
        return sum(counts) + self._norm_numbers(footprint, parts) if all(counts) else 0

    def _norm_numbers(self, footprint: Footprint, parts: Sequence[str]) -> int:
        """Count the weights and biases of normalisations; 0 where they are not trained."""
        outer = [ref for part in parts for ref in footprint.outer_modules(part)] if self.norms else []
        return sum(2 * ref.shape[0] for ref in outer if ref.group == "norm")

    def objections(self, base: Family) -> Iterator[Problem]:
        """Check that lists by block are as long as the base has blocks, and that every pattern matches a module."""
        if any(getattr(self, name) for name in module_choice.OWN) and (footprint := base.footprint()):
            of_parts = (*footprint.inner.values(), *footprint.outer.values())
            yield from module_choice.unmatched(self, {ref.path: ref for refs in of_parts for ref in refs})
        if any(getattr(self, name, ()) for name in BY_BLOCK) and (footprint := base.footprint()):
            yield from Blocks.problems(self, footprint.blocks)

    def lora_plus_of(self, role: Role) -> float:
        """Return the learning-rate factor of the layers' `fast` tensors in parts of a role."""
        return 1.0

    def problems(self) -> Iterator[Problem]:
        yield from module_choice.problems(self, TargetKnobs)  # type: ignore[type-abstract]
        for name in ("include", "exclude"):
            yield from pattern_problems(name, enumerate(getattr(self, name)))

    @classmethod
    def network_args(cls, settings: Mapping[str, object]) -> dict[str, str]:
        args = super().network_args({name: each for name, each in settings.items() if name not in module_choice.OWN})
        if isinstance(ranks := settings.get("module_ranks"), Mapping) and ranks:
            args["network_reg_dims"] = ",".join(f"{pattern}={rank}" for pattern, rank in ranks.items())
        return {name: value for name, value in args.items() if (name, value) != ("preset", "auto")}
