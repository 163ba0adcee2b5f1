"""Each method of the adapter `peft`, from training to PEFT's own reading of the folder."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from lorapipe import formats
from lorapipe.errors import InputError, Interrupted
from lorapipe.formats import AdapterWeights
from lorapipe.formats.peft import Peft as PeftFolder
from lorapipe.inspection import inspect
from lorapipe.models import Model
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.pipeline.events import Metric
from lorapipe.spec import Destination, Duration, Source
from lorapipe.stages.export import Export
from lorapipe.stages.train import Train
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.peft import Peft
from lorapipe.training.interval import Interval
from lorapipe.training.peft_methods import Method

peft = pytest.importorskip("peft")
assert Method.registry is not None
METHODS = Method.registry.names()
TINY: dict[str, dict[str, Any]] = {
    "miss": {"rank": 4}, "oft": {"block_size": 4}, "vera": {"rank": 16}, "gralora": {"rank": 4}, "hira": {"rank": 2},
    "delora": {"limit": 1.0},
}  # fmt: skip
STEPS = 4
PARTS = ("unet", "text_encoder")


def adapter_of(name: str, **settings: Any) -> Peft:
    assert Method.registry is not None
    return Peft(method=Method.registry.get(name)(**{**TINY.get(name, {}), **settings}))


def trained(name: str, dataset: Dataset, bench: tiny.Bench, folder: str, **settings: Any) -> Weights:
    spec = Train(
        dataset=dataset, adapter=adapter_of(name), steps=Duration(STEPS), snapshots=Interval(2), unet_lr=3e-3,
        text_encoder_lr=3e-3, **settings,
    )  # fmt: skip
    return spec.run(bench.context(folder))


def stirred(name: str, model: Model) -> AdapterWeights:
    """Return weights as after a long training."""
    attached = adapter_of(name).attach(model, PARTS)
    generator = torch.Generator().manual_seed(2)
    for parameters in attached.parameters().values():
        for parameter in parameters:
            parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    learned = attached.learned()
    attached.detach()
    return learned


def answer(model: Model) -> torch.Tensor:
    noise = torch.randn(1, *model.latent_shape((64, 64)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.predict(noise, torch.tensor([500]), model.encode_text(["penny"]))


def used(model: Model, weights: AdapterWeights, strength: float = 1.0) -> torch.Tensor:
    attached = WeightsAdapter(weights).attach(model, weights.parts)
    attached.set_strength(dict.fromkeys(weights.parts, strength))
    found = answer(model)
    attached.detach()
    return found


def by_peft(model: Model, folder: Path) -> torch.Tensor:
    """Return the model's answer with PEFT's adapters on both parts."""
    wrapped = [peft.PeftModel.from_pretrained(model.part(part), folder / part) for part in PARTS]
    found = answer(model)
    for each in wrapped:
        each.unload()
    return found


@pytest.mark.parametrize("name", METHODS)
def test_peft_loads_the_folder_with_equal_outputs(name: str, model: Model, tmp_path: Path) -> None:
    learned, base = stirred(name, model), answer(model)
    formats.save(learned, model.kohya_names(), tmp_path / "a", PeftFolder())
    ours = used(model, learned)
    assert (ours - base).abs().max() > 1e-3
    assert torch.allclose(by_peft(model, tmp_path / "a"), ours, atol=2e-5)
    read = formats.open(tmp_path / "a", model.kohya_names())
    assert torch.allclose(used(model, read), ours, atol=1e-6)
    assert torch.equal(answer(model), base)


@pytest.mark.parametrize("name", METHODS)
def test_a_strength_scales_the_change_of_every_weight(name: str, model: Model) -> None:
    """W + s · ΔW, also where the update is a rotation."""
    learned, base = stirred(name, model), answer(model)
    layers = {place: model.part(place[0]).get_submodule(place[1]) for place in learned.modules}
    before = {place: copy.deepcopy(layer.state_dict()) for place, layer in layers.items()}
    for place, module in learned.modules.items():
        layer = layers[place]
        layer.weight.data += 0.5 * module.delta(layer.weight.data).reshape(layer.weight.shape)
        if (change := module.delta_bias(layer.bias)) is not None:
            layer.bias.data += 0.5 * change
    merged = answer(model)
    for place, layer in layers.items():
        layer.load_state_dict(before[place])
    assert (merged - base).abs().max() > 1e-3 and (merged - used(model, learned)).abs().max() > 1e-3
    assert torch.allclose(used(model, learned, 0.5), merged, atol=1e-5)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", METHODS)
def test_it_is_trained_stopped_resumed_exported_and_continued(
    name: str, dataset: Dataset, bench: tiny.Bench, model: Model, tmp_path: Path
) -> None:
    whole = trained(name, dataset, bench, f"whole {name}")
    bench.told.clear()
    bench.stopping = lambda: len(bench.of(Metric)) >= 1
    with pytest.raises(Interrupted):
        trained(name, dataset, bench, f"stopped {name}")
    bench.stopping = lambda: False
    resumed = trained(name, dataset, bench, f"stopped {name}")
    assert resumed.log.read_bytes() == whole.log.read_bytes()
    pairs = zip(resumed.snapshots, whole.snapshots, strict=True)
    assert all(mine.path.read_bytes() == other.path.read_bytes() for mine, other in pairs)

    names, base = model.kohya_names(), answer(model)
    changed = used(model, formats.open(whole.snapshots[-1].path, names))
    moved = float((changed - base).norm())
    assert moved > 0
    folders = {}
    for dtype, near in (("fp32", 1e-5), ("fp16", 2e-2)):
        to = Destination(tmp_path / dtype, True)
        folder = folders[dtype] = (
            Export(weights=whole, to=to, dtype=dtype, format=PeftFolder()).run(bench.context(f"{dtype} {name}")).path
        )
        again = used(model, formats.open(folder, names))
        assert float((again - changed).norm()) <= near * moved + 1e-5
        assert float((by_peft(model, folder) - changed).norm()) <= near * moved + 1e-5
    readers = ("comfyui", "forge", "a1111", "diffusers")
    for path in (folders["fp32"], whole.snapshots[-1].path):
        assert not any(
            reading.loaded and adapter_of(name).algorithm != "ia3" for reading in inspect(path, readers).readings
        )
    report = inspect(folders["fp32"]).report
    assert report.kind == "adapter" and not report.problems and [*report.algorithms] == [adapter_of(name).algorithm]

    further = trained(name, dataset, bench, f"further {name}", start_from=Source(folders["fp32"]))
    assert not torch.allclose(used(model, formats.open(further.snapshots[-1].path, names)), changed, atol=moved / 1e4)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", METHODS)
def test_other_programs_get_a_lora_or_the_difference(
    name: str, dataset: Dataset, bench: tiny.Bench, model: Model, tmp_path: Path
) -> None:
    weights, names, base = trained(name, dataset, bench, f"converted {name}"), model.kohya_names(), answer(model)
    changed = used(model, formats.open(weights.snapshots[-1].path, names))
    for convert, near in (("diff", 1e-4), ("lora", 0.9)):
        to = Destination(tmp_path / convert / "a.safetensors")
        made = Export(weights=weights, to=to, dtype="fp32", convert=convert, convert_rank=16)  # type: ignore[arg-type]
        found = formats.open(made.run(bench.context(f"{convert} {name}")).path, names)
        assert found.algorithms == ("full" if convert == "diff" else "lora",)
        assert float((used(model, found) - changed).norm()) <= near * float((changed - base).norm()) + 1e-5
    if adapter_of(name).algorithm != "ia3":  # LyCORIS has it, in kohya's keys
        to = Destination(tmp_path / "own.safetensors")
        with pytest.raises(InputError, match="only in the format peft"):
            Export(weights=weights, to=to).run(bench.context(f"own {name}"))


def test_a_rate_that_suits_a_method_is_allowed_and_usual(dataset: Dataset) -> None:
    def problems(name: str, rate: float | None) -> list[str]:
        train = Train(dataset=dataset, adapter=adapter_of(name), unet_lr=rate)
        return [problem.what for problem in train.problems() if problem.path == ("unet_lr",)]

    assert problems("boft", 0.05) and problems("vera", 0.5)
    assert not problems("vera", 0.05) and not problems("vera", None)


@pytest.mark.parametrize(
    ("method", "settings", "words"),
    [
        ("hra", {"rank": 3}, "3 is odd"),
        ("gralora", {"rank": 6, "blocks": 4}, "not a multiple of blocks"),
        ("boft", {"block_size": 7}, "which blocks of 7 do not divide"),
        ("miss", {"rank": 4096}, "fewer than rank 4096"),
    ],
)
def test_sizes_that_do_not_fit_are_told_before_a_training(
    method: str, settings: dict[str, Any], words: str, dataset: Dataset, tmp_path: Path
) -> None:
    from lorapipe.models.sd15 import SD15

    adapter = adapter_of(method, **settings)
    found = [*adapter.problems(), *adapter.method.problems(), *adapter.objections(SD15.tiny(tmp_path))]
    assert [each for each in found if words in each.what and each.cure]


def test_methods_are_a_closed_list_with_their_own_settings() -> None:
    from lorapipe.spec.parse import from_dict

    def said(method: object) -> str:
        with pytest.raises(InputError) as error:
            from_dict(Adapter, {"type": "peft", "method": method})
        return str(error.value)

    assert "boft" in said("bofd") and "hra" in said({"type": "hraa"})
    assert "rank" in said({"type": "vera", "rnk": 8}) and "block_size" in said({"type": "hra", "block_size": 4})


@pytest.mark.parametrize("name", ["vera", "hra", "ia3"])
def test_a_folder_of_pefts_own_is_continued(name: str, model: Model, tmp_path: Path) -> None:
    """Also with PEFT's own random matrices."""
    from lorapipe.training.initial_weights import initialise_from

    configs = {
        "vera": lambda **told: peft.VeraConfig(r=16, **told),
        "hra": lambda **told: peft.HRAConfig(r=8, **told),
        "ia3": lambda **told: peft.IA3Config(feedforward_modules=[], **told),
    }
    adapter = dataclasses.replace(adapter_of(name), include=("attn2",), exclude=("to_out",))
    targets = [ref.path for ref in adapter._targets().of(model, "unet")]
    wrapped = peft.get_peft_model(model.part("unet"), configs[name](target_modules=targets))
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn(parameter.shape) * 0.1)
    wrapped.save_pretrained(tmp_path / "unet")
    wanted = answer(model)
    wrapped.unload()
    assert (wanted - answer(model)).abs().max() > 1e-3
    attached = adapter.attach(model, ("unet",))
    initialise_from(tmp_path, attached, model)
    assert torch.allclose(answer(model), wanted, atol=2e-5)
    learned = attached.learned()
    attached.detach()
    assert torch.allclose(used(model, learned), wanted, atol=2e-5)
