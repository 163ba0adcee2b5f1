"""What is added to the pictures: the noise, its colour, and at which timesteps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.errors import Problem
from lorapipe.spec import Spec, param

if TYPE_CHECKING:
    import torch

    from lorapipe.training.diffusion import Diffusion
    from lorapipe.training.noise import NoiseDraw

MULTIRES_DISCOUNT = 0.3
"""Of kohya's `multires_noise_discount`."""


@dataclass(frozen=True)
class NoiseOptions(Spec, stored_name="Corruption"):
    """The noise of a training. By default plain noise at all timesteps, as the base models were made with."""

    offset: float = param(
        0.0,
        "noise offset: a shift of a picture's whole noise, so that very dark and very bright pictures can be learned. "
        "0.06 is mild, 0.1 enough; more deep-fries as CFG 11 does. Needs more steps",
        ge=0,
        le=1,
        kohya=("noise_offset",),
    )
    offset_random: bool = param(
        False,
        "draw each picture's strength of offset between 0 and the given one",
        kohya=("noise_offset_random_strength",),
    )
    offset_adaptive: float = param(
        0.0,
        "added to the offset of each channel, times the size of its mean in the picture: very dark and very bright pictures "
        "get more of it; 0 off",
        ge=-1,
        le=1,
        kohya=("adaptive_noise_scale",),
    )
    multires_iterations: int = param(
        0,
        "multires noise: so many coarser layers of noise, for the same end; 6 to 10 is usual, 0 off",
        ge=0,
        le=20,
        kohya=("multires_noise_iterations",),
    )
    multires_discount: float = param(
        MULTIRES_DISCOUNT,
        "each coarser layer's share of the one before; 0.1 to 0.3",
        gt=0,
        le=1,
        kohya=("multires_noise_discount",),
    )
    perturbation: float = param(
        0.0,
        "ip noise gamma: further noise on the input that is not to be predicted, so that it copes with its own errors; "
        "0.1 is recommended, 0 off",
        ge=0,
        le=1,
        kohya=("ip_noise_gamma",),
    )
    perturbation_random: bool = param(
        False, "draw each picture's perturbation between 0 and the given one", kohya=("ip_noise_gamma_random_strength",)
    )
    min_timestep: int = param(0, "the first timestep to train at; above 0 leaves out the finest details", ge=0, le=999)
    max_timestep: int = param(
        1000, "the timestep to stop before; below 1000 leaves out the coarsest shapes", ge=1, le=1000
    )

    def problems(self) -> Iterator[Problem]:
        if self.min_timestep >= self.max_timestep:
            what = f"no timestep is left between {self.min_timestep} and {self.max_timestep}."
            yield Problem(what, cure="Make min_timestep the smaller one.", path=("min_timestep",))
        if self.offset and self.multires_iterations:
            what = "noise offset and multires noise do the same thing in two ways, and together too much of it."
            yield Problem(what, cure="Set one of them to 0.", path=("offset",))
        if self.multires_discount != MULTIRES_DISCOUNT and not self.multires_iterations:
            what = "there are no coarser layers of noise for it to discount."
            yield Problem(what, cure="Give multires_iterations, or take it away.", path=("multires_discount",))
        if self.offset_adaptive and not self.offset:
            what = "there is no offset for it to be added to."
            yield Problem(what, cure="Give offset, or take it away.", path=("offset_adaptive",))
        for name in ("offset", "perturbation"):
            if getattr(self, f"{name}_random") and not getattr(self, name):
                what = f"{name}_random draws strengths up to {name}, which is 0."
                yield Problem(what, cure=f"Give {name}, or take {name}_random away.", path=(f"{name}_random",))

    def draw(self, seed: int, step: int, samples: range, clean: torch.Tensor, diffusion: Diffusion) -> NoiseDraw:
        """Noise and timesteps of the named samples of an update, whose clean latents these are: see `noise.draw`.

        Functions of (seed, step, sample), and of the latents where the offset is adaptive.
        """
        from lorapipe.training import noise

        drawn = noise.draw(seed, step, samples, clean.shape[1:], diffusion, self.min_timestep, self.max_timestep)
        if not (self.offset or self.multires_iterations or self.perturbation):
            return drawn
        chances = [noise.generator("colour", seed, step, sample) for sample in samples]
        target = drawn.target
        if self.offset:
            strength = noise.strengths(self.offset, self.offset_random, chances)
            if self.offset_adaptive:
                strength = noise.adapted(strength, self.offset_adaptive, clean)
            target = noise.offset(target, strength, chances)
        if self.multires_iterations:
            target = noise.multires(target, self.multires_iterations, self.multires_discount, chances)
        added = target
        if self.perturbation:
            strength = noise.strengths(self.perturbation, self.perturbation_random, chances)
            added = noise.perturbed(target, strength, chances)
        return noise.NoiseDraw(target, drawn.timesteps, added)
