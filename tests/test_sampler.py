"""Sampling: the pictures that other programs make from the same base, prompt and noise, and nothing left to chance."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL.Image import Image

from lorapipe.evaluation.sampler import Sampler, SamplingOptions
from lorapipe.models import Model
from lorapipe.training.solver_names import SolverName
from pipelines import pipeline_of

RECIPE = SamplingOptions(size=(64, 64), steps=4, cfg=4.0, solver="ddim", negative="blue")
PROMPTS = ["red, round", "a green one"]


def nothing() -> None:
    pass


def take(model: Model, recipe: SamplingOptions, prompts: list[str], seeds: list[int]) -> list[np.ndarray]:
    sampler = Sampler(model, recipe)
    sampler.read(prompts)
    return [array(picture) for picture in sampler.pictures(prompts, seeds, nothing)]


def array(picture: Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


@pytest.mark.parametrize("solver", ["dpm++", "ddim", "euler"])
@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_diffusers_own_pipeline_makes_the_same_picture(model: Model, solver: SolverName, cfg: float) -> None:
    recipe = dataclasses.replace(RECIPE, solver=solver, cfg=cfg)
    ours = take(model, recipe, PROMPTS, [5, 6])
    pipeline = pipeline_of(model)
    pipeline.scheduler = model.diffusion.solver(solver, 4, model.device, (4, 8, 8)).scheduler
    noise = Sampler(model, recipe).noise([5, 6])  # diffusers scales it by the solver's own first sigma
    theirs = pipeline(
        PROMPTS, negative_prompt=["blue", "blue"], latents=noise, num_inference_steps=4, guidance_scale=cfg,
        height=64, width=64,
    ).images  # fmt: skip
    for mine, picture in zip(ours, theirs, strict=True):
        assert np.abs(mine - array(picture)).max() <= 1  # of 255: one rounding


def test_a_picture_depends_on_its_own_seed_and_prompt_alone(model: Model) -> None:
    together = take(model, RECIPE, PROMPTS, [5, 6])
    alone = take(model, RECIPE, PROMPTS[1:], [6])
    assert np.abs(together[1] - alone[0]).max() <= 1
    assert np.abs(together[0] - together[1]).max() > 10
    assert np.abs(take(model, RECIPE, PROMPTS[1:], [7])[0] - alone[0]).max() > 10


def test_sizes_are_width_and_height(model: Model) -> None:
    (picture,) = take(model, dataclasses.replace(RECIPE, size=(64, 96)), ["red"], [0])
    assert picture.shape == (96, 64, 3)


def test_the_negative_prompt_and_guidance_matter(model: Model) -> None:
    plain = take(model, RECIPE, ["red"], [1])[0]
    assert not np.array_equal(plain, take(model, dataclasses.replace(RECIPE, negative=""), ["red"], [1])[0])
    assert not np.array_equal(plain, take(model, dataclasses.replace(RECIPE, cfg=2.0), ["red"], [1])[0])


def test_weights_are_obeyed_where_the_training_had_them(model: Model) -> None:
    prompts = ["(red:1.5), round", "red, round"]
    obeyed = take(model, dataclasses.replace(RECIPE, weighted=True), prompts, [1, 1])
    spelled = take(model, RECIPE, prompts, [1, 1])
    assert np.array_equal(obeyed[1], spelled[1]) and not np.array_equal(obeyed[0], spelled[0])
    assert not np.array_equal(obeyed[0], obeyed[1])


def test_a_long_prompt_is_read_to_its_end_where_training_was(model: Model) -> None:
    start = ", ".join(["red"] * 60)
    ends = [f"{start}, blue sky", f"{start}, green room"]
    longer = dataclasses.replace(RECIPE, max_tokens=225)
    cut, whole = take(model, RECIPE, ends, [1, 1]), take(model, longer, ends, [1, 1])
    assert np.array_equal(cut[0], cut[1])  # 75 tokens: the ends were not read
    assert not np.array_equal(whole[0], whole[1])


def test_stopping_is_asked_before_every_step(model: Model) -> None:
    class Stop(Exception):
        pass

    asked = iter([None, None, Stop()])

    def check() -> None:
        if (answer := next(asked)) is not None:
            raise answer

    sampler = Sampler(model, RECIPE)
    sampler.read(["red"])
    with pytest.raises(Stop):
        sampler.pictures(["red"], [0], check)
    assert torch.is_grad_enabled()


def test_a_picture_too_large_for_the_memory_is_decoded_in_tiles(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is full stands in: whatever is larger than half the picture does not fit."""
    recipe = dataclasses.replace(RECIPE, size=(128, 128))
    whole = take(model, recipe, ["red"], [5])[0]
    vae = model.part("vae")
    decoder, sizes = vae.decoder.forward, []

    def narrow(latents: torch.Tensor, *rest: object) -> torch.Tensor:
        if latents.shape[-1] > 24:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        sizes.append(latents.shape[-1])
        return decoder(latents, *rest)

    monkeypatch.setattr(vae.decoder, "forward", narrow)
    vae.tile_latent_min_size, vae.tile_sample_min_size = 24, 96
    tiled = take(model, recipe, ["red"], [5])[0]
    vae.disable_tiling()
    assert len(sizes) > 1
    assert np.abs(tiled - whole).mean() < 0.15 * np.abs(whole - whole.mean()).mean() + 5
