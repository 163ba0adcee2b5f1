"""Pictures from a base and whatever adapter is in it.

The network is asked through `Model.predict` and captions are read through `Model.encode_text`, exactly as in training
(same chunks, same clip skip); the schedule, the VAE and the size of latents are the model's own.
Classifier-free guidance is Ho & Salimans' (2022, arXiv:2207.12598), written as in every Stable Diffusion:
ε = ε(∅) + cfg · (ε(prompt) − ε(∅)).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.evaluation.graphed_denoiser import GraphedDenoiser
from lorapipe.models import TextReading

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from lorapipe.models import Condition, Model
    from lorapipe.pipeline.events import Event
    from lorapipe.training.diffusion import Solver
    from lorapipe.training.solver_names import SolverName


@dataclass(frozen=True)
class SamplingOptions:
    """How pictures are sampled. `size` is (width, height) in pixels; `cfg` 1 is without guidance.

    `clip_skip` and `weighted` are the training's, `max_tokens` the most that is read of a prompt: see `TextReading`. A
    short prompt is read in one chunk, as other programs do, however many the training had.
    """

    size: tuple[int, int]
    steps: int = 25
    cfg: float = 7.0
    solver: SolverName = "dpm++"
    negative: str = ""
    max_tokens: int = 75
    clip_skip: int = 1
    weighted: bool = False


@dataclass(frozen=True, eq=False)
class Start:
    """What pictures begin at instead of pure noise (img2img): latents (B, C, h, w), mixed with noise as far as `denoise`,
    above 0 (the pictures themselves) to 1 (pure noise)."""

    latents: torch.Tensor
    denoise: float

    def mixed(self, solver: Solver, noise: torch.Tensor) -> torch.Tensor:
        """The latents at the first timestep that is left of the solver's."""
        return solver.start_from(self.latents.to(noise), noise, self.denoise)


class Sampler:
    """Samples pictures of one recipe. Makes nothing that outlives it but the model's own parts.

    `emit` is told if the network cannot be a CUDA graph; `denoiser` asks the network, by default as one where it can be.
    """

    def __init__(
        self,
        model: Model,
        recipe: SamplingOptions,
        emit: Callable[[Event], None] = lambda event: None,
        denoiser: GraphedDenoiser | None = None,
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.emit = emit
        self._denoiser = denoiser or GraphedDenoiser(model, emit)
        self._conditions: dict[str, Condition] = {}

    def read(self, prompts: Sequence[str], batches: int = 1) -> None:
        """Encode the prompts with the text encoder as it is now; call again when the adapter has changed.

        `batches` is how often pictures will be asked for before that.
        """
        import torch

        self._denoiser.expect(batches * self.recipe.steps)
        texts, recipe = list(dict.fromkeys([*prompts, self.recipe.negative])), self.recipe
        reading = TextReading(self._longest(texts), recipe.clip_skip, recipe.weighted)
        with torch.inference_mode():
            both = self.model.encode_text(texts, reading)
        self._conditions = {
            text: {name: tensor[place : place + 1] for name, tensor in both.items()} for place, text in enumerate(texts)
        }

    def _longest(self, texts: Sequence[str]) -> int:
        """The tokens of the longest text, in whole chunks, within the recipe's limit."""
        most = max(map(self.model.token_count, texts))
        chunks = max(1, math.ceil(most / self.model.tokens))
        return min(chunks * self.model.tokens, self.recipe.max_tokens)

    def pictures(
        self, prompts: Sequence[str], seeds: Sequence[int], check: Callable[[], None], start: Start | None = None
    ) -> list[Image]:
        """A picture for each prompt and its seed, all at once; `check` is called before each step and may raise."""
        import torch

        with torch.inference_mode():
            return [decoded(self.model, latent) for latent in self.latents(prompts, seeds, check, start)]

    def latents(
        self, prompts: Sequence[str], seeds: Sequence[int], check: Callable[[], None], start: Start | None = None
    ) -> torch.Tensor:
        """The latents (B, C, h, w) of these pictures, as the VAE would encode them. Called within inference mode.

        With `start` they begin at other pictures' latents.
        """
        recipe, model = self.recipe, self.model
        guided = recipe.cfg != 1
        texts = [recipe.negative] * len(prompts) + list(prompts) if guided else list(prompts)
        condition = self._condition(texts)
        noise = self.noise(seeds).to(model.device)
        solver = model.diffusion.solver(recipe.solver, recipe.steps, model.device, noise.shape[1:])
        latents = solver.start(noise) if start is None else start.mixed(solver, noise)
        for timestep in solver.timesteps:
            check()
            both = torch_cat([latents, latents]) if guided else latents
            both = solver.scaled(both, timestep)
            output = self._denoiser(both, timestep.expand(len(both)), condition)
            if guided:
                without, with_prompt = output.chunk(2)
                output = without + recipe.cfg * (with_prompt - without)
            else:
                output = output.clone()  # solvers may keep it beyond the next call
            latents = solver.step(output, timestep, latents)
        return latents

    def _condition(self, texts: Sequence[str]) -> Condition:
        found: list[Mapping[str, torch.Tensor]] = [self._conditions[text] for text in texts]
        return {name: torch_cat([each[name] for each in found]) for name in found[0]}

    def noise(self, seeds: Sequence[int]) -> torch.Tensor:
        """Initial noise (B, C, h, w), each a function of its seed alone: drawn on the CPU, alike for every device."""
        import torch

        shape = self.model.latent_shape(self.recipe.size)
        return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def decoded(model: Model, latent: torch.Tensor) -> Image:
    """The picture of a latent (C, h, w): one at a time, since a batch of 512 px is what small cards run out of memory on."""
    from PIL import Image

    pixels = model.decode(latent[None])[0].nan_to_num(-1.0)
    levels = (pixels * 0.5 + 0.5).clamp(0, 1).cpu().permute(1, 2, 0).float().numpy()
    return Image.fromarray((levels * 255).round().astype("uint8"))


def torch_cat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """torch.cat, torch being imported late."""
    import torch

    return torch.cat(list(tensors))
