"""Stages whose results no stage of lorapipe makes yet: a base model, and weights without a training."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.models import Family
from lorapipe.pipeline.artifacts import Artifact, Base, Snapshot, Weights
from lorapipe.pipeline.context import Context
from lorapipe.spec import param
from lorapipe.stages import Stage


@dataclass(frozen=True)
class CopiedBase(Stage):
    """Makes a base by copying one, like a merge with nothing."""

    makes: ClassVar[type[Artifact]] = Base
    base: Family = param(help="the base to copy")

    def run(self, context: Context) -> Base:
        shutil.copytree(self.base.checkpoint.path, context.out / "base")
        return Base(context.out / "base")


@dataclass(frozen=True)
class DrawnWeights(Stage):
    """Makes a LoRA with random weights, in place of an extraction."""

    makes: ClassVar[type[Artifact]] = Weights
    base: Family = param(help="the base that it is for")

    def run(self, context: Context) -> Weights:
        import torch

        from lorapipe import formats
        from lorapipe.formats.kohya import Kohya
        from lorapipe.training.adapters.lora import LoRA

        model = self.base.load("cpu")
        attached = LoRA(rank=2).attach(model, model.trainable)
        generator = torch.Generator().manual_seed(3)
        for parameter in (each for found in attached.parameters().values() for each in found):
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
        formats.save(attached.learned(), model.kohya_names(), context.out / "drawn.safetensors", Kohya())
        return Weights((Snapshot(0, 0, context.out / "drawn.safetensors"),), base=self.base)
