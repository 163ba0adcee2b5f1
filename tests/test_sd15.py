"""SD1.x: what an adapter may target, loading from folder and file, captions to tokens."""

from __future__ import annotations

import functools
from pathlib import Path

import ldm_layout
import pytest
import torch

from lorapipe.errors import InputError
from lorapipe.models import Checkpoint, Model, TextReading
from lorapipe.models._unet import LatentDiffusion
from lorapipe.models._weight_files import SingleFile
from lorapipe.models.sd15 import SD15
from lorapipe.spec import Source


def test_sizes_come_from_the_configuration(base: SD15, tmp_path: Path) -> None:
    assert (base.native_size(), base.size_step()) == (64, 8)
    file = tmp_path / "some.safetensors"
    file.touch()
    assert (SD15(checkpoint=Checkpoint(file)).native_size(), SD15(checkpoint=Checkpoint(file)).size_step()) == (512, 64)


def single_file(model: LatentDiffusion, path: Path) -> Path:
    """The model as one LDM-layout file."""
    from safetensors.torch import save_file

    texts = ldm_layout.clip(model.part("text_encoder"), "cond_stage_model.transformer.")
    save_file(ldm_layout.checkpoint(model.part("unet"), model.part("vae"), texts), path)
    return path


def test_a_single_file_is_the_same_model_as_the_folder(base: SD15, model: LatentDiffusion, tmp_path: Path) -> None:
    """But for rounding: kernels differ with the alignment of tensors, which are mapped from where they lie in a file."""
    near = functools.partial(torch.allclose, atol=1e-5)
    file = single_file(model, tmp_path / "tiny.safetensors")
    torch.save({"state_dict": SingleFile(file, {})._all}, tmp_path / "tiny.ckpt")
    for path in (file, tmp_path / "tiny.ckpt"):
        other = SD15(checkpoint=Checkpoint(path), config=Source(base.checkpoint.path)).load("cpu")
        pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
        latents, condition = model.encode_images(pixels), model.encode_text(["a hat"])
        assert near(other.encode_images(pixels), latents)
        assert near(other.encode_text(["a hat"])["hidden"], condition["hidden"])
        steps = torch.tensor([500])
        assert near(other.predict(latents, steps, condition), model.predict(latents, steps, condition))


@pytest.mark.parametrize("spelled", [True, False])
def test_text_encoders_of_transformers_4_and_5_both_load(
    base: SD15, model: Model, tmp_path: Path, spelled: bool
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(base.checkpoint.path, tmp_path / "base")
    file = tmp_path / "base" / "text_encoder" / "model.safetensors"
    plain = {key.removeprefix("text_model."): tensor.clone() for key, tensor in load_file(file).items()}
    save_file({f"text_model.{key}" if spelled else key: tensor for key, tensor in plain.items()}, file)
    loaded = SD15(checkpoint=Checkpoint(tmp_path / "base")).load("cpu")
    assert torch.equal(loaded.encode_text(["x"])["hidden"], model.encode_text(["x"])["hidden"])


def test_what_is_no_sd15_checkpoint_is_named(model: LatentDiffusion, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    kinds = {
        "lora_unet_x.lora_down.weight": "a LoRA file",
        "conditioner.embedders.1.model.x": "an SDXL checkpoint",
        "cond_stage_model.model.x": "an SD2 checkpoint",
        "model.diffusion_model.input_blocks.x": "a checkpoint without VAE and text encoder",
        "weight": "not a Stable Diffusion checkpoint",
    }
    for key, kind in kinds.items():
        save_file({key: torch.zeros(1)}, tmp_path / "x.safetensors")
        with pytest.raises(InputError, match=kind):
            SD15(checkpoint=Checkpoint(tmp_path / "x.safetensors")).load("cpu")
    whole = single_file(model, tmp_path / "y.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="readable"):
        SD15(checkpoint=Checkpoint(tmp_path / "x.safetensors")).load("cpu")
    with pytest.raises(InputError, match="not a diffusers folder"):
        SD15(checkpoint=Checkpoint(tmp_path)).load("cpu")


def test_long_captions_are_chunked_and_special_tokens_are_spelled(model: LatentDiffusion) -> None:
    from lorapipe.models._clip_text import tokenize

    ids = tokenize(model.tokenizer(model.texts[0]), ["hat, " * 60, "<|endoftext|> hat <|startoftext|>"], 150)
    tokenizer = model.tokenizer(model.texts[0])
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert ids.shape == (2, 2, 77)
    assert (ids[:, :, 0] == bos).all() and (ids[0, 0, -1] == eos)
    assert (ids == bos).sum() == 4, "a BOS in a caption is text"
    first = ids[1, 0]
    assert len({int(token) for token in first[1:10]} & {bos, eos}) == 0
    hidden = model.encode_text(["hat, " * 60], TextReading(max_tokens=150))["hidden"]
    assert hidden.shape == (1, 152, 32)


def test_clip_skip_reads_the_layer_before(model: LatentDiffusion) -> None:
    encoder = model.part("text_encoder")
    one, two = (model.encode_text(["a hat"], TextReading(clip_skip=skip))["hidden"] for skip in (1, 2))
    ids = torch.tensor(model.tokenizer(model.texts[0])("a hat", padding="max_length", max_length=77).input_ids)[None]
    states = encoder(ids, output_hidden_states=True).hidden_states
    norm = getattr(encoder, "text_model", encoder).final_layer_norm
    assert torch.allclose(two, norm(states[-2]), atol=1e-6)
    assert not torch.allclose(one, two, atol=1e-3)


def test_half_precision_weights_answer_in_float32(base: SD15) -> None:
    half = base.load("cpu", "bf16")
    assert next(half.part("unet").parameters()).dtype == torch.bfloat16
    assert next(half.part("vae").parameters()).dtype == torch.float32
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    answer = half.predict(noise, torch.tensor([10]), half.encode_text(["x"]))
    exact = base.load("cpu").predict(noise, torch.tensor([10]), base.load("cpu").encode_text(["x"]))
    assert answer.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(answer.flatten(), exact.flatten(), dim=0) > 0.99


def test_released_parts_come_back(base: SD15) -> None:
    model = base.load("cpu")
    before = model.encode_text(["x"])["hidden"]
    model.release("text_encoder", "vae")
    assert torch.equal(model.encode_text(["x"])["hidden"], before)
