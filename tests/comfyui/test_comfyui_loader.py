"""ComfyUI's own loader loads every key of every exported adapter, with the same ΔW, at full size."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import comfyui_names
import ldm_layout
import published
import pytest
import torch
from real_comfyui import ComfyUI

from lorapipe import formats
from lorapipe.formats import AdapterWeights, Format, Names
from lorapipe.formats.algorithms import Algorithm
from lorapipe.formats.kohya import Kohya
from lorapipe.inspection._comparison import ROUNDING as EQUAL
from lorapipe.inspection._module_names import parsed
from lorapipe.inspection.readers import ReadModule
from lorapipe.inspection.readers._comfyui_rules import unknown_name
from lorapipe.inspection.readers.comfyui import STYLES
from lorapipe.models import Family
from lorapipe.models._unet import LatentDiffusion
from lorapipe.pipeline.artifacts import Dataset, Snapshot, Weights
from lorapipe.pipeline.context import Context
from lorapipe.spec import Destination, knobs
from lorapipe.stages import _read_back
from lorapipe.stages.export import Export
from lorapipe.training.adapter_layers.lora_knobs import LoraKnobs
from lorapipe.training.adapter_layers.target_knobs import TargetKnobs
from lorapipe.training.adapters import Adapter
from lorapipe.training_record import TrainingRecord

assert Adapter.registry is not None and Format.registry is not None and Family.registry is not None
SMALL: dict[str, Any] = {"rank": 4, "conv_rank": 2}
USUAL, EVERY_KNOB = "usual", "every-knob"
SETTINGS: dict[str, dict[str, Any]] = {
    USUAL: SMALL,
    EVERY_KNOB: {
        "rank": 6, "conv_rank": 3, "alpha": 1.5, "conv_alpha": 0.7, "constraint": 0.5,
        "preset": "full", "tucker": True, "decompose_both": True, "norms": True,
    },
    "dora": {**SMALL, "dora": True},
    "dora-of-outputs": {**SMALL, "dora": True, "dora_axis": "output"},
}  # fmt: skip
"""Values of the knobs that affect a file, for adapters that have them; `block_ranks` goes with `EVERY_KNOB`."""
LARGE, FEWER = 2**28, (r"mid_block\.(resnets|attentions\.0\.transformer_blocks\.0\.)", r"layers\.0\.")
"""An adapter of more numbers than this is compared on these modules alone."""
CONVOLUTIONS = {"lora": False, "locon": True}
"""Whether an adapter at its defaults is on the resnet blocks too, which determines its number of modules."""
TEXTS = {
    ("sd15", "text_encoder"): "clip_l",
    ("sd2", "text_encoder"): "clip_h",
    ("sdxl", "text_encoder"): "clip_l",
    ("sdxl", "text_encoder_2"): "clip_g",
}


@dataclass(frozen=True)
class Exported:
    """A file as the stage `export` writes it, and its snapshot."""

    adapter: str
    dtype: str
    setting: str
    file: Path
    learnt: Path

    @property
    def is_whole(self) -> bool:
        """Whether ΔW is compared for every module, not for one of each shape and form."""
        return self.setting == USUAL and self.file.stem == Kohya().name and self.adapter in CONVOLUTIONS

    @property
    def label(self) -> str:
        """The label in messages."""
        return f"{self.adapter}, {self.setting}, {self.file.stem} {self.dtype}"


@dataclass(frozen=True)
class Answer:
    """ComfyUI's results for all files of a family."""

    family: str
    model: LatentDiffusion
    names: Names
    accepted: dict[str, str]
    files: list[tuple[Exported, dict[str, Any]]]


def with_knobs(adapter: type[Adapter], values: dict[str, Any]) -> Adapter:
    """Return an adapter with those values that it has a knob for."""
    return adapter(**{knob.name: values[knob.name] for knob in knobs(adapter) if knob.name in values})


def stir(model: LatentDiffusion) -> None:
    """Set the adapter's parameters, which have no values on the base's meta device, to random ones."""
    generator = torch.Generator().manual_seed(0)
    for part in model.trainable:
        for module in model.part(part).modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                if parameter.requires_grad:
                    values = torch.randn(parameter.shape, generator=generator) * 0.3
                    setattr(module, name, torch.nn.Parameter(values))


