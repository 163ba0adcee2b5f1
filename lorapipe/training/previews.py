"""Previews: pictures generated during a training. They do not affect it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.atomic import replacing
from lorapipe.evaluation.sampler import Sampler, SamplingOptions
from lorapipe.models import Model
from lorapipe.pipeline.events import Log, Preview

if TYPE_CHECKING:
    from lorapipe.pipeline.context import Context


@dataclass(frozen=True)
class Previews:
    """Generates `prompts`, each from the same noise every time. `rates` are the learning rates of the trained parts."""

    model: Model
    prompts: tuple[str, ...]
    options: SamplingOptions
    rates: Mapping[str, float]
    context: Context

    def paint(self, step: int) -> None:
        """Generate the previews after `step`. A failed preview only logs a warning."""
        try:
            sampler = Sampler(self.model, self.options, self.context.emit)
            sampler.read(self.prompts, len(self.prompts))
            for seed, prompt in enumerate(self.prompts):
                picture = sampler.pictures([prompt], [seed], self.context.check)[0]
                path = self.context.resume / "previews" / f"step-{step:06d}-{seed + 1}.png"
                with replacing(path, synced=False) as part:
                    picture.save(part, format="PNG")
                self.context.emit(Preview(path=str(path), caption=f"step {step}: {prompt}"))
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            self.context.emit(Log(text=f"no preview at step {step}: {reason}", level="warning"))
        finally:
            needed = self.rates.keys() - {self.model.denoiser}  # training encodes captions at each step
            self.model.release("vae", *(() if needed else self.model.text_encoders))
