"""Round trips of adapter files in every format, here and in the programs that define the formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import Bench

from lorapipe import formats
from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights, Format, ModuleWeights, Place
from lorapipe.formats.algorithms import Algorithm
from lorapipe.formats.diffusers import Diffusers
from lorapipe.formats.kohya import Kohya
from lorapipe.formats.peft import Peft
from lorapipe.inspection import inspect
from lorapipe.models import Family, Model
from lorapipe.pipeline.artifacts import Dataset, File
from lorapipe.spec import Destination, Duration
from lorapipe.stages.export import Export
from lorapipe.stages.train import Train
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.interval import Interval
from pipelines import pipeline_of

PARTS = ("unet", "text_encoder")
assert Format.registry is not None and Family.registry is not None
FAMILIES = Family.registry
FORMATS = [name for name in Format.registry.names() if Format.registry.get(name).updates]


def learned_by(adapter: Adapter, model: Model, parts: tuple[str, ...] = PARTS) -> AdapterWeights:
    """Return weights as after a training, none of them 0."""
    attached = adapter.attach(model, parts)
    generator = torch.Generator().manual_seed(2)
    for parameters in attached.parameters().values():
        for parameter in parameters:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    learned = attached.learned()
    attached.detach()
    return learned


def alike(found: Mapping[Place, ModuleWeights], wanted: Mapping[Place, ModuleWeights], error: float = 1e-5) -> bool:
    deltas = {place: (found[place].delta(), wanted[place].delta()) for place in wanted}
    return found.keys() == wanted.keys() and all((a - b).norm() <= error * b.norm() for a, b in deltas.values())


UNEVEN = LoCon(rank=4, alpha=2.0, conv_rank=2, conv_alpha=1.0)


@pytest.mark.parametrize("parts", [PARTS, ("unet",), ("text_encoder",)])
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_saved_is_opened(name: str, parts: tuple[str, ...], model: Model, tmp_path: Path) -> None:
    assert Format.registry is not None
    format = Format.registry.get(name)()
    learned, path = learned_by(UNEVEN, model, parts), tmp_path / f"a{format.ending}"
    for dtype, error in (("fp32", 1e-5), ("fp16", 2e-3)):
        formats.save(learned, model.kohya_names(), path, format, dtype=dtype)
        assert alike(formats.open(path, model.kohya_names()).modules, learned.modules, error)
        assert not [*formats.complaints(path)]


def test_an_algorithm_of_another_package_goes_through_the_formats_it_is_in(
    plugins: None, model: Model, tmp_path: Path
) -> None:
    assert Adapter.registry is not None and "trilora" in Algorithm.registry.names()
    learned = learned_by(Adapter.registry.get("trilora")(), model)
    formats.save(learned, model.kohya_names(), tmp_path / "a.safetensors", Kohya())
    assert alike(formats.open(tmp_path / "a.safetensors", model.kohya_names()).modules, learned.modules)
    for format in (Diffusers(), Peft()):
        with pytest.raises(InputError, match="which this format has not"):
            formats.save(learned, model.kohya_names(), tmp_path / "b", format)


def deltas_of(peft_model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return ΔW of each module that PEFT has wrapped, by its path in the model."""
    found = {}
    for path, module in peft_model.named_modules():
        if hasattr(module, "get_delta_weight"):
            found[path.removeprefix("base_model.model.")] = module.get_delta_weight("default").detach()
    return found


@pytest.mark.parametrize("kind", ["lora", "locon", "loha"])
def test_peft_itself_loads_the_folder_as_the_same_update(kind: str, model: Model, tmp_path: Path) -> None:
    """`PeftModel.from_pretrained`, of both parts, with ranks and alphas that differ from module to module."""
    peft = pytest.importorskip("peft")
    assert Adapter.registry is not None
    blocks = tuple(1 + block % 3 for block in range(model.blocks))
    knobs = {"rank": 4, "alpha": 1.0, "block_ranks": blocks, **({"conv_rank": 3} if kind == "locon" else {})}
    learned = learned_by(Adapter.registry.get(kind)(**knobs), model)
    formats.save(learned, model.kohya_names(), tmp_path / "a", Peft())
    for part in PARTS:
        wrapped = peft.PeftModel.from_pretrained(model.part(part), tmp_path / "a" / part)
        theirs = deltas_of(wrapped)
        wrapped.unload()
        ours = {path: module.delta() for (each, path), module in learned.modules.items() if each == part}
        assert theirs.keys() == ours.keys()
        for path, delta in ours.items():
            assert torch.allclose(theirs[path].reshape(delta.shape), delta, atol=1e-6), path