def exports(base: Family, model: LatentDiffusion, folder: Path) -> Iterator[Exported]:
    """Export every adapter that has layers in modules, in every format that takes it, at each of the settings."""
    blocks = tuple(place % 4 for place in range(model.blocks))
    rarer = itertools.cycle(("fp32", "bf16"))
    assert Adapter.registry is not None and Format.registry is not None
    for name in Adapter.registry.names():
        kind = Adapter.registry.get(name)
        if not issubclass(kind, TargetKnobs):  # a word, networks, a whole base
            continue
        for setting, values in SETTINGS.items():
            if "dora" in values and "dora" not in {knob.name for knob in knobs(kind)}:
                continue
            dtype = next(rarer) if setting == EVERY_KNOB else "fp16"
            adapter = with_knobs(kind, {**values, **({"block_ranks": blocks} if setting == EVERY_KNOB else {})})
            footprint = base.footprint()
            assert footprint is not None
            if adapter.size(footprint, model.trainable) > LARGE:
                adapter = replace(adapter, include=FEWER)
            attached = adapter.attach(model, model.trainable)
            stir(model)
            learnt = attached.learned()
            attached.detach()
            made = folder / f"{name}-{setting}"
            made.mkdir()
            formats.save(learnt, model.kohya_names(), made / "learnt.safetensors", Kohya())
            weights, context = weights_of(base, made), Context(made, made, made, lambda event: None, lambda: False)
            for form in Format.registry.names():
                if not takes(Format.registry.get(form)(), learnt):
                    continue
                stage = Export(
                    weights=weights,
                    to=Destination(Path(f"{form}.safetensors")),
                    format=Format.registry.get(form)(),
                    dtype=dtype,
                )
                yield Exported(name, dtype, setting, stage.run(context).path, made / "learnt.safetensors")


def takes(form: Format, learnt: AdapterWeights) -> bool:
    """Whether a format is one file for ComfyUI's LoRA loader, and has names for all of the tensors."""
    if form.ending != ".safetensors" or not form.updates:  # a folder, or for embeddings alone
        return False
    if any(only and form.name not in only for only in (Algorithm.of(each).formats for each in learnt.algorithms)):
        return False  # PEFT's methods, which export refuses here
    return all(
        module.tensors.keys() <= form.suffixes(Algorithm.of(module.algorithm)).keys()
        for module in learnt.modules.values()
    )


def weights_of(base: Family, folder: Path) -> Weights:
    """Return the snapshot in a folder as the weights of a training."""
    record = TrainingRecord(
        family=base.name, base_model_version="", architecture="", prediction="epsilon", base_name="published",
        settings={"adapter": {}, "seed": 0}, rates={}, rank=4, alpha=4.0, pictures=1, pictures_per_epoch=1,
        batches_per_epoch=1, steps=1, resolution=(512, 512),
    )  # fmt: skip
    record.save(folder / "training.json")
    dataset = Dataset(folder / "manifest.json", base, folder, folder)
    return Weights((Snapshot(1, 1, folder / "learnt.safetensors"),), dataset, folder / "training.json", folder)


def unet_shapes(model: LatentDiffusion) -> dict[str, list[int]]:
    """Return the U-Net's tensors under the original code's names, by which a checkpoint is recognised."""
    return {original(model, key): list(tensor.shape) for key, tensor in model.part("unet").state_dict().items()}


def original(model: LatentDiffusion, key: str) -> str:
    """Return the original name of a tensor of the U-Net, by the tests' own table."""
    config: Any = model.part("unet").config
    attentions = ["Attn" in kind for kind in config.up_block_types]
    return ldm_layout.unet_key(key, len(config.block_out_channels), config.layers_per_block, attentions.__getitem__)


