"""Exported checkpoints: lorapipe, diffusers and an independent writer of the layout give the same weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ldm_layout
import pytest
import tiny
import torch
from outcomes import ends
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lorapipe import formats
from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights
from lorapipe.formats.diffusers import Diffusers
from lorapipe.formats.kohya import Kohya
from lorapipe.formats.peft import Peft
from lorapipe.models import Checkpoint, Family, Model
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline import loader
from lorapipe.pipeline.artifacts import Base, Snapshot, Weights
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.delivery_log import is_as_exported
from lorapipe.pipeline.execution.runner import Run
from lorapipe.spec import Destination, Source
from lorapipe.stages.export import Export
from lorapipe.training.adapters.finetune import Finetune
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.model_contexts import attached

FAMILIES = Family.registry
NAMES = ("sd15", "sd2", "sdxl")


@dataclasses.dataclass(frozen=True)
class Tuned:
    """A base, and a snapshot of a fine-tune of it whose every weight has moved."""

    base: Family
    model: Model
    snapshot: Path

    def tensors(self, strength: float = 1.0) -> dict[str, Tensor]:
        """The tuned modules in the original layout, by the tests' own writer."""
        with self.attached() as handle:
            handle.set_strength(dict.fromkeys(self.model.trainable, strength))
            return ldm(self.model)

    def attached(self) -> Any:
        @dataclasses.dataclass
        class Loaded:
            context: Any

            def __enter__(inner) -> Any:  # noqa: N805
                handle = inner.context.__enter__()
                handle.load(formats.open(self.snapshot, self.model.kohya_names()))
                return handle

            def __exit__(inner, *error: object) -> None:  # noqa: N805
                inner.context.__exit__(*error)

        return Loaded(attached(Finetune(), self.model, self.model.trainable))


def ldm(model: Any) -> dict[str, Tensor]:
    texts: dict[str, Tensor] = {}
    for text in model.texts:
        write = ldm_layout.open_clip if text.open_clip else ldm_layout.clip
        texts |= write(model.part(text.name), text.prefix)
    return ldm_layout.checkpoint(model.part("unet"), model.part("vae"), texts)


@pytest.fixture(scope="module", params=NAMES)
def tuned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return made(request.param, tmp_path_factory.mktemp(request.param))


def made(family: str, folder: Path) -> Tuned:
    base = FAMILIES.get(family).tiny(folder / "base")
    model, generator = base.load("cpu"), torch.Generator().manual_seed(2)
    with attached(Finetune(), model, model.trainable) as handle:
        for parameter in [p for found in handle.parameters().values() for p in found]:
            parameter.data += torch.randn(parameter.shape, generator=generator) * 0.02
        formats.save(handle.learned(), model.kohya_names(), folder / "tuned.safetensors", Kohya())
    return Tuned(base, model, folder / "tuned.safetensors")


Exporter = Callable[..., Path]


@pytest.fixture
def export(tmp_path: Path) -> Exporter:
    def run(tuned: Tuned, **knobs: Any) -> Path:
        base = knobs.pop("base", tuned.base)
        weights = Weights((Snapshot(5, 1, tuned.snapshot),), base=base)
        to = Destination(tmp_path / "tuned.safetensors" if "format" not in knobs else tmp_path / "tuned")
        stage = Export(weights=weights, to=to, convert="checkpoint", **{"dtype": "fp32", **knobs})
        assert [*stage.problems()] == []
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        artifact = stage.run(Context(out, tmp_path / "resume", tmp_path / "cache", lambda event: None, lambda: False))
        assert isinstance(artifact, Base)
        return artifact.path

    return run


def near(ours: dict[str, Tensor], theirs: dict[str, Tensor], error: float = 1e-6) -> None:
    for key, tensor in theirs.items():
        assert ours[key].shape == tensor.shape, key
        assert (ours[key].float() - tensor.float()).abs().max() <= error, key


def answer(model: Model) -> Tensor:
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.predict(noise, torch.tensor([5, 500]), model.encode_text(["a red hat", "b"]))


def test_the_single_file_is_the_original_layout(tuned: Tuned, export: Exporter) -> None:
    """Key by key what the tests' own writer makes of the tuned modules; beside them what nothing reads."""
    found, wanted = load_file(export(tuned)), tuned.tensors()
    near(found, wanted)
    more = {key.rpartition(".")[0].rpartition(".")[0] or key for key in found.keys() - wanted.keys()}
    assert all(".resblocks." in key or "cond" in key for key in more), more


