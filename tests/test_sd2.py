"""SD2: OpenCLIP's text encoder in a single file, v-prediction, and what the schedule may be told."""

from __future__ import annotations

import functools
from pathlib import Path

import ldm_layout
import pytest
import torch

from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights
from lorapipe.formats.kohya import Kohya
from lorapipe.models import Checkpoint
from lorapipe.models._unet import LatentDiffusion
from lorapipe.models.sd2 import SD2, TELLING
from lorapipe.models.sd15 import SD15
from lorapipe.spec import Source
from lorapipe.training.adapters.lora import LoRA
from pipelines import pipeline_of


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SD2:
    return SD2.tiny(tmp_path_factory.mktemp("sd2"))


def single_file(model: LatentDiffusion, path: Path, **more: torch.Tensor) -> Path:
    from safetensors.torch import save_file

    texts = ldm_layout.open_clip(model.part("text_encoder"), "cond_stage_model.model.")
    save_file({**ldm_layout.checkpoint(model.part("unet"), model.part("vae"), texts), **more}, path)
    return path


def test_a_single_file_is_the_same_model_as_the_folder(base: SD2, tmp_path: Path) -> None:
    """But for rounding: kernels differ with the alignment of tensors, which are mapped from where they lie in a file."""
    near = functools.partial(torch.allclose, atol=1e-5)
    model = base.load("cpu")
    file = single_file(model, tmp_path / "sd2.safetensors")
    other = SD2(checkpoint=Checkpoint(file), config=Source(base.checkpoint.path)).load("cpu")
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents, condition = model.encode_images(pixels), model.encode_text(["a hat"])
    assert near(other.encode_text(["a hat"])["hidden"], condition["hidden"])
    steps = torch.tensor([500])
    assert near(other.predict(latents, steps, condition), model.predict(latents, steps, condition))


def test_a_folder_says_what_it_predicts_and_the_user_may_know_better(base: SD2) -> None:
    assert base.load("cpu").diffusion.prediction == "v_prediction"
    assert SD2(checkpoint=base.checkpoint, prediction="epsilon").load("cpu").diffusion.prediction == "epsilon"
    assert base.base_model_version("v_prediction") == "sd_v2_v"
    assert base.architecture("epsilon") == "stable-diffusion-v2-512"


@pytest.mark.parametrize(("spread", "prediction"), [(0.2, "v_prediction"), (0.02, "epsilon")])
def test_what_a_single_file_predicts_is_seen_from_its_weights(
    base: SD2, tmp_path: Path, spread: float, prediction: str
) -> None:
    bias = torch.linspace(-1, 1, 320) * spread * 3**0.5
    file = single_file(base.load("cpu"), tmp_path / "sd2.safetensors", **{TELLING: bias})
    assert SD2(checkpoint=Checkpoint(file)).load("cpu").diffusion.prediction == prediction


def test_a_schedule_that_ends_in_pure_noise(base: SD2) -> None:
    """Lin et al. 2023, algorithm 1, computed here on its own."""
    plain = base.load("cpu").diffusion.alphas_cumprod.double().sqrt()
    ended = SD2(checkpoint=base.checkpoint, zero_terminal_snr=True).load("cpu")
    expected = (plain - plain[-1]) * plain[0] / (plain[0] - plain[-1])
    assert torch.allclose(ended.diffusion.alphas_cumprod.double(), expected**2, atol=1e-5)
    assert ended.diffusion.alphas_cumprod[-1] == 0
    assert pipeline_of(ended).scheduler.config.timestep_spacing == "trailing"


def test_noise_cannot_be_learned_where_nothing_else_is(base: SD2, tmp_path: Path) -> None:
    told = SD2(checkpoint=base.checkpoint, zero_terminal_snr=True, prediction="epsilon")
    assert [problem.path for problem in told.problems()] == [("zero_terminal_snr",)]
    with pytest.raises(InputError, match="needs v-prediction"):
        SD15(checkpoint=SD15.tiny(tmp_path / "sd15").checkpoint, zero_terminal_snr=True).load("cpu")


def test_loras_of_both_shapes_of_the_projections_are_read(base: SD2) -> None:
    """kohya trains SD2 from a single file with 1×1 convolutions, from a folder with Linear (FORMATS §2.1)."""
    model = base.load("cpu")
    attached = LoRA(rank=2).attach(model, model.trainable)
    for parameters in attached.parameters().values():
        for parameter in parameters:
            torch.nn.init.normal_(parameter, std=0.1)
    learnt, names = attached.learned(), model.kohya_names()
    flat = Kohya().save(learnt, names)
    tall = {
        key: t[:, :, None, None] if "proj_in.lora" in key or "proj_out.lora" in key else t for key, t in flat.items()
    }
    assert any(tensor.ndim == 4 for tensor in tall.values())

    def answer(weights: AdapterWeights) -> torch.Tensor:
        attached.load(weights)
        with torch.no_grad():
            return model.predict(torch.ones(1, 4, 8, 8), torch.tensor([3]), model.encode_text(["x"]))

    assert torch.equal(answer(Kohya().load(flat, names)), answer(Kohya().load(tall, names)))
    attached.detach()


def test_a_checkpoint_of_another_family_names_it(base: SD2, tmp_path: Path) -> None:
    file = single_file(base.load("cpu"), tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="an SD2 checkpoint") as error:
        SD15(checkpoint=Checkpoint(file)).load("cpu")
    assert "family: sd2" in str(error.value.problems[0].cure)
