"""Contract tests of all registered model families."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import families
import pytest
import torch
from safetensors.torch import load_file

from lorapipe.errors import InputError
from lorapipe.formats.kohya import Kohya
from lorapipe.models import Checkpoint, Family, Model, ModuleRef, Saving, TextReading
from lorapipe.models._folder_detection import configurations, of_folder
from lorapipe.spec import Source, from_dict, to_dict
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.options import RATES, rate_options

REGISTRY = Family.registry
assert REGISTRY is not None
families.register()

LAYERS = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm)


@pytest.fixture(scope="module", params=[*REGISTRY.names(), families.NAME])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return REGISTRY.get(request.param).tiny(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def loaded(family: Family) -> Model:
    return family.load("cpu")


def pixels(family: Family) -> torch.Tensor:
    size = family.native_size()
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_it_is_a_spec_that_a_document_can_hold(family: Family) -> None:
    assert from_dict(Family, to_dict(family)) == family


def test_sizes_fit(family: Family) -> None:
    assert family.native_size() % family.size_step() == 0


def test_everything_is_frozen(loaded: Model) -> None:
    for name in (*loaded.trainable, "vae"):
        part = loaded.part(name)
        assert not part.training
        assert not any(parameter.requires_grad for parameter in part.parameters())


def test_pictures_become_the_same_latents_whoever_is_beside_them(family: Family, loaded: Model) -> None:
    both = loaded.encode_images(pixels(family))
    assert both.dtype == torch.float32
    assert torch.allclose(both[:1], loaded.encode_images(pixels(family)[:1]), atol=1e-5)
    assert torch.equal(both, loaded.encode_images(pixels(family)))


def test_a_prediction_has_the_latents_shape_and_reads_the_caption(family: Family, loaded: Model) -> None:
    latents, when = loaded.encode_images(pixels(family)), torch.tensor([10, 900])
    with torch.no_grad():
        one = loaded.predict(latents, when, loaded.encode_text(["a red hat", "a red hat"]))
        other = loaded.predict(latents, when, loaded.encode_text(["snow", "snow"]))
    assert one.shape == latents.shape
    assert not torch.equal(one, other)


def test_a_caption_is_data(loaded: Model) -> None:
    """Special tokens in a caption are tokenized as text; they neither end nor pad it."""
    with torch.no_grad():
        plain = loaded.encode_text(["a red hat"])
        sly = loaded.encode_text(["a <|endoftext|> red hat"])
    assert any(not torch.equal(plain[name], sly[name]) for name in plain)


def test_longer_captions_take_longer_conditions(loaded: Model) -> None:
    long = ", ".join(["hat"] * 120)
    with torch.no_grad():
        short, whole = (loaded.encode_text([long], TextReading(most)) for most in (75, 225))
    assert any(whole[name].shape[1] > short[name].shape[1] for name in short)


def test_signal_falls_with_time(loaded: Model) -> None:
    ratios = loaded.diffusion.snr(torch.stack([loaded.diffusion.at(share / 10) for share in range(1, 10)]))
    assert ratios.dtype == torch.float32
    assert (ratios[1:] < ratios[:-1]).all() and ratios[-1] > 0 and torch.isfinite(ratios).all()


def test_names_are_one_to_one_and_lead_to_modules(loaded: Model) -> None:
    names = loaded.kohya_names()
    own = {loaded.kohya_name(*place) for place in names.values()}
    assert len(set(names.values())) == len(own) and own <= names.keys()
    assert all(
        list(names.values()).index(place) == list(names).index(loaded.kohya_name(*place)) for place in names.values()
    )
    for part, path in names.values():
        assert isinstance(loaded.part(part).get_submodule(path), LAYERS)
    for part in loaded.trainable:
        assert set(loaded.targets(part)) <= set(loaded.targets(part, convolutions=True)) == set(loaded.modules(part))


def test_modules_are_the_parts_own_whatever_is_attached(loaded: Model) -> None:
    before = {part: loaded.modules(part) for part in loaded.trainable}
    attached = LoRA(rank=2).attach(loaded, loaded.trainable)
    assert {part: loaded.modules(part) for part in loaded.trainable} == before
    attached.detach()
    for part, refs in before.items():
        for ref in refs:
            layer = loaded.part(part).get_submodule(ref.path)
            assert ref.kind == ("linear" if isinstance(layer, torch.nn.Linear) else "conv")
            assert ref.shape == tuple(layer.weight.shape)
            assert (ref.block is None) == (part != loaded.denoiser or not loaded.blocks)
            assert ref.block is None or 0 <= ref.block < loaded.blocks


def test_roles_are_told_without_weights(family: Family, loaded: Model) -> None:
    assert (family.denoiser, family.text_encoders) == (loaded.denoiser, loaded.text_encoders)
    assert (family.trainable, family.roles) == (loaded.trainable, loaded.roles)
    assert set(loaded.trainable) <= {loaded.denoiser, *loaded.text_encoders}


def test_what_a_training_keeps_is_foretold_from_shapes_alone(family: Family, loaded: Model) -> None:
    """Plans compute adapter sizes and memory from the footprint, without torch."""

    def told(refs: Iterable[ModuleRef]) -> set[ModuleRef]:
        return {replace(ref, path=ref.path.removeprefix("text_model.")) for ref in refs}  # by transformers' version

    footprint = family.footprint()
    assert footprint is not None
    assert (footprint.denoiser, footprint.blocks) == (loaded.denoiser, loaded.blocks)
    assert list(footprint.parameters) == list(loaded.trainable)
    for part in loaded.trainable:
        module = loaded.part(part)
        trained = sum(each.numel() for each in module.parameters())
        assert trained <= footprint.parameters[part] <= trained + sum(each.numel() for each in module.buffers())
        assert told(footprint.modules(part)) == told(loaded.modules(part))
        assert told(footprint.outer_modules(part)) == told(loaded.outer_modules(part))


def test_every_part_obeys_an_option_of_the_training_and_loaders_are_told_the_right_module(family: Family) -> None:
    options = rate_options(family.roles)
    assert set(family.roles) < set(options) and set(options.values()) <= set(RATES)
    assert (family.lora_module == "networks.lora") == (family.denoiser == "unet"), "it loads U-Nets alone"


def test_a_folder_is_known_by_its_own_family_alone(family: Family) -> None:
    parts = configurations(family.checkpoint.path)
    names = {*REGISTRY.names(), family.name}
    assert [name for name in names if REGISTRY.get(name).recognises_folder(parts)] == [family.name]
    if family.name in REGISTRY.names():  # a family of the tests is not listed
        assert of_folder(family.checkpoint.path).what == f"{family.kind.removesuffix(' checkpoint')} folder"


def test_latents_have_the_shape_that_is_foretold_and_lead_back_to_the_picture(family: Family, loaded: Model) -> None:
    size = family.native_size()
    latents = loaded.encode_images(pixels(family))
    assert latents.shape[1:] == loaded.latent_shape((size, size)) == family.latent_shape((size, size))
    assert loaded.latent_shape((2 * size, size))[1:] == (latents.shape[2], 2 * latents.shape[3])
    decoded = loaded.decode(latents)
    assert decoded.shape == (2, 3, size, size) and decoded.dtype == torch.float32
    raw = loaded.part("vae").encode(pixels(family)).latent_dist.mode()  # what the VAE itself makes of both
    assert torch.allclose(decoded, loaded.part("vae").decode(raw).sample, atol=1e-4)


def test_tokens_are_counted_without_the_ends(loaded: Model) -> None:
    assert loaded.token_count("") == 0
    assert loaded.token_count("hat, hat") > loaded.token_count("hat") > 0


def test_an_adapter_survives_the_file_format(loaded: Model) -> None:
    attached = LoRA(rank=2).attach(loaded, loaded.trainable)
    for parameters in attached.parameters().values():
        for parameter in parameters:
            torch.nn.init.normal_(parameter, std=0.1)
    learnt = attached.learned()
    attached.detach()
    read = Kohya().load(Kohya().save(learnt, loaded.kohya_names()), loaded.kohya_names())
    assert read.modules.keys() == learnt.modules.keys()
    assert all(torch.equal(read.modules[place].delta(), learnt.modules[place].delta()) for place in read.modules)


def test_a_part_let_go_is_the_same_when_it_is_back(family: Family) -> None:
    fresh = family.load("cpu")
    before = fresh.encode_images(pixels(family))
    fresh.release("vae")
    assert torch.equal(fresh.encode_images(pixels(family)), before)


def test_tiny_is_tiny_and_seeded(family: Family, tmp_path: Path) -> None:
    again = type(family).tiny(tmp_path)
    size = sum(file.stat().st_size for file in Path(again.checkpoint.path).rglob("*") if file.is_file())
    assert size < 8_000_000
    assert torch.equal(
        again.load("cpu").encode_images(pixels(family)), family.load("cpu").encode_images(pixels(family))
    )


def plain_places(names: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Return names with paths as all versions of transformers have them."""
    return {name: (part, path.removeprefix("text_model.")) for name, (part, path) in names.items()}


