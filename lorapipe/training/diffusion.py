"""The diffusion process of a base model: noise schedule, timesteps, prediction target, solver.

The forward process is x_t = α(t)·x₀ + σ(t)·ε, with x₀ a clean latent and ε ~ N(0, I); the network predicts a linear
combination of x₀ and ε. SNR(t) = α²/σ² (Kingma et al. 2021, arXiv:2107.00630). Training and sampling use the same object,
so they cannot disagree (as k-diffusion's `layers.Denoiser`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, ClassVar

import torch
from torch import Tensor

from lorapipe.training.solver_names import SolverName

Weights = Callable[[Tensor], Tensor]
"""Signal-to-noise ratios (B,) → weights (B,)."""
FLOW_TIMESTEPS = 1000
"""t of a flow model goes from 0 (clean) to this (pure noise); σ = t / 1000 (Esser et al. 2024)."""


class Solver:
    """A deterministic sampler: a diffusers scheduler with its timesteps set."""

    def __init__(self, scheduler: Any, steps: int, device: torch.device) -> None:
        scheduler.set_timesteps(steps, device=device)
        self.scheduler = scheduler
        self.timesteps: Tensor = scheduler.timesteps
        """t of each step, (steps,), descending."""

    def start(self, noise: Tensor) -> Tensor:
        """Scale standard normal noise to the initial latents."""
        return noise * getattr(self.scheduler, "init_noise_sigma", 1.0)

    def start_from(self, clean: Tensor, noise: Tensor, denoise: float) -> Tensor:
        """Mix clean latents with noise, and skip the timesteps before: SDEdit, also called img2img.

        `denoise` is the share of the timesteps that is left, above 0 to 1 (Meng et al. 2022, arXiv:2108.01073; as
        diffusers' `StableDiffusionImg2ImgPipeline` counts them). At 1 nothing is left of the clean latents.
        """
        if denoise >= 1:
            return self.start(noise)
        steps = len(self.timesteps)
        first = steps - max(1, min(int(steps * denoise), steps))
        if hasattr(self.scheduler, "set_begin_index"):  # DDIM's steps know no others
            self.scheduler.set_begin_index(first)
        self.timesteps = self.timesteps[first:]
        mix = getattr(self.scheduler, "scale_noise", None)
        if mix is not None:
            found: Tensor = mix(clean, self.timesteps[:1], noise)
        else:
            found = self.scheduler.add_noise(clean, noise, self.timesteps[:1].expand(len(clean)))
        return found

    def scaled(self, latents: Tensor, t: Tensor) -> Tensor:
        """Scale latents to the network's input at `t`."""
        scale = getattr(self.scheduler, "scale_model_input", None)
        return latents if scale is None else scale(latents, t)

    def step(self, output: Tensor, t: Tensor, latents: Tensor) -> Tensor:
        """Return the latents after the step from `t` to the next timestep."""
        after: Tensor = self.scheduler.step(output, t, latents).prev_sample
        return after


class Diffusion(ABC):
    """A process x_t = α(t)·x₀ + σ(t)·ε, and what the network predicts of it.

    Latents are (B, C, h, w); `t` is (B,), integers in a discrete schedule, real numbers in a flow.
    """

    prediction: ClassVar[str]
    """What the network predicts, by its name in metadata: `epsilon`, `v_prediction` or `flow`."""
    zero_terminal_snr: bool = False
    """Whether a discrete schedule was rescaled to end in pure noise  (Lin et al. 2023, arXiv:2305.08891)."""

    @abstractmethod
    def draw(self, generator: torch.Generator, low: int, high: int, shape: Sequence[int]) -> Tensor:
        """Draw t for one sample: 0-dimensional, on the CPU.

        `low` to `high`, within 0 … 1000, is the range of training timesteps; `shape` (C, h, w) is the latent's, for
        schedules that depend on it.
        """

    @abstractmethod
    def at(self, share: float) -> Tensor:
        """Return t at this share, 0 … 1, of the way to pure noise; 0-dimensional."""

    @abstractmethod
    def mix(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return x_t."""

    @abstractmethod
    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return the network's target for x_t."""

    @abstractmethod
    def snr(self, t: Tensor) -> Tensor:
        """Return α²/σ² of each sample, (B,)."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Return σ/α of each sample, (B,): the noise level of Karras et al. (2022, arXiv:2206.00364)."""

    @abstractmethod
    def share(self, t: Tensor) -> Tensor:
        """Return how far t is on the way to pure noise, (B,), 0 … 1: the inverse of `at`."""

    @abstractmethod
    def epsilon_share(self, t: Tensor) -> Tensor:
        """Return ‖Δε‖² / ‖Δoutput‖², (B,): the squared error of the implied ε per squared error of the output."""

    def weight(self, t: Tensor, epsilon: Weights, v: Weights) -> Tensor:
        """Return the weights (B,) of the output's squared error, from those for ε, or for v if the network predicts v."""
        return epsilon(self.snr(t)) * self.epsilon_share(t)

    @abstractmethod
    def solver(self, name: SolverName, steps: int, device: torch.device, shape: Sequence[int]) -> Solver:
        """Return a sampler with this number of steps for latents of `shape` (C, h, w).

        `dpm++` is DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095) on Karras' noise levels, the usual choice; `ddim`
        (Song et al. 2021, arXiv:2010.02502) with η = 0; `euler` (Karras et al. 2022, algorithm 1).
        """


@dataclass(frozen=True, eq=False)
class Discrete(Diffusion):
    """The variance-preserving process in T steps: α = √ᾱ_t, σ = √(1 − ᾱ_t)  (Ho et al. 2020, arXiv:2006.11239, eq. 4)."""

    alphas_cumprod: Tensor
    """ᾱ_t, shape (T,), float32, on the model's device."""
    schedule: Mapping[str, Any] = field(default_factory=dict)
    """The configuration of a diffusers scheduler, for sampling."""

    @property
    def zero_terminal_snr(self) -> bool:  # type: ignore[override]
        return bool(self.alphas_cumprod[-1] == 0)

    def draw(self, generator: torch.Generator, low: int, high: int, shape: Sequence[int]) -> Tensor:
        """Draw uniformly from the timesteps of the range."""
        stop = min(high, len(self.alphas_cumprod))
        return torch.randint(min(low, stop - 1), stop, (), generator=generator)

    def at(self, share: float) -> Tensor:
        return torch.tensor(int(share * len(self.alphas_cumprod)))

    def mix(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        alpha_bar = _like(self.alphas_cumprod[t], clean)
        return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise

    def snr(self, t: Tensor) -> Tensor:
        alpha_bar = self.alphas_cumprod[t]
        return alpha_bar / (1 - alpha_bar)

    def sigma(self, t: Tensor) -> Tensor:
        alpha_bar = self.alphas_cumprod[t]
        return ((1 - alpha_bar) / alpha_bar).sqrt()

    def share(self, t: Tensor) -> Tensor:
        return t / len(self.alphas_cumprod)

    def solver(self, name: SolverName, steps: int, device: torch.device, shape: Sequence[int]) -> Solver:
        from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler

        if name == "ddim":
            scheduler = scheduler_from_config(DDIMScheduler, self.schedule)
        elif name == "euler":
            scheduler = scheduler_from_config(EulerDiscreteScheduler, self.schedule)
        else:
            dpm = {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}
            scheduler = scheduler_from_config(DPMSolverMultistepScheduler, {**self.schedule, **dpm})
        return Solver(scheduler, steps, device)


class EpsilonPrediction(Discrete):
    """The network predicts the noise."""

    prediction = "epsilon"

    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return noise

    def epsilon_share(self, t: Tensor) -> Tensor:
        return torch.ones_like(self.alphas_cumprod[t])

    def weight(self, t: Tensor, epsilon: Weights, v: Weights) -> Tensor:
        return epsilon(self.snr(t))


class VPrediction(Discrete):
    """The network predicts v = √ᾱ_t · ε − √(1 − ᾱ_t) · x₀  (Salimans & Ho 2022, arXiv:2202.00512, app. D)."""

    prediction = "v_prediction"

    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        alpha_bar = _like(self.alphas_cumprod[t], clean)
        return alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * clean

    def epsilon_share(self, t: Tensor) -> Tensor:
        snr = self.snr(t)
        return snr / (snr + 1)

    def weight(self, t: Tensor, epsilon: Weights, v: Weights) -> Tensor:
        return v(self.snr(t))


PREDICTIONS: Mapping[str, type[Discrete]] = {kind.prediction: kind for kind in (EpsilonPrediction, VPrediction)}
"""Processes with a discrete schedule, by diffusers' `prediction_type`."""


def discrete(prediction: str, alphas_cumprod: Tensor, schedule: Mapping[str, Any] | None = None) -> Discrete:
    """Return the discrete process of a network that predicts `prediction`. ValueError if that is unknown."""
    if prediction not in PREDICTIONS:
        raise ValueError(f"prediction_type is {prediction}; it must be {' or '.join(PREDICTIONS)}")
    return PREDICTIONS[prediction](alphas_cumprod, schedule or {})


@dataclass(frozen=True, eq=False)
class Flow(Diffusion):
    """Straight paths from pictures to noise: α = 1 − σ, σ = t / 1000; the network predicts ε − x₀.

    Rectified flow (Liu et al. 2023, arXiv:2209.03003) as Esser et al. (2024, arXiv:2403.03206) train it: σ is drawn from a
    logit-normal distribution and then shifted towards noise; a subclass may shift more for larger pictures.
    """

    shift: float = 1.0
    """s in σ' = s·σ / (1 + (s − 1)·σ): 1 is no shift, SD3 uses 3."""
    prediction = "flow"

    def shift_for(self, shape: Sequence[int]) -> float:
        """Return the shift for latents of `shape` (C, h, w); here the same for all."""
        return self.shift

    def draw(self, generator: torch.Generator, low: int, high: int, shape: Sequence[int]) -> Tensor:
        """Draw logit-normally, shift, and scale into the range; at least 1 from a clean picture and from pure noise."""
        sigma, shift = torch.sigmoid(torch.randn((), generator=generator)), self.shift_for(shape)
        sigma = shift * sigma / (1 + (shift - 1) * sigma)
        return (low + sigma * (high - low)).clamp(1, FLOW_TIMESTEPS - 1)

    def at(self, share: float) -> Tensor:
        return torch.tensor(share * FLOW_TIMESTEPS)

    def mix(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        sigma = _like(self.share(t), clean)
        return (1 - sigma) * clean + sigma * noise

    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return noise - clean

    def snr(self, t: Tensor) -> Tensor:
        sigma = self.share(t)
        return ((1 - sigma) / sigma).square()

    def sigma(self, t: Tensor) -> Tensor:
        sigma = self.share(t)
        return sigma / (1 - sigma)

    def share(self, t: Tensor) -> Tensor:
        return t / FLOW_TIMESTEPS

    def epsilon_share(self, t: Tensor) -> Tensor:
        return (1 - self.share(t)).square()

    def solver(self, name: SolverName, steps: int, device: torch.device, shape: Sequence[int]) -> Solver:
        """Return a sampler; `ddim` and `euler` are both Euler's method, since they agree on straight paths."""
        from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

        shift = self.shift_for(shape)
        if name == "dpm++":
            flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift}
            return Solver(DPMSolverMultistepScheduler(algorithm_type="dpmsolver++", **flow), steps, device)
        return Solver(FlowMatchEulerDiscreteScheduler(shift=shift), steps, device)


def scheduler_from_config(kind: type[Any], config: Mapping[str, Any]) -> Any:
    """Return a diffusers scheduler of this class, equal to its `from_config(config)`.

    `from_config` imports all compatible schedulers, to learn which names they take, and SciPy with them: 0.8 s before a
    training starts.
    """
    unset = {*config.get("_use_default_values", ()), "_use_default_values"}
    given = {name: value for name, value in config.items() if name not in unset}
    known = {*signature(kind.__init__).parameters} - {"self"}
    scheduler = kind(**{name: value for name, value in given.items() if name in known})
    of_others = {name: value for name, value in given.items() if name not in known}
    if "_class_name" in of_others:
        of_others["_class_name"] = kind.__name__
    scheduler.register_to_config(**of_others)
    return scheduler


def _like(values: Tensor, tensor: Tensor) -> Tensor:
    """Reshape one value per sample, (B,), to broadcast with (B, …)."""
    return values.reshape(-1, *[1] * (tensor.ndim - 1))
