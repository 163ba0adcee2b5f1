"""Every kind of adapter from training to file: resumed bit for bit, exported, read back, sampled with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import torch
from safetensors import safe_open

from lorapipe import formats
from lorapipe.errors import InputError, Interrupted
from lorapipe.formats import AdapterWeights
from lorapipe.models import Model
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.pipeline.events import Log, Metric
from lorapipe.spec import Destination, Duration
from lorapipe.stages.export import Export
from lorapipe.stages.train import Train
from lorapipe.training.adapter_layers.base_weights import weight
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.full import Full
from lorapipe.training.adapters.glora import GLoRA
from lorapipe.training.adapters.ia3 import IA3
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.adapters.loha import LoHa
from lorapipe.training.adapters.lokr import LoKr
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.adapters.oft import OFT
from lorapipe.training.initial_weights import initialise_from
from lorapipe.training.interval import Interval

STEPS = 4
KINDS: dict[str, tuple[Adapter, str, str]] = {
    "dora": (LoRA(rank=2, dora=True), "dora_scale", ""),
    "loha": (LoHa(rank=2, preset="full", tucker=True), "hada_t1", "loha"),
    "loha, dora, norms": (LoHa(rank=2, dora=True, norms=True), "w_norm", ""),
    "lokr": (LoKr(rank=2, factor=4, module_dropout=0.2), "lokr_w2_b", "lokr"),
    "lokr, whole": (LoKr(full_matrix=True, preset="full-lin"), "lokr_w2", "lokr"),
    "oft": (OFT(block_size=4), "oft_blocks", "diag-oft"),
    "lora and loha": (LoRA(rank=2, module_kinds={"ff\\.net": "loha"}, module_ranks={"attn2": 3}), "hada_w1_a", ""),
    "t-lora": (LoCon(rank=4, conv_rank=4, noise_rank=2), "lora_down.weight", ""),
    "ia3": (IA3(include=("attn2", "ff")), "on_input", "ia3"),
    "glora": (GLoRA(rank=2, preset="full"), "b1.weight", "glora"),
    "full": (Full(include=("attn2",), exclude=("to_out",)), "diff", "full"),
}
"""(adapter, a tensor in its files, LyCORIS' name of the algorithm)."""


def trained(dataset: Dataset, kind: str, bench: tiny.Bench, name: str) -> Weights:
    spec = Train(
        dataset=dataset, adapter=KINDS[kind][0], steps=Duration(STEPS), snapshots=Interval(2), text_encoder_lr=0.0
    )
    return spec.run(bench.context(name))


def answer(model: Model) -> torch.Tensor:
    noise = torch.randn(1, *model.latent_shape((64, 64)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.predict(noise, torch.tensor([500]), model.encode_text(["penny"]))


def used(model: Model, adapter: Adapter | WeightsAdapter, weights: AdapterWeights, strength: float) -> torch.Tensor:
    attached = adapter.attach(model, weights.parts)
    attached.load(weights)
    attached.set_strength(dict.fromkeys(weights.parts, strength))
    found = answer(model)
    attached.detach()
    return found


@pytest.mark.one_in(2)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_trained_stopped_resumed_exported_and_used(
    kind: str, dataset: Dataset, bench: tiny.Bench, model: Model, tmp_path: Path
) -> None:
    adapter, key, algo = KINDS[kind]
    whole = trained(dataset, kind, bench, f"whole {kind}")
    bench.told.clear()
    bench.stopping = lambda: len(bench.of(Metric)) >= 1
    with pytest.raises(Interrupted):
        trained(dataset, kind, bench, f"stopped {kind}")
    bench.stopping = lambda: False
    resumed = trained(dataset, kind, bench, f"stopped {kind}")
    assert resumed.log.read_bytes() == whole.log.read_bytes()
    pairs = zip(resumed.snapshots, whole.snapshots, strict=True)
    assert all(mine.path.read_bytes() == other.path.read_bytes() for mine, other in pairs)

    names = model.kohya_names()
    learned = formats.open(whole.snapshots[-1].path, names)
    base, changed, half = answer(model), used(model, adapter, learned, 1.0), used(model, adapter, learned, 0.5)
    assert not torch.equal(changed, base)
    apart = min(float((changed - base).abs().max()), float((changed - half).abs().max()))
    assert apart > 2e-4, "less would be within the tolerance below"
    assert torch.equal(used(model, adapter, learned, 0.0), base)
    anybodys = WeightsAdapter(learned)
    assert torch.allclose(used(model, anybodys, learned, 1.0), changed, atol=1e-5)
    assert torch.allclose(used(model, anybodys, learned, 0.5), half, atol=1e-5)

    for dtype, near in (("fp32", 1e-5), ("fp16", 2e-2)):
        to = Destination(tmp_path / dtype / "a.safetensors")
        file = Export(weights=whole, to=to, dtype=dtype).run(bench.context(f"{dtype} {kind}")).path
        with safe_open(file, "pt") as opened:
            keys, metadata = opened.keys(), opened.metadata()
        assert any(each.endswith(f".{key}") for each in keys)
        assert metadata["ss_network_module"] == ("networks.lora" if kind == "t-lora" else "lycoris.kohya")
        arguments = json.loads(metadata["ss_network_args"])
        assert (not algo or arguments["algo"] == algo) and ("dora" not in kind or arguments["dora_wd"] == "True")
        again = used(model, anybodys, formats.open(file, names), 1.0)
        assert float((again - changed).norm()) <= near * float((changed - base).norm()) + 1e-5


@pytest.mark.parametrize("kind", ["loha", "dora", "oft", "full"])
def test_it_is_exported_as_a_difference_and_as_a_lora(
    kind: str, dataset: Dataset, bench: tiny.Bench, model: Model, tmp_path: Path
) -> None:
    """A dense difference gives equal pictures; a LoRA is as near as its singular values allow, and its error is reported."""
    adapter = KINDS[kind][0]
    weights = trained(dataset, kind, bench, f"converted {kind}")
    names, base = model.kohya_names(), answer(model)
    learned = formats.open(weights.snapshots[-1].path, names)
    changed = used(model, adapter, learned, 1.0)

    def exported(**knobs: object) -> AdapterWeights:
        to = Destination(tmp_path / str(knobs["convert"]) / "a.safetensors")
        return formats.open(Export(weights=weights, to=to, dtype="fp32", **knobs).run(bench.context("c")).path, names)

    dense = exported(convert="diff")
    assert dense.algorithms == ("full",)
    again = used(model, WeightsAdapter(dense), dense, 1.0)
    assert float((again - changed).norm()) <= 1e-3 * float((changed - base).norm()) + 1e-5
    low = exported(convert="lora", convert_rank=4)
    assert low.algorithms == ("lora",)
    lost = whole = 0.0
    for place, module in learned.modules.items():
        delta = module.delta(weight(model, place)).flatten(1)
        values = torch.linalg.svdvals(delta)
        lost, whole = lost + float(values[4:].square().sum()), whole + float(values.square().sum())
        error = (low.modules[place].delta().flatten(1) - delta.reshape(len(delta), -1)).norm()
        assert float(error) <= float(values[4:].norm()) * 1.001 + 1e-6
    (told,) = [log for log in bench.of(Log) if "As a LoRA" in log.text]
    percent = float(told.text.partition(" error of ")[2].partition("%")[0])
    assert percent == pytest.approx(100 * (lost / whole) ** 0.5, abs=0.2)
    assert (told.level == "warning") == (percent > 10 or "biases" in told.text)


def test_a_training_starts_from_a_file_of_its_kind_alone(dataset: Dataset, bench: tiny.Bench, model: Model) -> None:
    files = {kind: trained(dataset, kind, bench, f"{kind} made").snapshots[-1].path for kind in ("lokr", "oft")}
    attached = KINDS["lokr"][0].attach(model, ("unet",))
    initialise_from(files["lokr"], attached, model)
    with pytest.raises(InputError, match="is oft in the file and lokr in the adapter"):
        initialise_from(files["oft"], attached, model)
    attached.detach()
    other = LoKr(rank=2, factor=2).attach(model, ("unet",))
    with pytest.raises(InputError, match="in the file"):
        initialise_from(files["lokr"], other, model)
    other.detach()


@pytest.mark.parametrize(
    ("preset", "modules"),
    [("attn-only", "attn"), ("unet-convblock-only", "resnets"), ("full-lin", ""), ("full", "conv_in")],
)
def test_a_preset_chooses_modules(preset: str, modules: str, model: Model) -> None:
    attached = LoRA(rank=1, preset=preset).attach(model, ("unet",))  # type: ignore[arg-type]
    paths = {path for _, path in attached.learned().modules}
    attached.detach()
    assert any(modules in path for path in paths)
    if preset == "attn-only":
        assert all(".attn" in path for path in paths)
    if preset == "full-lin":
        shapes = {ref.path: ref.shape for ref in model.modules("unet")}
        assert all(shapes[path][2:] in ((), (1, 1)) for path in paths)


def test_what_leaves_nothing_to_train_is_said(model: Model) -> None:
    with pytest.raises(InputError, match="no module in the text encoder: preset unet-transformer-only"):
        LoRA(preset="unet-transformer-only").attach(model, ("unet", "text_encoder"))
    with pytest.raises(InputError, match=r"no module in the unet.*include nothing"):
        LoHa(include=("nothing",)).attach(model, ("unet",))
    (problem,) = LoKr(include=("[",)).problems()
    assert "is no regular expression" in problem.what