def test_names_of_modules_are_told_without_loading(family: Family, loaded: Model) -> None:
    assert plain_places(family.module_names()) == plain_places(loaded.kohya_names())


def test_tensors_are_found_in_the_files_of_a_base(family: Family, loaded: Model, tmp_path: Path) -> None:
    try:
        places = family.tensor_places()
    except InputError as error:
        assert family.name in str(error)
        return
    bases = [family]
    if "vae" in {part for part, _ in places}:
        saving = Saving({}, "fp32", lambda digest: {})
        loaded.save_checkpoint(tmp_path / "base.safetensors", "single_file", saving)
        described = {"config": Source(family.checkpoint.path)}
        bases.append(replace(family, checkpoint=Checkpoint(tmp_path / "base.safetensors"), **described))
    for base in bases:
        places = base.tensor_places()
        parts = {part: loaded.part(part).state_dict() for part in {part for part, _ in places}}
        assert {part: {name.removeprefix("text_model.") for name in of} for part, of in parts.items()} == {
            part: {name for each, name in places if each == part} for part in parts
        }
        files = {file: load_file(file) for file in {place.file for place in places.values()}}
        for part, tensors in parts.items():
            for name, tensor in tensors.items():
                place = places[part, name.removeprefix("text_model.")]
                found = files[place.file][place.key].chunk(place.slices)[place.slice_index]
                found = found.T if place.is_transposed else found
                assert torch.equal(found.reshape(tensor.shape).float(), tensor.float())