@pytest.mark.parametrize("layout", ["file", "folder"])
def test_lorapipe_reads_it_as_the_tuned_base(tuned: Tuned, export: Exporter, layout: str) -> None:
    with tuned.attached():
        wanted = answer(tuned.model)
    if layout == "file":
        knobs: dict[str, Any] = {"config": Source(tuned.base.checkpoint.path)}
        base = dataclasses.replace(tuned.base, checkpoint=Checkpoint(export(tuned)), **knobs)
    else:
        base = dataclasses.replace(tuned.base, checkpoint=Checkpoint(export(tuned, format=Diffusers())))
    assert [*base.problems()] == [], "check has nothing to say of it"
    assert (answer(base.load("cpu")) - wanted).abs().max() < 1e-5
    assert (answer(tuned.base.load("cpu")) - wanted).abs().max() > 1e-3, "which is another base"


@pytest.mark.parametrize("layout", ["file", "folder"])
def test_diffusers_reads_it_as_the_tuned_base(tuned: Tuned, export: Exporter, layout: str) -> None:
    import diffusers

    kind = getattr(diffusers, "StableDiffusionXLPipeline" if "sdxl" in tuned.base.name else "StableDiffusionPipeline")
    if layout == "file":
        folder, path = str(tuned.base.checkpoint.path), export(tuned)
        pipe = kind.from_single_file(str(path), config=folder, local_files_only=True)
        theirs = {part: getattr(pipe, part).state_dict() for part in ("unet", "vae")}
        theirs |= {text.name: converted(text, load_file(path)) for text in tuned.model.texts}  # type: ignore[attr-defined]
    else:
        pipe = kind.from_pretrained(export(tuned, format=Diffusers()), local_files_only=True)
        theirs = {part: getattr(pipe, part).state_dict() for part in (*tuned.model.trainable, "vae")}
    with tuned.attached():
        for part, found in theirs.items():
            near(named(found), named(tuned.model.part(part).state_dict()))


def named(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("text_model."): each for name, each in tensors.items() if "position_ids" not in name}


def converted(text: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A text encoder's tensors as diffusers converts them; with transformers 5 its own loading of them misses a prefix."""
    from diffusers.loaders import single_file_utils

    if not text.open_clip:
        return single_file_utils.convert_ldm_clip_checkpoint(tensors)
    width = tensors[f"{text.prefix}ln_final.weight"].shape[0]
    whose = SimpleNamespace(config=SimpleNamespace(hidden_size=width))
    return single_file_utils.convert_open_clip_checkpoint(whose, tensors, text.prefix)


def test_a_single_file_keeps_all_its_keys(tuned: Tuned, export: Exporter, tmp_path: Path) -> None:
    """The trained tensors are replaced in it; a Linear stands as the convolution that it was, strangers stay."""
    source = ldm(tuned.model) | {"model_ema.decay": torch.tensor(0.5), "step": torch.tensor([7])}
    save_file(source, tmp_path / "base.safetensors")
    knobs: dict[str, Any] = {"config": Source(tuned.base.checkpoint.path)}
    base = dataclasses.replace(tuned.base, checkpoint=Checkpoint(tmp_path / "base.safetensors"), **knobs)
    found = load_file(export(tuned, base=base))
    assert found.keys() == source.keys()
    near(found, tuned.tensors() | {"model_ema.decay": torch.tensor(0.5), "step": torch.tensor([7])})
    vae = [key for key in source if key.startswith("first_stage_model.")]
    assert vae and all(torch.equal(found[key], source[key]) for key in vae)


def test_a_single_file_becomes_a_folder(tuned: Tuned, export: Exporter, tmp_path: Path) -> None:
    """What a file does not say, the published configuration or `config` does."""
    save_file(ldm(tuned.model), tmp_path / "base.safetensors")
    knobs: dict[str, Any] = {"config": Source(tuned.base.checkpoint.path)}
    base = dataclasses.replace(tuned.base, checkpoint=Checkpoint(tmp_path / "base.safetensors"), **knobs)
    folder = export(tuned, base=base, format=Diffusers())
    with tuned.attached():
        wanted = answer(tuned.model)
    again = dataclasses.replace(tuned.base, checkpoint=Checkpoint(folder))
    assert [*again.problems()] == []
    assert (answer(again.load("cpu")) - wanted).abs().max() < 1e-5


def test_strength_is_the_way_from_the_base_to_the_tuned(tuned: Tuned, export: Exporter) -> None:
    near(load_file(export(tuned, strength=0.5)), tuned.tensors(0.5))
    near(load_file(export(tuned, strength=0.0)), ldm(tuned.model), 0.0)


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return made("sd15", tmp_path_factory.mktemp("sd15"))


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision_rounds_once(sd15: Tuned, export: Exporter, dtype: str) -> None:
    found, kind = load_file(export(sd15, dtype=dtype)), {"fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
    for key, tensor in sd15.tensors().items():
        assert found[key].dtype == kind
        assert (found[key].float() - tensor.to(kind).float()).abs().max() <= 2 ** (-9 if dtype == "fp16" else -6), key


def test_another_vae_is_baked_in(sd15: Tuned, export: Exporter, tmp_path: Path) -> None:
    other = SD15.tiny(tmp_path / "other", seed=9)
    found, theirs = load_file(export(sd15, vae=Source(tmp_path / "other"))), ldm(other.load("cpu"))
    near(found, {key: tensor for key, tensor in theirs.items() if key.startswith("first_stage_model.")}, 0.0)
    near(found, {key: t for key, t in sd15.tensors().items() if not key.startswith("first_stage_model.")})


def test_metadata_names_a_checkpoint_and_seals_it(sd15: Tuned, export: Exporter) -> None:
    path = export(sd15, title="Penny", trigger="penny")
    with safe_open(path, framework="pt") as file:
        told = file.metadata()
    assert told["modelspec.architecture"] == "stable-diffusion-v1" and told["modelspec.title"] == "Penny"
    assert told["modelspec.prediction_type"] == "epsilon" and not any(key.startswith("ss_network") for key in told)
    assert told["modelspec.hash_sha256"] == f"0x{told['sshs_model_hash']}" and is_as_exported(path)


def test_a_lora_is_merged_as_a_fine_tune_is(sd15: Tuned, export: Exporter, tmp_path: Path) -> None:
    model, generator = sd15.base.load("cpu"), torch.Generator().manual_seed(3)
    with attached(LoRA(rank=2), model, model.trainable) as handle:
        for parameter in [p for found in handle.parameters().values() for p in found]:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        wanted = answer(model)
        formats.save(handle.learned(), model.kohya_names(), tmp_path / "lora.safetensors", Kohya())
    path = export(dataclasses.replace(sd15, snapshot=tmp_path / "lora.safetensors"))
    base = SD15(checkpoint=Checkpoint(path), config=Source(sd15.base.checkpoint.path))
    assert (answer(base.load("cpu")) - wanted).abs().max() < 1e-5


def test_words_have_no_place_in_a_checkpoint(sd15: Tuned, export: Exporter, tmp_path: Path) -> None:
    words = AdapterWeights(embeddings={"penny": {"text_encoder": torch.randn(2, 32)}})
    formats.save(words, sd15.model.kohya_names(), tmp_path / "penny.safetensors", Kohya())
    with pytest.raises(InputError, match="no place for the vectors of words"):
        export(dataclasses.replace(sd15, snapshot=tmp_path / "penny.safetensors"))


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"convert": "checkpoint", "format": Peft()}, "is no form of a checkpoint"),
        ({"strength": 0.5}, "is for convert: checkpoint alone"),
        ({"vae": Source(Path("vae"))}, "is for convert: checkpoint alone"),
    ],
)
def test_settings_that_mean_nothing_are_refused(knobs: dict[str, Any], words: str) -> None:
    stage = Export(weights=Weights(()), to=Destination(Path("a.safetensors")), **knobs)
    assert any(words in problem.what for problem in stage.problems())


