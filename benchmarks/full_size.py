"""Builds a full-size base of any family with random weights, as a diffusers folder, for benchmarks without downloads.

    python benchmarks/full_size.py sdxl FOLDER

The weights are scaled so that no layer diverges; the cost of a training does not depend on them. The tokenizer is the pocket
base's, whose smaller vocabulary fits.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import torch

from lorapipe import pocket
from lorapipe.models import Family
from lorapipe.models._parts import Parts
from lorapipe.models._stable_diffusion import StableDiffusion
from lorapipe.models._unet import LatentDiffusion
from lorapipe.models._weight_files import SingleFile


def empty(family: type[StableDiffusion]) -> LatentDiffusion:
    """Return a full-size base without weights, for bf16."""
    return family.model(Parts(SingleFile(Path("none"), family.known, family.model.texts)), "meta", "bf16")


def filled(module: Any, device: str) -> Any:
    """Materialise a module of the meta device on `device`, with random half-precision weights."""
    module = module.to_empty(device=device).to(torch.float16)
    for name, tensor in module.state_dict().items():
        if tensor.dim() > 1:
            tensor.normal_(0, tensor[0].numel() ** -0.5)
        elif tensor.is_floating_point():
            tensor.fill_(float(name.endswith("weight")))  # norms
        else:
            tensor.copy_(torch.arange(tensor.numel()).view_as(tensor))  # positions
    return module


def build(name: str, folder: Path) -> dict[str, Any]:
    """Write the base, and return its parts."""
    assert Family.registry is not None
    family = Family.registry.get(name)
    assert issubclass(family, StableDiffusion)
    model, device = empty(family), "cuda:0" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    parts = {}
    for part in ("unet", "vae", *(text.name for text in model.texts)):
        parts[part] = filled(model.skeleton(part), device)
        parts[part].save_pretrained(folder / part)
    model.scheduler().save_pretrained(folder / "scheduler")
    for text in model.texts:
        shutil.copytree(pocket.BASE / "tokenizer", folder / text.tokenizer, dirs_exist_ok=True)
    return parts


def main() -> None:
    """Build the base."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    build(options.family, options.folder)


if __name__ == "__main__":
    main()
