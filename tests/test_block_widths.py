"""Ranks and rates by block of the U-Net, like kohya's block_dims and block_lr."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from lorapipe.errors import InputError
from lorapipe.metadata import kohya_metadata
from lorapipe.models import Model
from lorapipe.models._parts import Parts
from lorapipe.models._sdxl_model import SDXLModel
from lorapipe.models._unet import LatentDiffusion
from lorapipe.models._weight_files import SingleFile
from lorapipe.models.sd15 import CONFIGURATION, SD15
from lorapipe.models.sdxl import CONFIGURATION as SDXL
from lorapipe.spec import Duration
from lorapipe.stages.train import Train
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.interval import Interval
from lorapipe.training.optimizers.prodigy import Prodigy
from lorapipe.training.trainer import Trainer
from lorapipe.training_record import TrainingRecord

PARTS = ("unet", "text_encoder")


def test_blocks_are_counted_as_kohya_counts_them() -> None:
    sd15 = LatentDiffusion(Parts(SingleFile(Path("none"), CONFIGURATION)), "cpu", "fp32")
    assert sd15.blocks == 25
    assert {ref.block for ref in sd15.targets("unet", convolutions=True)} == set(range(1, 25))
    places = {
        "down_blocks.0.attentions.0.proj_in": 1, "down_blocks.2.downsamplers.0.conv": 9,
        "mid_block.attentions.0.proj_in": 12, "up_blocks.0.resnets.0.conv1": 13, "up_blocks.3.attentions.2.proj_out": 24,
    }  # fmt: skip
    assert {path: sd15.block(path) for path in places} == places
    sdxl = SDXLModel(Parts(SingleFile(Path("none"), SDXL)), "cpu", "fp32")
    assert sdxl.blocks == 23
    assert {ref.block for ref in sdxl.targets("unet", convolutions=True)} == set(range(2, 22))
    assert sdxl.block("mid_block.attentions.0.proj_in") == 11
    assert sdxl.block("up_blocks.0.attentions.0.proj_in") == 13


def ranks_of(model: Model) -> tuple[int, ...]:
    return tuple(number % 4 for number in range(model.blocks))


def test_ranks_by_block(model: Model) -> None:
    ranks = ranks_of(model)
    attached = LoRA(rank=7, alpha=2, block_ranks=ranks).attach(model, PARTS)
    learnt = attached.learned().modules
    attached.detach()
    for part, path in learnt:
        width = learnt[part, path].tensors["down"].shape[0]
        assert width == (7 if part == "text_encoder" else ranks[model.block(path)])
        assert learnt[part, path].alpha == 2
    left_out = {ref.path for ref in model.targets("unet") if ranks[ref.block or 0] == 0}
    assert left_out and not left_out & {path for _, path in learnt}


def test_larger_convolutions_keep_their_rank(model: Model) -> None:
    attached = LoCon(rank=7, conv_rank=3, block_ranks=ranks_of(model)).attach(model, ("unet",))
    learnt = attached.learned().modules
    attached.detach()
    large = [module.tensors["down"] for module in learnt.values() if module.tensors["down"].shape[2:] == (3, 3)]
    assert large and all(down.shape[0] == 3 for down in large)
    assert all(ranks_of(model)[model.block(path)] for _, path in learnt)


def test_alphas_by_block_and_ranks_of_larger_convolutions(model: Model) -> None:
    ranks, alphas = (4,) * model.blocks, tuple(1.0 + number % 3 for number in range(model.blocks))
    wide, scales = tuple(2 + number % 2 for number in range(model.blocks)), (0.0,) * model.blocks
    spec = LoCon(block_ranks=ranks, block_alphas=alphas, conv_block_ranks=wide, conv_block_alphas=scales)
    assert not list(spec.problems())
    attached = spec.attach(model, ("unet",))
    learnt = attached.learned().modules
    attached.detach()
    for (_, path), module in learnt.items():
        down, block = module.tensors["down"], model.block(path)
        large = down.shape[2:] == (3, 3)
        assert down.shape[0] == (wide[block] if large else 4)
        assert module.alpha == (wide[block] if large else alphas[block]), "0 means the rank"


def test_alphas_are_held_against_the_ranks_of_their_blocks() -> None:
    def places(**knobs: Any) -> list[tuple[str | int, ...]]:
        return [problem.path for problem in LoCon(rank=8, conv_rank=8, **knobs).problems()]

    assert places(alpha=8, block_ranks=(8, 0, 16)) == []
    assert places(alpha=8, block_ranks=(8, 4, 16)) == [("alpha",)]
    assert places(conv_alpha=4, conv_block_ranks=(2,)) == [("conv_alpha",)]
    assert places(alpha=9, block_ranks=(16, 16), block_alphas=(8, 17)) == [("alpha",), ("block_alphas",)]
    assert places(block_ranks=(8, 8), block_alphas=(8,)) == [("block_alphas",)]
    assert places(block_alphas=(8,)) == [("block_alphas",)], "without ranks they would mean nothing"
    assert places(alpha=9, conv_alpha=9, force_alpha=True) == []


def test_lora_plus_of_the_text_encoder_alone(model: Model) -> None:
    attached = LoRA(rank=2, lora_plus=4, lora_plus_text_encoder=2).attach(model, PARTS)
    factors = attached.rate_factors()
    for (part, _), module in attached.layers.items():  # type: ignore[attr-defined]
        assert factors[id(module.lora_up.weight)] == (4 if part == "unet" else 2)
    attached.detach()
    assert LoRA(lora_plus_text_encoder=2).has_rates_of_its_own and not LoRA().has_rates_of_its_own


def test_rates_by_block_multiply_those_of_lora_plus(model: Model) -> None:
    rates = tuple(0.5 * (number % 3) for number in range(model.blocks))
    attached = LoRA(rank=2, lora_plus=4, block_rates=rates).attach(model, PARTS)
    factors = attached.rate_factors()
    for (part, path), module in attached.layers.items():  # type: ignore[attr-defined]
        factor = 1.0 if part == "text_encoder" else rates[model.block(path)]
        assert factors[id(module.lora_down.weight)] == factor
        assert factors[id(module.lora_up.weight)] == 4 * factor
    attached.detach()


def test_another_number_of_blocks_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match=f"3 numbers, but the blocks of this base are {model.blocks}"):
        LoRA(block_ranks=(1, 2, 3)).attach(model, PARTS)


def test_another_number_of_blocks_is_told_before_anything_runs(tmp_path: Path) -> None:
    base = SD15.tiny(tmp_path)
    [problem] = LoRA(block_ranks=(1, 2, 3), block_rates=(1.0,) * 9).objections(base)
    assert problem.path == ("block_ranks",) and "are 9" in problem.what
    assert not [*LoRA(block_ranks=(4,) * 9).objections(base), *LoRA().objections(base)]


def test_a_training_with_both(tmp_path: Path, model: Model) -> None:
    ranks = tuple(2 + number % 2 for number in range(model.blocks))
    rates = tuple(1.0 if number < model.blocks // 2 else 0.25 for number in range(model.blocks))
    dataset, bench = tiny.dataset(tmp_path), tiny.Bench(tmp_path)
    adapter = LoRA(rank=2, block_ranks=ranks, block_rates=rates)
    train = Train(dataset=dataset, adapter=adapter, steps=Duration(3), snapshots=Interval(1), unet_lr=1e-3)
    steps = Trainer.build(train, bench.context("train")).steps()
    step = next(steps)
    assert step.rates["unet"] == 1e-3 and step.rates["unet ×0.25"] == 2.5e-4
    steps.close()
    weights = train.run(bench.context("again"))
    told = kohya_metadata(TrainingRecord.load(weights.training), "", 3, 1, "full")
    assert '"block_dims": "2,3,' in told["ss_network_args"]
    assert torch.isfinite(step.loss)
    refused = Train(dataset=dataset, adapter=adapter, optimizer=Prodigy())
    assert ("adapter",) in [problem.path for problem in refused.problems()]
