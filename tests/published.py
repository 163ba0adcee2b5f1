"""Bases of the published size without weights: names and shapes are all that naming an adapter's file needs."""

from __future__ import annotations

import json
from pathlib import Path

from lorapipe.models import Checkpoint, Family
from lorapipe.models._stable_diffusion import StableDiffusion
from lorapipe.models._unet import LatentDiffusion


def base(family: str, folder: Path) -> StableDiffusion:
    """A family's base as a diffusers folder that holds configurations alone."""
    assert Family.registry is not None
    kind = Family.registry.get(family)
    assert issubclass(kind, StableDiffusion)
    for part, configuration in kind.known.items():
        (folder / part).mkdir(parents=True)
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / name).write_text(json.dumps(configuration), encoding="utf-8")
    return kind(checkpoint=Checkpoint(folder))


def model(base: StableDiffusion) -> LatentDiffusion:
    """The base with its trainable parts on the meta device."""
    loaded = base.load("cpu")
    for part in loaded.trainable:
        loaded._parts[part] = loaded.skeleton(part).requires_grad_(False)
    return loaded
