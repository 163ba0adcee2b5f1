"""LoRA files of other programs: every key is used, or the file is refused with the key's name."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
import torch
from corpus.adapters import (
    ALPHA,
    NAME,
    PATHS,
    PLAIN_WRONG,
    RANK,
    SPELLINGS,
    STRANGE,
    WRONG,
    Tensors,
    lora,
    peft,
    renamed,
    write,
)

from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights, complaints
from lorapipe.formats import open as load
from lorapipe.formats.kohya import Kohya
from lorapipe.models import Model
from pipelines import pipeline_of

KEYS = [*lora()]


def read(folder: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> AdapterWeights:
    return load(write(folder, tensors, metadata), PATHS)


def said(folder: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> str:
    """Return why a file is refused; every line names the file and a cure."""
    with pytest.raises(InputError) as error:
        read(folder, tensors, metadata)
    assert all(each.where.endswith("a.safetensors") and each.cure for each in error.value.problems)
    return str(error.value)


def update(weights: AdapterWeights) -> dict[tuple[str, str], torch.Tensor]:
    return {place: module.delta() for place, module in weights.modules.items()}


def by_hand(tensors: Tensors, alpha: float) -> dict[tuple[str, str], torch.Tensor]:
    """Compute alpha / rank · up · down element by element."""
    found = {}
    for name, place in PATHS.items():
        down, up = tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"]
        found[place] = alpha / RANK * torch.einsum("or,r...->o...", up.flatten(1), down)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_whole_file_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {key: tensor.to(dtype) for key, tensor in lora().items()}
    wanted = by_hand({key: tensor.float() for key, tensor in tensors.items()}, ALPHA)
    for place, delta in update(read(tmp_path, tensors)).items():
        assert torch.allclose(delta, wanted[place], atol=1e-5)


@pytest.mark.parametrize("key", KEYS)
def test_no_key_can_be_lost_without_a_word(tmp_path: Path, key: str) -> None:
    tensors, name = lora(), key.partition(".")[0]
    whole = update(read(tmp_path / "whole", tensors))
    kept = {each: tensor for each, tensor in tensors.items() if each != key}
    if key.endswith(".alpha"):  # then it is the rank: another update, as the format has it
        assert torch.allclose(update(read(tmp_path, kept))[PATHS[name]], whole[PATHS[name]] * RANK / ALPHA)
        assert "is not a number" in said(tmp_path, {**kept, key: torch.ones(2)})
    else:
        assert name in said(tmp_path, kept)
        assert name in said(tmp_path, {**kept, key: tensors[key][:, :-1] if "up" in key else tensors[key][:-1]})
        assert name in said(tmp_path, {**kept, key: tensors[key][None]})
        assert key in said(tmp_path, {**kept, key: tensors[key].to(torch.int8)})
        assert key in said(tmp_path, {**kept, key: tensors[key] * float("nan")})
    for other in (f"{key}s", key.replace("lora_", "lora_x", 1), f"x.{key}"):
        assert other.partition(".")[0] in said(tmp_path, {**kept, other: tensors[key]}) or other in said(
            tmp_path, {**kept, other: tensors[key]}
        )


@pytest.mark.parametrize("kind", STRANGE)
def test_what_else_a_file_holds_is_named_wherever_it_is_read(tmp_path: Path, kind: str) -> None:
    strange, words = STRANGE[kind]
    for tensors in (strange, {**lora(), **strange}):
        named = next(iter(strange)).removesuffix(".lora_A.weight")
        assert words in said(tmp_path, tensors) and named in said(tmp_path, tensors)
        seen = [str(each) for each in complaints(tmp_path / "a.safetensors")]
        assert (
            any(words in each for each in seen) or kind == "Flux"
        )  # whose keys may be of a base that is not known here
    with pytest.raises(InputError, match=words if kind != "Flux" else None):
        Kohya().load({**lora(), **strange}, PATHS)


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_with_a_module_is_said_with_its_name_and_key(tmp_path: Path, kind: str) -> None:
    wrong, words = WRONG[kind]
    text = said(tmp_path, wrong)
    assert re.search(words, text) and NAME in text


@pytest.mark.parametrize("spell", SPELLINGS, ids=lambda spell: spell.__name__)
def test_diffusers_keys_are_read(tmp_path: Path, spell) -> None:
    tensors = lora()
    found = update(read(tmp_path, renamed(tensors, spell)))
    wanted = by_hand(tensors, RANK)
    assert found.keys() == wanted.keys() and all(torch.allclose(found[place], wanted[place]) for place in wanted)
    assert not [*complaints(tmp_path / "a.safetensors")]
    assert "twice" in said(tmp_path, {**renamed(tensors, spell), **tensors})


def test_a_scale_beside_the_tensors_is_not_passed_over(tmp_path: Path) -> None:
    tensors = renamed(lora(), peft)

    def told(**settings: object) -> dict[str, str]:
        return {"lora_adapter_metadata": json.dumps({f"unet.{name}": value for name, value in settings.items()})}

    plain = update(read(tmp_path, tensors, told(r=4, lora_alpha=4, alpha_pattern={}, use_dora=False)))
    unet = [place for place in plain if place[0] == "unet"]
    for settings, scale in (({"r": 4, "lora_alpha": 8}, 2), ({"r": 4, "lora_alpha": 4, "use_rslora": True}, 2)):
        found = update(read(tmp_path, tensors, told(**settings)))
        assert all(torch.allclose(found[place], scale * plain[place]) for place in unet)
    found = update(read(tmp_path, tensors, told(r=4, lora_alpha=4, alpha_pattern={"to_q": 1})))
    scales = {place: float(found[place].norm() / plain[place].norm()) for place in plain}
    assert scales == pytest.approx({place: 0.25 if place[1].endswith("to_q") else 1 for place in plain})
    for settings in ({"use_dora": True}, {"r": 4, "lora_alpha": "8"}, {"bias": "all"}):
        assert "settings that are not read" in said(tmp_path, tensors, told(**settings))
    assert "not read" in said(tmp_path, tensors, {"lora_adapter_metadata": "{"})
    assert read(tmp_path, lora(), told(r=4, lora_alpha=8)).modules  # kohya's keys have their own


def test_modules_of_another_base_are_counted(tmp_path: Path) -> None:
    other = {key.replace("lora_te_", "lora_te2_"): tensor for key, tensor in lora().items()}
    assert "lora_te2_text_model_encoder_layers_0_mlp_fc1 is not in this base model" in said(tmp_path, other)
    shapes = {f"lora_unet_input_blocks_{place}_1_proj_in": (4, 4) for place in range(9)}
    assert "9 of the file's modules are not in this base model" in said(tmp_path, lora(shapes))
    with pytest.raises(InputError, match="there is no tensor in it"):
        Kohya().load({}, PATHS)


def test_one_module_under_two_names_is_refused(tmp_path: Path) -> None:
    twin = {
        key.replace("attentions_0_proj_in", "1_proj_in"): each for key, each in lora().items() if key.startswith(NAME)
    }
    names = {**PATHS, next(iter(twin)).partition(".")[0]: PATHS[NAME]}
    with pytest.raises(InputError, match="twice"):
        load(write(tmp_path, {**lora(), **twin}), names)


@pytest.mark.parametrize("kind", PLAIN_WRONG)
def test_what_is_no_safetensors_file_is_called_by_its_name(tmp_path: Path, kind: str) -> None:
    data, words = PLAIN_WRONG[kind]
    file = tmp_path / "a.safetensors"
    file.write_bytes(data)
    with pytest.raises(InputError, match=words):
        load(file, PATHS)
    if kind != "number":  # only a whole reading finds that
        assert [each for each in complaints(file) if words in each.what]


@pytest.mark.skipif(sys.platform == "win32", reason="such files are Unix's")
def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.safetensors")
    for place in (tmp_path / "a.safetensors", tmp_path, tmp_path / "gone"):
        with pytest.raises(InputError, match="cannot be read"):
            load(place, PATHS)
        assert ["cannot be read" in each.what for each in complaints(place)] == [True]


def test_diffusers_own_file_of_a_real_base_gives_the_same_update(tmp_path: Path, model: Model) -> None:
    """Compare ΔW of a file as diffusers and as we load it."""
    names = model.kohya_names()
    places = [(part, model.targets(part)[0].path) for part in ("unet", "text_encoder")]
    tensors: Tensors = {}
    for part, path in places:
        out, *inside = dict(model.part(part).named_modules())[path].weight.shape
        shown = path if part == "unet" or path.startswith("text_model.") else f"text_model.{path}"
        ones = (1,) * len(inside[1:])
        tensors[peft(part, shown, "down")] = torch.randn(RANK, *inside)
        tensors[peft(part, shown, "up")] = torch.randn(out, RANK, *ones)
    found = update(load(write(tmp_path, tensors), names))
    before = {place: dict(model.part(place[0]).named_modules())[place[1]].weight.detach().clone() for place in places}
    pipeline = pipeline_of(model)
    pipeline.load_lora_weights(tmp_path, weight_name="a.safetensors")
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    try:
        for place in places:
            now = dict(model.part(place[0]).named_modules())[place[1]].weight
            assert torch.allclose(now - before[place], found[place], atol=1e-4), place
    finally:
        with torch.no_grad():
            for part, path in places:
                dict(model.part(part).named_modules())[path].weight.copy_(before[part, path])


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae", "single"])
def test_a_base_is_named_once_and_with_where_it_belongs(tmp_path: Path, part: str) -> None:
    from corpus import checkpoints
    from safetensors.torch import save_file

    from lorapipe.models.sd15 import SD15

    base = SD15.tiny(tmp_path / "base")
    if part == "single":
        save_file(checkpoints.ldm(base.load("cpu")), tmp_path / "single.safetensors")
    (file,) = tmp_path.glob("base/" + part + "/*.safetensors" if part != "single" else "single.safetensors")
    (problem,) = complaints(file)
    assert "not a LoRA" in problem.what and "as checkpoint" in problem.cure


@pytest.mark.parametrize("change", [-1, -1000, 3])
def test_a_file_that_is_not_whole_is_told_before_anything_runs(tmp_path: Path, change: int) -> None:
    read(tmp_path, lora())
    data = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(data[:change] if change < 0 else data + b"x" * change)
    (problem,) = complaints(tmp_path / "a.safetensors")
    assert "is not a whole safetensors file" in problem.what and f"{abs(change):,} bytes" in problem.what


def test_a_picture_is_called_one(tmp_path: Path) -> None:
    from PIL import Image

    for ending in ("png", "jpg", "webp"):
        Image.new("RGB", (64, 64)).save(tmp_path / f"a.{ending}")
        (problem,) = complaints(tmp_path / f"a.{ending}")
        assert problem.what.startswith("is a picture")
