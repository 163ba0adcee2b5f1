"""A base of another kind than was said is named with what to write, before anything runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from corpus import checkpoints
from safetensors.torch import save_file

from comfy_nodes import describe, validation
from comfy_nodes.paths import GraphPaths
from lorapipe import pocket
from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.models import Checkpoint, Family
from lorapipe.models._stable_diffusion import StableDiffusion
from lorapipe.models._tiny import save_tiny
from lorapipe.models._unet import LatentDiffusion
from lorapipe.models.sd15 import SD15
from lorapipe.models.sdxl import SDXL
from lorapipe.pipeline import loader
from lorapipe.spec import Source

REGISTRY = Family.registry
assert REGISTRY is not None
NAMES = tuple(REGISTRY.names())
CALLED = {"sd15": "an SD1.x", "sd2": "an SD2", "sdxl": "an SDXL"}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StableDiffusion]:
    """A tiny base of each family, as a folder."""
    folder = tmp_path_factory.mktemp("bases")
    return {name: REGISTRY.get(name).tiny(folder / name) for name in NAMES}  # type: ignore[misc]


@pytest.fixture(scope="module")
def files(bases: dict[str, StableDiffusion], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same as single files."""
    folder = tmp_path_factory.mktemp("files")
    for name, base in bases.items():
        save_file(checkpoints.ldm(base.load("cpu")), folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in bases}


def told(family: str, place: Path, **more: object) -> str:
    """The one thing that a check says of a base."""
    assert REGISTRY is not None
    kind = REGISTRY.get(family)
    assert issubclass(kind, StableDiffusion)
    problems = list(kind(checkpoint=Checkpoint(place), **more).problems())  # type: ignore[arg-type]
    return str(problems[0]) if len(problems) == 1 else "\n".join(map(str, problems))


@pytest.mark.parametrize("asked", NAMES)
@pytest.mark.parametrize("given", NAMES)
def test_the_family_is_looked_at_in_folders_and_files(
    bases: dict[str, StableDiffusion], files: dict[str, Path], given: str, asked: str
) -> None:
    for place, form in ((bases[given].checkpoint.path, "folder"), (files[given], "checkpoint")):
        described = Source(bases[given].checkpoint.path) if asked == given and form == "checkpoint" else None
        expected = "" if asked == given else f"is {CALLED[given]} {form}. Write family: {given}."
        assert told(asked, place, config=described) == expected


@pytest.mark.parametrize("given", NAMES)
def test_folders_of_the_published_shape_are_told_apart(tmp_path: Path, given: str) -> None:
    import published

    folder = published.base(given, tmp_path / given).checkpoint.path
    for asked in NAMES:
        words = f"is {CALLED[given]} folder. Write family: {given}."
        assert (told(asked, folder) == words) == (asked != given)


def test_the_pocket_base_is_an_sd1() -> None:
    assert told("sd15", pocket.BASE) == ""
    assert "Write family: sd15" in told("sdxl", pocket.BASE)