def test_a_folder_that_peft_wrote_is_read(model: Model, tmp_path: Path) -> None:
    """Of one part, whose name no folder tells; with a pattern for some modules, and rsLoRA's scale."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=4, lora_alpha=2, use_rslora=True, target_modules=["to_q", "to_v"], alpha_pattern={"to_v": 8},
        init_lora_weights=False,
    )  # fmt: skip
    wrapped = peft.get_peft_model(model.part("unet"), config)
    wrapped.save_pretrained(tmp_path / "theirs")
    theirs = deltas_of(wrapped)
    wrapped.unload()
    for path in (tmp_path / "theirs", tmp_path / "theirs" / "adapter_model.safetensors"):
        ours = formats.open(path, model.kohya_names())
        assert {path for _, path in ours.modules} == theirs.keys()
        for (part, where), module in ours.modules.items():
            assert part == "unet" and torch.allclose(module.delta(), theirs[where], atol=1e-6)


def test_diffusers_itself_loads_the_file_as_the_same_update(model: Model, tmp_path: Path) -> None:
    learned = learned_by(UNEVEN, model)
    formats.save(learned, model.kohya_names(), tmp_path / "pytorch_lora_weights.safetensors", Diffusers())
    modules = {place: model.part(place[0]).get_submodule(place[1]) for place in learned.modules}
    before = {place: module.weight.detach().clone() for place, module in modules.items()}
    pipeline = pipeline_of(model)
    pipeline.load_lora_weights(tmp_path)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    try:
        for place, module in learned.modules.items():
            now = model.part(place[0]).get_submodule(place[1]).weight
            assert torch.allclose(now - before[place], module.delta().reshape(now.shape), atol=1e-5), place
    finally:
        with torch.no_grad():
            for place, old in before.items():
                model.part(place[0]).get_submodule(place[1]).weight.copy_(old)


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_comfyui_and_forge_read_diffusers_keys_too(family: str, tmp_path: Path) -> None:
    """By their tables of names; diffusers itself reads them in the test above, and of SDXL here."""
    made = FAMILIES.get(family).tiny(tmp_path / family).load("cpu")
    attached = UNEVEN.attach(made, made.trainable)
    file = tmp_path / "pytorch_lora_weights.safetensors"
    formats.save(attached.learned(), made.kohya_names(), file, Diffusers())
    attached.detach()
    for reading in inspect(file, ("comfyui", "forge", "diffusers")).readings:
        assert not reading.refused and not reading.ignored and not reading.differences, reading
    keys = [*load_file(file)]
    assert any(".attn2.processor.to_out_lora.up." in key for key in keys)
    found = formats.open(file, made.kohya_names())
    assert {part for part, _ in found.modules} == {*made.trainable}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"peft_type": "BONE"}, "PEFT's BONE, which is not read"),
        ({"r": "four"}, "r: 'four' is not of type 'integer'"),
        ({"bias": "all"}, "bias"),
        ({"use_dora": True}, "settings that are not read: use_dora"),
        ({"alpha_pattern": {"to_q": "x"}}, "alpha_pattern.to_q"),
        (None, "is no JSON"),
    ],
)
def test_settings_that_would_change_the_update_are_refused_before_anything_runs(
    change: dict[str, object] | None, words: str, model: Model, tmp_path: Path
) -> None:
    formats.save(learned_by(UNEVEN, model, ("unet",)), model.kohya_names(), tmp_path / "a", Peft())
    file = tmp_path / "a" / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text("{" if change is None else json.dumps({**config, **change}))
    assert [each for each in formats.complaints(tmp_path / "a") if words in each.what and each.cure]
    with pytest.raises(InputError, match=words):
        formats.open(tmp_path / "a", model.kohya_names())


def test_a_peft_folder_is_exported_and_trained_further(dataset: Dataset, bench: Bench, tmp_path: Path) -> None:
    short = Train(dataset=dataset, adapter=LoCon(rank=2, conv_rank=1), steps=Duration(2), snapshots=Interval(1))
    weights = short.run(bench.context("peft-train"))
    made = Export(weights=weights, to=Destination(tmp_path / "penny", True), format=Peft(), dtype="fp32").run(
        bench.context("peft-export")
    )
    assert isinstance(made, File) and (made.path / "unet" / "adapter_config.json").is_file()
    import dataclasses

    from lorapipe.spec import Source

    again = dataclasses.replace(short, start_from=Source(made.path))
    assert not [*again.problems()]
    again.run(bench.context("peft-again"))
