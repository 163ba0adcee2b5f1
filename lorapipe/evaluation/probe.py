"""The probe: the training's loss at fixed noise and timesteps, so that two snapshots can be compared.

The loss that a training shows is of random pictures at random timesteps, and jumps by more than it falls in an hour.
Here the pictures, the noise and the timesteps are the same for every snapshot, so that differences are the snapshot's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from lorapipe.evaluation.probe_losses import Probe
from lorapipe.models import PLAIN_READING, Condition, Model, TextReading
from lorapipe.series import evenly_spaced
from lorapipe.training.data.latents import encode_latents, load_latents, missing_latents, picture_view
from lorapipe.training.seeds import seed_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.training.caption_augment import Captioning
    from lorapipe.training.data.cache import Cache
    from lorapipe.training.data.latents import Scene
    from lorapipe.training.data.manifest import Manifest, Picture

PROBED = 8
"""Pictures probed, of the training and of the held-out ones each: enough to see a trend, few enough to take seconds."""
COMPARED = 64
"""Training pictures that samples are compared with, at most."""
ENOUGH_TRUE = 8
"""So many true pictures say what the subject is, and what its captions teach, without generated ones."""
TIMESTEPS = 5
"""At the middles of so many equal parts of the schedule: 100, 300 … 900 of 1000."""
BATCH = 8


@dataclass(frozen=True)
class Subject:
    """A picture to probe with: its clean latent (C, h, w), its caption, and what its noise is drawn from.

    `size_conditioning` is what the network is told of its shape: see `Model.size_conditioning`.
    """

    latent: torch.Tensor
    caption: str
    seed: int
    size_conditioning: Condition = field(default_factory=dict)


def losses(
    model: Model,
    subjects: Sequence[Subject],
    reading: TextReading = PLAIN_READING,
    levels: int = TIMESTEPS,
    conditions: Mapping[str, Condition] | None = None,
) -> torch.Tensor:
    """Mean squared error of the prediction, (pictures, levels), float64 on the CPU.

    Unweighted (Ho et al. 2020, eq. 14), at the middles of so many equal parts of the schedule. Latents of one shape go
    through the network together. `conditions` are captions that are encoded already. NaN where the model has broken down.
    """
    timesteps = [model.diffusion.at((2 * part + 1) / (2 * levels)) for part in range(levels)]
    found: dict[int, torch.Tensor] = {}
    with torch.inference_mode():
        for places in _batches(subjects):
            batch = [subjects[place] for place in places]
            condition = _condition(model, [each.caption for each in batch], reading, conditions)
            sizes = {
                name: torch.cat([each.size_conditioning[name] for each in batch]) for name in batch[0].size_conditioning
            }
            condition = {**condition, **sizes}
            clean = torch.stack([each.latent for each in batch]).to(model.device)
            columns = [_loss(model, batch, clean, timestep, condition) for timestep in timesteps]
            found |= dict(zip(places, torch.stack(columns, dim=1), strict=True))
    return torch.stack([found[place] for place in range(len(subjects))])


def _batches(subjects: Sequence[Subject]) -> Iterator[list[int]]:
    """Yield the places of subjects whose latents are of one shape, `BATCH` at most."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, subject in enumerate(subjects):
        by_shape.setdefault(tuple(subject.latent.shape), []).append(place)
    for places in by_shape.values():
        yield from (places[start : start + BATCH] for start in range(0, len(places), BATCH))


def _condition(
    model: Model, captions: Sequence[str], reading: TextReading, encoded: Mapping[str, Condition] | None
) -> Condition:
    if encoded is None:
        return model.encode_text(captions, reading)
    rows = [encoded[caption] for caption in captions]
    return {name: torch.cat([row[name] for row in rows]).to(model.device) for name in rows[0]}


def relative(found: torch.Tensor, base: torch.Tensor) -> tuple[float, ...]:
    """Each picture's loss as a share of the base's, (pictures,): every timestep counts the same, large losses or small."""
    return tuple(float(share) for share in (found / base).mean(dim=1))