@pytest.mark.parametrize(
    ("channels", "word"),
    [(9, "inpainting"), (8, "InstructPix2Pix"), (5, "depth"), (7, "upscaler"), (12, "12 input channels")],
)
@pytest.mark.parametrize("family", NAMES)
def test_networks_that_read_more_than_a_picture(
    bases: dict[str, StableDiffusion], files: dict[str, Path], tmp_path: Path, family: str, channels: int, word: str
) -> None:
    folder = checkpoints.without(bases[family].checkpoint.path, tmp_path / "base")
    checkpoints.configured(folder, "unet", in_channels=channels)
    file = shutil.copy(files[family], tmp_path / "x.safetensors")
    key = "model.diffusion_model.input_blocks.0.0.weight"

    def widened(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
        return tensors | {key: torch.zeros(tensors[key].shape[0], channels, 3, 3)}

    checkpoints.retensored(file, widened)
    for place in (folder, file):
        text = told(family, place)
        assert text.startswith(f"is {CALLED[family]} ") and word in text
        with pytest.raises(InputError, match=word):
            REGISTRY.get(family)(checkpoint=Checkpoint(place)).load("cpu")


def test_the_refiner(bases: dict[str, StableDiffusion], files: dict[str, Path], tmp_path: Path) -> None:
    folder = checkpoints.without(bases["sdxl"].checkpoint.path, tmp_path / "refiner", "text_encoder", "tokenizer")
    checkpoints.configured(folder, "unet", cross_attention_dim=1280, projection_class_embeddings_input_dim=2560)
    file = shutil.copy(files["sdxl"], tmp_path / "refiner.safetensors")

    def moved(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
        kept = {key: t for key, t in tensors.items() if not key.startswith("conditioner.embedders.0.")}
        return {key.replace("embedders.1.", "embedders.0."): t for key, t in kept.items()}

    checkpoints.retensored(file, moved)
    for place in (folder, file):
        for asked in NAMES:
            text = told(asked, place)
            assert "is an SDXL refiner" in text and "Use the SDXL base model" in text


OTHERS = {
    "FluxPipeline": "a FLUX folder",
    "StableDiffusion3Pipeline": "an SD3 folder",
    "PixArtAlphaPipeline": "a PixArt folder",
    "PixArtSigmaPipeline": "a PixArt folder",
    "KolorsPipeline": "a Kolors folder",
    "StableCascadeCombinedPipeline": "a Stable Cascade folder",
    "SanaPipeline": "a Sana folder",
    "StableUnCLIPPipeline": "an SD2 unCLIP folder",
}


@pytest.mark.parametrize("pipeline", OTHERS)
def test_folders_of_families_that_are_not_trained_yet(tmp_path: Path, pipeline: str) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": pipeline}), encoding="utf-8")
    for part in ("transformer", "vae", "text_encoder", "scheduler"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text("{}", encoding="utf-8")
    text = told("sdxl", tmp_path)
    assert text.startswith(f"is {OTHERS[pipeline]}; it is not trained yet") and "sd15, sd2 and sdxl" in text


KEYS = {
    "double_blocks.0.img_attn.qkv.weight": "a FLUX model",
    "model.diffusion_model.double_blocks.0.img_mod.lin.weight": "a FLUX model",
    "single_transformer_blocks.0.attn.to_q.weight": "a FLUX model",
    "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": "an SD3 model",
    "y_embedder.y_embedding": "a PixArt model",
    "lora_unet_mid.lora_down.weight": "a LoRA file",
    "unet.mid_block.attn.to_q.lora_A.weight": "a LoRA file",
    "x.hada_w1_a": "a LoRA file",
    "control_model.input_blocks.0.0.weight": "a ControlNet",
    "controlnet_cond_embedding.conv_in.weight": "a ControlNet",
    "image_proj.proj.weight": "an IP-Adapter",
    "down_blocks.0.resnets.0.conv1.weight": "a bare diffusers U-Net",
    "input_blocks.0.0.weight": "a bare U-Net",
    "encoder.down.0.block.0.conv1.weight": "a VAE, not a base model",
    "first_stage_model.encoder.conv_in.weight": "a VAE, not a base model",
    "decoder.up_blocks.0.resnets.0.conv1.weight": "a VAE, not a base model",
    "emb_params": "an embedding",
    "clip_g": "an embedding",
    "text_model.encoder.layers.0.mlp.fc1.weight": "a CLIP model",
    "encoder.block.0.layer.0.SelfAttention.q.weight": "a T5 text encoder",
    "model.1.sub.0.RDB1.conv1.0.weight": "an upscaler",
    "model.diffusion_model.out.2.weight.absmax": "a model in 4 bits",
    "edm_mean": "another noise schedule",
}


@pytest.mark.parametrize("key", KEYS)
def test_files_that_are_no_base_are_called_what_they_are(tmp_path: Path, key: str) -> None:
    save_file({key: torch.zeros(2, 2)}, tmp_path / "x.safetensors")
    torch.save({"state_dict": {key: torch.zeros(2, 2)}}, tmp_path / "y.ckpt")
    for name in ("x.safetensors", "y.ckpt"):
        text = told("sd15", tmp_path / name)
        assert KEYS[key] in text and text.count(". ") >= 1, text


def test_folders_that_are_no_base_are_called_what_they_are(
    bases: dict[str, StableDiffusion], files: dict[str, Path], tmp_path: Path
) -> None:
    base = bases["sd15"].checkpoint.path

    def of(name: str, make: Callable[[Path], object]) -> str:
        (tmp_path / name).mkdir()
        make(tmp_path / name)
        return told("sd15", tmp_path / name)

    assert "not a diffusers folder" in of("empty", lambda place: None)
    assert "Name it: sd15.safetensors" in of("one", lambda place: shutil.copy(files["sd15"], place))
    two = of("two", lambda place: [shutil.copy(files[name], place) for name in ("sd15", "sd2")])
    assert "Name one of them: sd15.safetensors, sd2.safetensors" in two
    cached = of("cache", lambda place: shutil.copytree(base, place / "snapshots" / "abc"))
    assert "Name the folder in it: snapshots/abc" in cached
    assert "Name the folder in it: inner" in of("unpacked", lambda place: shutil.copytree(base, place / "inner"))
    assert told("sd15", base / "unet").startswith("is a bare U-Net")
    assert told("sd15", base / "vae").startswith("is a VAE, not a base model. Write it as vae")
    assert told("sd15", base / "text_encoder").startswith("is not a diffusers folder")
    lora = of(
        "lora", lambda place: save_file({"a.lora_A.weight": torch.zeros(1)}, place / "pytorch_lora_weights.safetensors")
    )
    assert "a LoRA file" in lora


def test_parts_of_different_models_do_not_fit(bases: dict[str, StableDiffusion], tmp_path: Path) -> None:
    base = bases["sd15"].checkpoint.path

    def changed(name: str, change: Callable[[Path], object]) -> str:
        folder = checkpoints.without(base, tmp_path / name)
        change(folder)
        return told("sd15", folder)

    def other_weights(folder: Path) -> None:
        shutil.copy(checkpoints.weights(pocket.BASE / "unet"), checkpoints.weights(folder / "unet"))

    def other_text(folder: Path) -> None:
        shutil.rmtree(folder / "text_encoder")
        shutil.copytree(pocket.BASE / "text_encoder", folder / "text_encoder")

    def other_words(folder: Path) -> None:
        words = json.dumps({f"w{number}": number for number in range(49408)})
        (folder / "tokenizer" / "vocab.json").write_text(words, encoding="utf-8")

    def fewer(folder: Path) -> None:
        checkpoints.retensored(checkpoints.weights(folder / "vae"), lambda tensors: dict(list(tensors.items())[7:]))

    assert "its U-Net lacks" in changed("weights", other_weights)
    assert "expects text of width 32, but its text encoder gives 128" in changed("text", other_text)
    known = json.loads((pocket.BASE / "text_encoder" / "config.json").read_text())["vocab_size"]
    assert f"tokenizer has 49408 tokens but text_encoder only {known}" in changed("words", other_words)
    assert "its VAE lacks 7 of" in changed("fewer", fewer)
    assert "does not fit its configuration" in changed(
        "wider", lambda f: checkpoints.configured(f, "unet", cross_attention_dim=64)
    )
    assert "unet/config.json is not a readable configuration" in changed(
        "json", lambda f: (f / "unet" / "config.json").write_text("{")
    )


def test_a_single_file_is_whole_and_of_the_published_shape(
    files: dict[str, Path], bases: dict[str, StableDiffusion], tmp_path: Path
) -> None:
    """A tiny one is not; with its configuration it is, until a tensor is taken away or changed."""
    for name, file in files.items():
        assert "does not fit its configuration" in (text := told(name, file)) or "lacks" in text
        assert told(name, file, config=Source(bases[name].checkpoint.path)) == ""
        copy = Path(shutil.copy(file, tmp_path / f"{name}.safetensors"))
        checkpoints.retensored(copy, lambda tensors: dict(sorted(tensors.items())[:-3]))
        assert "lacks 3 of" in told(name, copy, config=Source(bases[name].checkpoint.path))
    other = told("sd15", files["sd15"], config=Source(bases["sdxl"].checkpoint.path))
    assert other == "is an SDXL folder. Write family: sdxl."


def test_a_network_with_a_guidance_embedding_is_fine(tmp_path: Path) -> None:
    """As the LCM models have it."""
    save_tiny(tmp_path / "lcm", 0, unet={"time_cond_proj_dim": 16})
    index = json.loads((tmp_path / "lcm" / "model_index.json").read_text(encoding="utf-8"))
    text = json.dumps({**index, "_class_name": "LatentConsistencyModelPipeline"})
    (tmp_path / "lcm" / "model_index.json").write_text(text, encoding="utf-8")
    assert told("sd15", tmp_path / "lcm") == ""
    model = SD15(checkpoint=Checkpoint(tmp_path / "lcm")).load("cpu")
    with torch.no_grad():
        assert model.predict(torch.ones(1, 4, 8, 8), torch.tensor([5]), model.encode_text(["x"])).isfinite().all()


PIPELINE = """\
stages:
  dataset:
    uses: prepare
    images: pictures
    base: {family: sd15, checkpoint: base}
  penny: {uses: train, dataset: $dataset}
"""


@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_every_command_says_it_in_the_line_of_the_base(
    bases: dict[str, StableDiffusion], tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    tiny.draw(tmp_path / "pictures")
    shutil.copytree(bases["sdxl"].checkpoint.path, tmp_path / "base")
    (tmp_path / "a.yaml").write_text(PIPELINE, encoding="utf-8")
    assert main([command, str(tmp_path / "a.yaml")]) == 2
    said = capsys.readouterr()
    assert "a.yaml:5:26 dataset.base.checkpoint: is an SDXL folder. Write family: sdxl." in said.out + said.err
    assert not (tmp_path / ".lorapipe").exists() or not [*(tmp_path / ".lorapipe").rglob("manifest.json")]


def test_a_training_misses_the_vocabulary_before_it_begins(bases: dict[str, StableDiffusion], tmp_path: Path) -> None:
    tiny.draw(tmp_path / "pictures")
    checkpoints.without(bases["sd15"].checkpoint.path, tmp_path / "base", "tokenizer")
    (tmp_path / "a.yaml").write_text(PIPELINE, encoding="utf-8")
    other = PIPELINE + "  other: {uses: train, dataset: $dataset, seed: 2}\n"
    for text in (PIPELINE, other):
        (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(InputError) as error:
            loader.load(tmp_path / "a.yaml")
        (problem,) = error.value.problems
        assert "a.yaml:5:26 dataset.base.checkpoint: base has no tokenizer" in str(problem)
    (tmp_path / "b.yaml").write_text(PIPELINE.partition("  penny")[0], encoding="utf-8")
    assert loader.load(tmp_path / "b.yaml").stages


def test_the_node_of_a_family_says_it(bases: dict[str, StableDiffusion], tmp_path: Path) -> None:
    (node,) = (each for each in describe.nodes().values() if each.id.lower().endswith("familysdxl"))
    where = GraphPaths(
        tmp_path, tmp_path, tmp_path, (), (bases["sdxl"].checkpoint.path.parent,), (), {}, lambda shelf, name: None
    )
    validation.check(node, {"checkpoint": str(bases["sdxl"].checkpoint.path)}, where)
    with pytest.raises(InputError, match="is an SD2 folder"):
        validation.check(node, {"checkpoint": str(bases["sd2"].checkpoint.path)}, where)


def test_what_is_asked_again_is_not_read_again(
    bases: dict[str, StableDiffusion], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A matrix asks of its base a thousand times; a file that has changed since is looked into again."""
    base = bases["sdxl"]
    for file in base.checkpoint.path.rglob("*"):
        os.utime(file, (1e9, 1e9))
    assert list(base.problems()) == []
    config = base.checkpoint.path / "unet" / "config.json"
    text = config.read_text(encoding="utf-8")
    try:
        config.write_text(text.replace('"in_channels": 4', '"in_channels": 9'), encoding="utf-8")
        os.utime(config, (1e9 + 5, 1e9 + 5))
        assert "inpainting" in told("sdxl", base.checkpoint.path)
    finally:
        config.write_text(text, encoding="utf-8")
    assert isinstance(base, SDXL) and isinstance(base.load("cpu"), LatentDiffusion)


def test_a_checkpoint_lacks_its_network(
    files: dict[str, Path], bases: dict[str, StableDiffusion], tmp_path: Path
) -> None:
    start = "model.diffusion_model."
    for name, file in files.items():
        copy = Path(shutil.copy(file, tmp_path / f"{name}.safetensors"))
        checkpoints.retensored(copy, lambda t: {key: value for key, value in t.items() if not key.startswith(start)})
        assert "U-Net" in told(name, copy, config=Source(bases[name].checkpoint.path))
        ema = {f"model_ema.diffusion_model{number}": torch.zeros(1) for number in range(3)}
        checkpoints.retensored(copy, lambda t, ema=ema: t | ema)  # type: ignore[misc]
        assert "only as an EMA copy. Use the pruned file" in told(name, copy)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in folders are POSIX")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.safetensors")
    assert "a pipe or a device" in told("sd15", tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="a pipe or a device"):
        SD15(checkpoint=Checkpoint(tmp_path / "x.safetensors")).load("cpu")


def test_what_is_wrong_beside_a_base_and_with_its_vae_is_told_with_it(
    bases: dict[str, StableDiffusion], tmp_path: Path
) -> None:
    tiny.draw(tmp_path / "pictures")
    shutil.copytree(bases["sdxl"].checkpoint.path, tmp_path / "base")
    (tmp_path / "page").write_text("<html>Sign in</html>", encoding="utf-8")
    text = """\
stages:
  dataset:
    uses: prepare
    images: pictures
    masks: pictures
    alpha_mask: true
    caption_extensions: [txt]
    enable_bucket: false
    bucket_no_upscale: true
    base: {family: sd15, checkpoint: base, vae: page}
  penny: {uses: train, dataset: $dataset, unet_lr: 0, text_encoder_lr: 0}
"""
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        loader.load(tmp_path / "a.yaml")
    said = [str(problem).partition("a.yaml:")[2] for problem in error.value.problems]
    assert [line.partition(":")[0] for line in said] == ["6", "7", "9", "10", "10", "11"]
    assert "is an SDXL folder" in said[3] and "base.vae: is a web page" in said[4]


@pytest.mark.parametrize("vae", ["text_encoder", "unet", "page", "empty"])
def test_a_vae_that_is_none_is_told_beside_a_checkpoint_that_is_none(
    bases: dict[str, StableDiffusion], tmp_path: Path, vae: str
) -> None:
    (tmp_path / "page").write_text("<html>Sign in</html>", encoding="utf-8")
    (tmp_path / "empty").touch()
    part = bases["sd15"].checkpoint.path / vae
    source = Source(part if part.exists() else tmp_path / vae)
    found = [*SD15(checkpoint=Checkpoint(tmp_path / "page"), vae=source).problems()]
    assert [problem.path for problem in found] == [("checkpoint",), ("vae",)]


@pytest.mark.parametrize("within", ["state_dict", "model", "module", "params_ema"])
def test_weights_are_found_in_whatever_they_are_wrapped(
    files: dict[str, Path], bases: dict[str, StableDiffusion], tmp_path: Path, within: str
) -> None:
    from safetensors.torch import load_file

    torch.save({"epoch": 3, within: load_file(files["sd15"]), "config": {"lr": 1e-4}}, tmp_path / "a.ckpt")
    base = SD15(checkpoint=Checkpoint(tmp_path / "a.ckpt"), config=Source(bases["sd15"].checkpoint.path))
    assert not [*base.problems()]
    ours, theirs = (each.load("cpu").part("unet").state_dict() for each in (base, bases["sd15"]))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
