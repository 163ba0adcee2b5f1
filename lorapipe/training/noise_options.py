"""Noise options: noise offset, multires noise, input perturbation, range of timesteps."""

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
"""Default of kohya's `multires_noise_discount`."""


@dataclass(frozen=True)
class NoiseOptions(Spec, stored_name="Corruption"):
    """The noise of a training. By default standard normal noise at all timesteps, as the base models were trained."""

    offset: float = param(
        0.0,
        "noise offset: a constant shift of each picture's noise, by which very dark and very bright pictures can be "
        "learned. 0.06 is mild, 0.1 enough; more gives burnt colours, like a high CFG. Needs more steps",
        ge=0,
        le=1,
        kohya=("noise_offset",),
    )
    offset_random: bool = param(
        False,
        "draw the strength of each picture's offset between 0 and offset",
        kohya=("noise_offset_random_strength",),
        rare=True,
    )
    offset_adaptive: float = param(
        0.0,
        "added to the offset of each channel, multiplied by the absolute mean of the channel's latents: very dark and very "
        "bright pictures get more; 0 off",
        ge=-1,
        le=1,
        kohya=("adaptive_noise_scale",),
        rare=True,
    )
    multires_iterations: int = param(
        0,
        "multires noise: number of coarser layers of noise, for the same purpose; 6 to 10 is usual, 0 off",
        ge=0,
        le=20,
        kohya=("multires_noise_iterations",),
    )
    multires_discount: float = param(
        MULTIRES_DISCOUNT,
        "strength of each coarser layer relative to the previous one; 0.1 to 0.3",
        gt=0,
        le=1,
        kohya=("multires_noise_discount",),
    )
    perturbation: float = param(
        0.0,
        "ip noise gamma: more noise on the input, which is not predicted, so that the network learns to cope with its own "
        "errors; 0.1 is recommended, 0 off",
        ge=0,
        le=1,
        kohya=("ip_noise_gamma",),
    )
    perturbation_random: bool = param(
        False,
        "draw the strength of each picture's perturbation between 0 and perturbation",
        kohya=("ip_noise_gamma_random_strength",),
        rare=True,
    )
    min_timestep: int = param(0, "lowest timestep to train; above 0 leaves out the finest details", ge=0, le=999)
    max_timestep: int = param(
        1000, "highest timestep to train, exclusive; below 1000 leaves out the coarsest shapes", ge=1, le=1000
    )

    def problems(self) -> Iterator[Problem]:
        if self.min_timestep >= self.max_timestep:
            what = f"no timestep is left between {self.min_timestep} and {self.max_timestep}."
            yield Problem(what, cure="Set min_timestep below max_timestep.", path=("min_timestep",))
        if self.offset and self.multires_iterations:
            what = "noise offset and multires noise have the same purpose, and together too strong an effect."
            yield Problem(what, cure="Set one of them to 0.", path=("offset",))
        if self.multires_discount != MULTIRES_DISCOUNT and not self.multires_iterations:
            what = "has no effect without multires noise."
            yield Problem(
                what, cure="Set multires_iterations, or remove multires_discount.", path=("multires_discount",)
            )
        if self.offset_adaptive and not self.offset:
            what = "has no effect without offset."
            yield Problem(what, cure="Set offset, or remove offset_adaptive.", path=("offset_adaptive",))
        for name in ("offset", "perturbation"):
            if getattr(self, f"{name}_random") and not getattr(self, name):
                what = f"{name}_random draws strengths up to {name}, which is 0."
                yield Problem(what, cure=f"Set {name}, or remove {name}_random.", path=(f"{name}_random",))

    def draw(self, seed: int, step: int, samples: range, clean: torch.Tensor, diffusion: Diffusion) -> NoiseDraw:
        """Draw noise and timesteps for samples of an update with clean latents (B, C, h, w); see `noise.draw`.

        They are functions of (seed, step, sample), and of the latents if the offset is adaptive.
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
