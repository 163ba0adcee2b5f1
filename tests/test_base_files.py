"""Base models as people have them: whatever a file is called, and whoever wrote it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny
import torch
from corpus import checkpoints
from safetensors.torch import load_file, save_file

from lorapipe.errors import InputError, LorapipeError
from lorapipe.models import Checkpoint, Family
from lorapipe.models._tensor_index import keys_of
from lorapipe.models._unet import LatentDiffusion
from lorapipe.models._weight_files import read_tensors
from lorapipe.models.sd15 import SD15
from lorapipe.spec import Duration, Source
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.interval import Interval

PIXELS = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def tensors(model: LatentDiffusion) -> checkpoints.Tensors:
    return checkpoints.ldm(model)


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in theirs)


def told(base: SD15) -> list[str]:
    """What a check says of a base."""
    return [f"{problem.path}: {problem}" for problem in base.problems()]


@pytest.mark.parametrize("form", checkpoints.PICKLES)
def test_pickles_of_every_form_are_read(tensors: checkpoints.Tensors, tmp_path: Path, form: str) -> None:
    file = tmp_path / "base.ckpt"
    checkpoints.PICKLES[form](tensors, file)
    assert same(read_tensors(file), tensors)
    assert keys_of(file) == {key: tuple(tensor.shape) for key, tensor in tensors.items()}


@pytest.mark.parametrize("name", ["a.SAFETENSORS", "a.ckpt", "a.CKPT", "a.pt", "a.pth", "a.bin", "a", "a.safetensors"])
def test_content_decides_and_not_the_ending(
    base: SD15, tensors: checkpoints.Tensors, tmp_path: Path, name: str
) -> None:
    for folder, write in (("s", save_file), ("p", torch.save)):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / name
        write(tensors, file)
        given = SD15(checkpoint=Checkpoint(file), config=Source(base.checkpoint.path))
        assert told(given) == []
        assert torch.equal(
            given.load("cpu").part("unet").conv_in.weight, tensors["model.diffusion_model.input_blocks.0.0.weight"]
        )


def test_numbers_of_every_kind_come_out_of_a_pickle_as_they_went_in(tmp_path: Path) -> None:
    kinds = [
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64, torch.uint16,
    ]  # fmt: skip
    tensors = {str(kind): torch.arange(24).reshape(2, 3, 4).to(kind) for kind in kinds}
    tensors |= {"scalar": torch.tensor(3.5), "empty": torch.zeros(0, 3), "turned": torch.arange(6.0).reshape(2, 3).T}
    for zipped in (True, False):
        torch.save(tensors, tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped)
        read = read_tensors(tmp_path / "x.ckpt")
        assert read.keys() == tensors.keys()
        for key, tensor in tensors.items():
            assert read[key].dtype == tensor.dtype and read[key].shape == tensor.shape
            assert read[key].reshape(-1).view(torch.uint8).tolist() == tensor.reshape(-1).view(torch.uint8).tolist()


@pytest.mark.parametrize("kind", checkpoints.INSTEAD)
@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
def test_what_is_no_checkpoint_is_called_what_it_is(base: SD15, tmp_path: Path, kind: str, ending: str) -> None:
    content, words = checkpoints.INSTEAD[kind]
    file = tmp_path / f"a.{ending}"
    file.write_bytes(content)
    asked = {"checkpoint": SD15(checkpoint=Checkpoint(file)), "vae": SD15(checkpoint=base.checkpoint, vae=Source(file))}
    for knob, given in asked.items():
        (problem,) = given.problems()
        assert problem.path == (knob,)
        with pytest.raises(InputError, match=words):
            raise InputError(problem)


def test_half_a_file_is_told_with_what_is_missing(tensors: checkpoints.Tensors, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "whole.safetensors")
    for form, write in checkpoints.PICKLES.items():
        write(tensors, tmp_path / f"{form}.ckpt")
    for file in tmp_path.iterdir():
        whole = file.read_bytes()
        for share in (0.5, 0.9):
            half = tmp_path.parent / "half.ckpt"
            half.write_bytes(whole[: int(len(whole) * share)])
            (text,) = told(SD15(checkpoint=Checkpoint(half)))
            assert "truncated" in text and text.endswith("Copy or download it again."), file
            with pytest.raises(InputError, match="truncated"):
                read_tensors(half)


# ---------------------------------------------------------------------------------------------------------------- VAEs


def pretend_vaes(model: LatentDiffusion, folder: Path) -> dict[str, Path]:
    """One VAE in each of the forms in which they are published."""
    plain, start = checkpoints.vae(model), "first_stage_model."
    beside = {
        "loss.logvar": torch.zeros(1),
        "model_ema.decay": torch.zeros(1),
        "loss.discriminator.main.0.bias": torch.ones(3),
    }
    diffusers = {key: tensor.clone() for key, tensor in model.part("vae").state_dict().items()}
    older = {
        key.replace(".to_q.", ".query.")
        .replace(".to_k.", ".key.")
        .replace(".to_v.", ".value.")
        .replace(".to_out.0.", ".proj_attn."): tensor
        for key, tensor in diffusers.items()
    }
    folder.mkdir()
    save_file(plain, folder / "bare.safetensors")
    save_file({f"{start}{key}": tensor for key, tensor in plain.items()}, folder / "prefixed.safetensors")
    torch.save({"state_dict": plain | beside, "epoch": 3}, folder / "kl.vae.pt")
    checkpoints.save_lightning(plain | beside, folder / "lightning.ckpt")
    save_file(checkpoints.ldm(model), folder / "whole.safetensors")
    save_file(diffusers, folder / "diffusers.safetensors")
    save_file(older, folder / "older.safetensors")
    model.part("vae").save_pretrained(folder / "folder")
    (folder / "in-base").mkdir()
    shutil.copytree(folder / "folder", folder / "in-base" / "vae")
    torch.save(older, folder / "unnamed")
    return {place.name: place for place in folder.iterdir()}


def test_vaes_as_published_are_read(base: SD15, model: LatentDiffusion, tmp_path: Path) -> None:
    other = SD15.tiny(tmp_path / "other", seed=7)
    loaded = other.load("cpu")
    assert isinstance(loaded, LatentDiffusion)
    latents = loaded.encode_images(PIXELS)
    assert not torch.allclose(latents, model.encode_images(PIXELS), atol=1e-3)
    places = pretend_vaes(loaded, tmp_path / "vaes")
    assert len(places) == 10
    for name, place in places.items():
        given = SD15(checkpoint=base.checkpoint, vae=Source(place))
        assert told(given) == [], name
        assert torch.allclose(given.load("cpu").encode_images(PIXELS), latents, atol=1e-5), name


def test_what_is_wrong_with_a_vae_is_said_of_the_vae(base: SD15, model: LatentDiffusion, tmp_path: Path) -> None:
    plain = checkpoints.vae(model)
    save_file({key: t for key, t in plain.items() if "conv_out" not in key}, tmp_path / "lacking.safetensors")
    wide = {**plain, "encoder.conv_out.weight": torch.zeros(32, *plain["encoder.conv_out.weight"].shape[1:])}
    save_file(wide, tmp_path / "flux.safetensors")
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(1, 1)}, tmp_path / "lora.safetensors")
    save_file({"down_blocks.0.x": torch.zeros(1)}, tmp_path / "unet.safetensors")
    texts = {f"encoder.layers.0.mlp.fc{n}.weight": torch.zeros(2, 2) for n in (1, 2)}
    save_file({**texts, "final_layer_norm.weight": torch.zeros(2)}, tmp_path / "text.safetensors")
    save_file(
        {"encoder.block.0.layer.0.x": torch.zeros(1), "shared.weight": torch.zeros(1)}, tmp_path / "t5.safetensors"
    )
    model.part("vae").save_pretrained(tmp_path / "xl")
    checkpoints.configured(tmp_path, "xl", scaling_factor=0.13025)
    words = {
        "lacking.safetensors": "lacks 4 of",
        "flux.safetensors": "a VAE of 16 channels",
        "lora.safetensors": "is a LoRA file, not a VAE",
        "unet.safetensors": "is a bare diffusers U-Net, not a VAE",
        "text.safetensors": "is a CLIP model, not a VAE",
        "t5.safetensors": "is a T5 text encoder, not a VAE",
        "xl": "a VAE of another family",
    }
    for name, word in words.items():
        (text,) = told(SD15(checkpoint=base.checkpoint, vae=Source(tmp_path / name)))
        assert text.startswith("('vae',)") and word in text, text
    lacking = tmp_path / "lacking.safetensors"
    with pytest.raises(InputError, match="tensors are missing") as error:
        SD15(checkpoint=base.checkpoint, vae=Source(lacking)).load("cpu").part("vae")
    assert error.value.problems[0].where == str(lacking)


def test_a_file_without_vae_is_whole_with_one(
    base: SD15, model: LatentDiffusion, tensors: checkpoints.Tensors, tmp_path: Path
) -> None:
    file, own = tmp_path / "no-vae.safetensors", tmp_path / "vae.safetensors"
    save_file({key: t for key, t in tensors.items() if not key.startswith("first_stage_model.")}, file)
    save_file(checkpoints.vae(model), own)
    (text,) = told(SD15(checkpoint=Checkpoint(file)))
    assert "without VAE" in text and "as vae" in text
    given = SD15(checkpoint=Checkpoint(file), config=Source(base.checkpoint.path), vae=Source(own))
    assert told(given) == []
    assert torch.allclose(given.load("cpu").encode_images(PIXELS), model.encode_images(PIXELS), atol=1e-5)


# -------------------------------------------------------------------------------------------------------------- folders


def equal(base: SD15, model: LatentDiffusion) -> bool:
    """Whether a base answers as the model does."""
    assert told(base) == []
    other = base.load("cpu")
    latents, steps = torch.ones(1, 4, 8, 8), torch.tensor([500])
    with torch.no_grad():
        condition = other.encode_text(["a hat"])
        return torch.equal(condition["hidden"], model.encode_text(["a hat"])["hidden"]) and torch.allclose(
            other.predict(latents, steps, condition), model.predict(latents, steps, condition), atol=1e-5
        )


@pytest.mark.parametrize(
    ("kind", "index", "variant"),
    [
        ("safetensors", True, ""),
        ("safetensors", False, ""),
        ("safetensors", True, "fp16"),
        ("bin", True, ""),
        ("bin", True, "ema"),
    ],
)
def test_weights_in_shards(
    base: SD15, model: LatentDiffusion, tmp_path: Path, kind: str, index: bool, variant: str
) -> None:
    folder = checkpoints.without(base.checkpoint.path, tmp_path / "base")
    for part in ("unet", "text_encoder", "vae"):
        shards = checkpoints.sharded(folder / part, kind=kind, index=index, variant=variant)
    assert equal(SD15(checkpoint=Checkpoint(folder)), model)
    shards[1].unlink()
    (text,) = told(SD15(checkpoint=Checkpoint(folder)))
    assert f"vae lacks {shards[1].name}" in text


@pytest.mark.parametrize("variant", ["fp16", "non_ema", "ema", "bf16", "my-own"])
def test_weights_of_a_variant(base: SD15, model: LatentDiffusion, tmp_path: Path, variant: str) -> None:
    folder = checkpoints.without(base.checkpoint.path, tmp_path / "base")
    for part in ("unet", "text_encoder", "vae"):
        file = checkpoints.weights(folder / part)
        file.rename(file.with_name(f"{file.stem}.{variant}.safetensors"))
    assert equal(SD15(checkpoint=Checkpoint(folder)), model)


def test_an_index_names_files_of_its_own_folder_alone(base: SD15, tmp_path: Path) -> None:
    folder = checkpoints.without(base.checkpoint.path, tmp_path / "base")
    first, *_ = checkpoints.sharded(folder / "unet", shards=2)
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    other = checkpoints.weights(base.checkpoint.path / "unet")
    for place in (f"../../{other.name}", str(other)):
        index.write_text(f'{{"weight_map": {{"a": "{first.name}", "b": "{place}"}}}}', encoding="utf-8")
        (text,) = told(SD15(checkpoint=Checkpoint(folder)))
        assert "unet lacks" in text


def test_the_parts_of_a_folder_are_missed_before_anything_runs(base: SD15, tmp_path: Path) -> None:
    cases = {
        ("text_encoder",): "lacks text_encoder/config.json", ("vae/config.json",): "lacks vae/config.json",
        ("scheduler",): "lacks scheduler/scheduler_config.json", ("unet",): "unet/config.json is missing",
        ("unet/diffusion_pytorch_model.safetensors",): "unet has no weights",
        ("vae", "text_encoder"): "lacks vae/config.json, text_encoder/config.json",
    }  # fmt: skip
    for number, (names, words) in enumerate(cases.items()):
        folder = checkpoints.without(base.checkpoint.path, tmp_path / str(number), *names)
        (text,) = told(SD15(checkpoint=Checkpoint(folder)))
        assert words in text and "Copy the model again" in text, text
    folder = checkpoints.without(base.checkpoint.path, tmp_path / "no-index", "model_index.json")
    assert told(SD15(checkpoint=Checkpoint(folder))) == []


@pytest.mark.parametrize("own", [False, True])
def test_a_folder_without_a_tokenizer_takes_clips(
    base: SD15, model: LatentDiffusion, tmp_path: Path, own: bool
) -> None:
    folder = checkpoints.without(base.checkpoint.path, tmp_path / "base", "tokenizer")
    given = SD15(checkpoint=Checkpoint(folder))
    (problem,) = given.problems_of_captions()
    assert "no tokenizer" in problem.what and str(folder) in problem.cure
    shutil.copytree(base.checkpoint.path / "tokenizer", (folder if own else tmp_path) / "tokenizer")
    assert not [*given.problems_of_captions()]
    assert equal(given, model)


def test_a_tokenizer_in_its_newer_form(base: SD15, model: LatentDiffusion, tmp_path: Path) -> None:
    folder = checkpoints.without(base.checkpoint.path, tmp_path / "base", "tokenizer")
    model.tokenizer(model.texts[0]).save_pretrained(folder / "tokenizer")
    assert (folder / "tokenizer" / "tokenizer.json").is_file()
    for name in ("vocab.json", "merges.txt"):
        (folder / "tokenizer" / name).unlink(missing_ok=True)
    given = SD15(checkpoint=Checkpoint(folder))
    assert not [*given.problems_of_captions()]
    assert equal(given, model)


def test_a_vae_of_an_older_folder_is_read(base: SD15, model: LatentDiffusion, tmp_path: Path) -> None:
    """As the folders of 2022 have it: diffusers has renamed its attention since."""
    folder = checkpoints.without(base.checkpoint.path, tmp_path / "base")
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def change(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
        for now, then in older.items():
            tensors = {key.replace(f".attentions.0.{now}.", f".attentions.0.{then}."): t for key, t in tensors.items()}
        return tensors

    file = checkpoints.retensored(checkpoints.weights(folder / "vae"), change)
    assert any(".query." in key for key in load_file(file))
    given = SD15(checkpoint=Checkpoint(folder))
    assert told(given) == []
    assert torch.equal(given.load("cpu").encode_images(PIXELS), model.encode_images(PIXELS))


# ------------------------------------------------------------------------------------------------------- broken numbers


@pytest.mark.parametrize(
    ("part", "number"), [("unet", float("nan")), ("vae", float("inf")), ("text_encoder", -float("inf"))]
)
def test_a_base_that_would_answer_nan_is_named_when_it_is_loaded(
    base: SD15, tmp_path: Path, part: str, number: float
) -> None:
    folder = checkpoints.without(base.checkpoint.path, tmp_path / "base")

    def spoil(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
        key = sorted(key for key in tensors if key.endswith("weight") and "embed" not in key)[-1]
        tensors[key].view(-1)[3] = number
        return tensors

    checkpoints.retensored(checkpoints.weights(folder / part), spoil)
    given = SD15(checkpoint=Checkpoint(folder)).load("cpu")
    with pytest.raises(InputError, match=r"NaN or infinite numbers") as error:
        given.part(part)
    assert error.value.problems[0].where.endswith(part)
    for other in {"unet", "vae", "text_encoder"} - {part}:
        given.part(other)


def test_a_base_whose_numbers_do_not_fit_fp16_says_so(base: SD15, tmp_path: Path) -> None:
    folder = checkpoints.without(base.checkpoint.path, tmp_path / "base")

    def spoil(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
        tensors["conv_in.weight"].view(-1)[0] = 1e6
        return tensors

    checkpoints.retensored(checkpoints.weights(folder / "unet"), spoil)
    given = SD15(checkpoint=Checkpoint(folder))
    with pytest.raises(InputError, match=r"too large for fp16.* precision: bf16"):
        given.load("cpu", "fp16").part("unet")
    given.load("cpu", "bf16").part("unet")


def test_a_training_that_never_had_a_loss_blames_the_base(base: SD15, tmp_path: Path) -> None:
    """Through a row of the vocabulary, which is looked at only when it is read."""
    folder = checkpoints.without(base.checkpoint.path, tmp_path / "base")

    def spoil(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
        for key in tensors:
            if "token_embedding" in key:
                tensors[key][:] = float("nan")
        return tensors

    checkpoints.retensored(checkpoints.weights(folder / "text_encoder"), spoil)
    bench = tiny.Bench(tmp_path)
    given = SD15(checkpoint=Checkpoint(folder))
    prepare = Prepare(images=Source(tiny.draw(tmp_path / "pictures")), base=given, duplicate_tolerance=0)
    prepared = prepare.run(bench.context("prepare"))
    with pytest.raises(LorapipeError, match=r"from step 1 on.*the base itself predicts NaN") as error:
        Train(dataset=prepared, adapter=LoRA(rank=2), steps=Duration(9), snapshots=Interval(1)).run(
            bench.context("train")
        )
    assert "rates" not in str(error.value)


@pytest.mark.parametrize("family", ["sd15", "sd2"])
def test_pointwise_convolutions_and_linear_layers_hold_the_same_numbers(tmp_path: Path, family: str) -> None:
    """Trainers write the projections of a U-Net in either form."""
    assert Family.registry is not None
    base = Family.registry.get(family).tiny(tmp_path / "base")
    before = base.load("cpu").part("unet").state_dict()

    def turned(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
        return {
            key: tensor.flatten(1)
            if tensor.shape[2:] == (1, 1)
            else tensor[:, :, None, None]
            if "proj_in.w" in key
            else tensor
            for key, tensor in tensors.items()
        }

    checkpoints.retensored(checkpoints.weights(tmp_path / "base" / "unet"), turned)
    assert list(base.problems()) == []
    assert same(base.load("cpu").part("unet").state_dict(), before)