def _loss(
    model: Model, batch: Sequence[Subject], clean: torch.Tensor, timestep: torch.Tensor, condition: Condition
) -> torch.Tensor:
    drawn = torch.stack([_noise(subject, int(timestep)) for subject in batch]).to(model.device)
    times = timestep.to(model.device).expand(len(batch))
    noisy = model.diffusion.mix(clean, drawn, times)
    error = model.predict(noisy, times, condition) - model.diffusion.target(clean, drawn, times)
    return error.double().square().flatten(1).mean(1).cpu()


def _noise(subject: Subject, timestep: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed_of("probe", subject.seed, timestep))
    return torch.randn(subject.latent.shape, generator=generator)


# ------------------------------------------------------------------------------------------------- of a whole dataset


class Prober:
    """Probes a model, with whatever adapter is in it, on some pictures of a dataset. Ask for `base` before one is attached.

    Latents that the cache lacks are encoded at once. `captioning` says how captions are augmented; the probe takes their
    canonical form. `reading` is the training's.
    """

    def __init__(
        self,
        model: Model,
        manifest: Manifest,
        scene: Scene,
        cache: Cache,
        captioning: Captioning,
        reading: TextReading,
    ) -> None:
        self.model = model
        self.reading = reading
        self._training = evenly_spaced(manifest.training, PROBED)
        self._held_out = evenly_spaced(manifest.held_out, PROBED)
        chosen = [*self._training, *self._held_out]
        for _ in encode_latents(missing_latents(chosen, cache), scene, model, cache):
            pass
        self._subjects = {picture.path: subject_of(picture, cache, model, captioning) for picture in chosen}

    @property
    def base(self) -> Probe:
        """The probe of the base: 1 everywhere."""
        return self._relative(self._base)

    def __call__(self) -> Probe:
        """The probe of the model as it is now."""
        return self._relative(self._losses())

    @cached_property
    def _base(self) -> dict[str, torch.Tensor]:
        return self._losses()

    def _relative(self, found: Mapping[str, torch.Tensor]) -> Probe:
        def shares(pictures: Iterable[Picture]) -> tuple[float, ...]:
            paths = [picture.path for picture in pictures]
            return relative(_stacked(found, paths), _stacked(self._base, paths)) if paths else ()

        return Probe(shares(self._training), shares(self._held_out))

    def _losses(self) -> dict[str, torch.Tensor]:
        """The losses of each picture by its path."""
        rows = losses(self.model, [*self._subjects.values()], self.reading)
        return dict(zip(self._subjects, rows, strict=True))


def _stacked(found: Mapping[str, torch.Tensor], paths: Sequence[str]) -> torch.Tensor:
    return torch.stack([found[path] for path in paths])


def subject_of(picture: Picture, cache: Cache, model: Model, captioning: Captioning) -> Subject:
    """Return a picture for the probe, with its canonical caption and a noise of its own; its latent must be cached."""
    latent = load_latents([picture], cache)[0]
    sizes = model.size_conditioning(picture.size, picture.crop, picture.bucket)
    return Subject(latent, captioning.canonical(picture.caption), int(picture.digest[:12], 16), sizes)


def training_pictures(manifest: Manifest, scene: Scene) -> list[Image]:
    """The training pictures as the trainer saw them, evenly chosen where there are many."""
    return [picture_view(scene.images, each, scene.background) for each in compared(manifest)]


def compared(manifest: Manifest) -> list[Picture]:
    """The training pictures that samples are compared with, evenly chosen where there are many.

    Generated ones only where true ones are few: a LoRA that learns from pictures of its own is to be like the true ones.
    """
    true = [each for each in manifest.training if not each.generated]
    return evenly_spaced(true if len(true) >= ENOUGH_TRUE else manifest.training, COMPARED)