@pytest.fixture(scope="module", params=Family.registry.names())
def answer(request: pytest.FixtureRequest, comfyui: ComfyUI, tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """All files of a family, loaded by ComfyUI in a process of its own, which checks ΔW instead of the exporter."""
    folder = tmp_path_factory.mktemp(request.param)
    base = published.base(request.param, folder / "base")
    model = published.model(base)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_read_back, "largest_error", lambda *arguments: 0.0)
        names, files = model.kohya_names(), list(exports(base, model, folder))
    asked = {
        "comfyui": str(comfyui.path),
        "unet": unet_shapes(model),
        "names": names,
        "files": [{"file": str(each.file), "learnt": str(each.learnt), "all_modules": each.is_whole} for each in files],
    }
    (folder / "request.json").write_text(json.dumps(asked), encoding="utf-8")
    program = Path(__file__).parent / "loader.py"
    command = [comfyui.python, str(program), str(folder / "request.json"), str(folder / "answer.json")]
    # glibc gives large blocks back at once and gets them anew: half the time, where every ΔW is one.
    kept = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**32)}
    done = subprocess.run(command, env={**comfyui.environment(), **kept}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    return Answer(request.param, model, names, found["accepted"], list(zip(files, found["files"], strict=True)))


def target(answer: Answer, part: str, path: str) -> str:
    """Return ComfyUI's name of the weight of a module."""
    if part == "unet":
        return f"diffusion_model.{original(answer.model, f'{path}.weight')}"
    return f"{TEXTS[answer.family, part]}.transformer.text_model.{path.removeprefix('text_model.')}.weight"


def test_every_name_means_the_same_module(answer: Answer) -> None:
    """Those that are written, and the other dialect's that are read; the first are the table that needs no ComfyUI."""
    assert comfyui_names.of_family(answer.family, convolutions=True) <= answer.names.keys()
    unknown = {name for name in answer.names if not ours_of_comfyui(name)}
    assert all("layer_norm" in name for name in unknown), "the normalisations of text encoders"
    assert {name: answer.accepted.get(name) for name in answer.names} == {
        name: None if name in unknown else target(answer, *place) for name, place in answer.names.items()
    }


def ours_of_comfyui(name: str) -> bool:
    """Whether our rules say that ComfyUI knows a module by this name."""
    return not unknown_name(ReadModule(parsed(name), Algorithm.of("lora"), frozenset(), (), None), STYLES)


def test_every_module_of_every_file_is_loaded(answer: Answer) -> None:
    """All but those that our rules of ComfyUI say it has no name for, of which it says so itself."""
    for exported, found in answer.files:
        taken = [module for module in found["modules"] if not module["ignored"]]
        biases = [module["target"].removesuffix("weight") + "bias" for module in taken if module["bias"]]
        assert found["patched"] == sorted([*(module["target"] for module in taken), *biases]), exported.label
        strange = [line for line in found["told"] if not line.startswith("lora key not loaded: ")]
        assert strange == [], exported.label
        assert bool(found["told"]) == (len(taken) < len(found["modules"])), exported.label
        if taken and exported.setting != EVERY_KNOB and exported.file.stem == Kohya().name:  # (IA)³ has no loader there
            assert not found["told"], exported.label
        if exported.setting == USUAL and exported.adapter in CONVOLUTIONS:
            known = comfyui_names.of_family(answer.family, CONVOLUTIONS[exported.adapter])
            assert len(taken) == len(known), exported.label


def test_every_update_is_ours(answer: Answer) -> None:
    """At strength 1, ½ and 2; but for modules that our rules say are misread, of which one differs indeed."""
    assert Adapter.registry is not None
    for exported, found in answer.files:
        right = [error[:2] for module in found["modules"] if not module["misread"] for error in module["errors"]]
        wrong = [error[:2] for module in found["modules"] if module["misread"] for error in module["errors"]]
        if right:
            print(f"{answer.family} {exported.label}: {len(right)} changes, ΔW within {worst(right)}")
        if wrong:
            print(f"{answer.family} {exported.label}: {len(wrong)} changes, misread by {worst(wrong)}")
        assert all(error <= _read_back.ROUNDING[exported.dtype] for _, error in right), (exported.label, worst(right))
        assert not wrong or max(error for _, error in wrong) > 0.001, exported.label
        if exported.setting in (USUAL, "dora") and issubclass(Adapter.registry.get(exported.adapter), LoraKnobs):
            assert not wrong, exported.label


def test_our_rules_of_comfyui_are_its_own(answer: Answer) -> None:
    """The numbers behind `lorapipe inspect --for comfyui`, also where they are wrong on purpose."""
    for exported, found in answer.files:
        errors = [(error[0], error[2]) for module in found["modules"] for error in module["errors"]]
        print(f"{answer.family} {exported.label}: {len(errors)} changes, rules within {worst(errors)}")
        is_read = any(not module["ignored"] for module in found["modules"])
        assert bool(errors) == is_read and all(error <= EQUAL for _, error in errors), (exported.label, worst(errors))


def worst(errors: list[list[float]] | list[tuple[float, float]]) -> str:
    """Return the largest error at each strength."""
    found: dict[float, float] = {}
    for strength, error in errors:
        found[strength] = max(found.get(strength, 0.0), error)
    return ", ".join(f"{error:.1e} at {strength:g}" for strength, error in sorted(found.items()))