PIPELINE = """\
stages:
  dataset: {uses: prepare, images: pictures, base: {family: sd15, checkpoint: base}, duplicate_tolerance: 0}
  tuned: {uses: train, dataset: $dataset, adapter: {type: finetune}, steps: 2, unet_lr: 1.0e-3}
  judged: {uses: evaluate, weights: $tuned, prompts: [penny], pictures: 1, strengths: [0.5, 1.0], steps: 2}
  base: {uses: export, weights: $judged.best, convert: checkpoint, format: diffusers, to: out/tuned/}
  further: {uses: prepare, images: pictures, base: {family: sd15, checkpoint: $base}, duplicate_tolerance: 0}
  lora: {uses: train, dataset: $further, steps: 1}
"""


def test_a_pipeline_tunes_a_base_and_trains_a_lora_on_it(tmp_path: Path) -> None:
    SD15.tiny(tmp_path / "base")
    tiny.draw(tmp_path / "pictures")
    (tmp_path / "pipeline.yaml").write_text(PIPELINE, encoding="utf-8")
    told = [*Run(loader.load(tmp_path / "pipeline.yaml"), on="inline")]
    assert ends(told) == dict.fromkeys(["dataset", "tuned", "judged", "base", "further", "lora"], "finished"), told
    again = [*Run(loader.load(tmp_path / "pipeline.yaml"), on="inline")]
    assert set(ends(again).values()) == {"reused"}
    whole = loader.load(tmp_path / "pipeline.yaml").stages
    assert [*whole["base"].cautions(whole)] == []
    own = dataclasses.replace(whole["base"], convert="own", format=Kohya())  # type: ignore[type-var]
    assert ["the changes of a fine-tune" in line for line in own.cautions(whole)] == [True]
    (index,) = (tmp_path / "out").rglob("model_index.json")
    assert json.loads(index.read_text(encoding="utf-8"))["_class_name"] == "StableDiffusionPipeline"
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.replace("convert: checkpoint, ", ""), encoding="utf-8")
    with pytest.raises(InputError, match="a Base is needed here"):
        loader.load(tmp_path / "pipeline.yaml")
