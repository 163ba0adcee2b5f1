"""LoRAs extracted from two checkpoints, against planted differences, LAPACK and LyCORIS."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from lorapipe import formats
from lorapipe.cli import main
from lorapipe.errors import InputError, Interrupted, LorapipeError
from lorapipe.formats import AdapterWeights
from lorapipe.lora_tools.adapter_output import ModuleTensors, write_adapter
from lorapipe.lora_tools.checkpoint_tensors import CheckpointTensors
from lorapipe.lora_tools.extract import ExtractRules, extract
from lorapipe.lora_tools.factored_svd import TruncatedSvd
from lorapipe.lora_tools.truncated_svd import RankRule, truncated_svd
from lorapipe.models import Change, Checkpoint, Family, Model, Saving
from lorapipe.models.sd2 import SD2
from lorapipe.models.sd15 import SD15
from lorapipe.models.sdxl import SDXL
from lorapipe.spec import Source
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter

TOP = "text_model."
RANK = 4
FP16 = 5e-4
"""Twice the usual relative error of a product of two factors that were rounded to fp16: √2 · 0.378 · 2⁻¹¹ = 2.6e-4."""
Deltas = Mapping[tuple[str, str], torch.Tensor]


def planted(model: Model, rank: int = RANK) -> dict[tuple[str, str], torch.Tensor]:
    """A random update of a low rank for every module that LoCon trains, by part and path."""
    generator, found = torch.Generator().manual_seed(0), {}
    for part in model.trainable:
        for ref in model.targets(part, convolutions=True):
            out, width = ref.shape[0], math.prod(ref.shape[1:])
            values = 0.5 ** torch.arange(rank)
            up, down = (torch.randn(*size, generator=generator) for size in ((out, rank), (rank, width)))
            found[part, ref.path.removeprefix(TOP)] = 0.05 * ((up * values) @ down / width**0.5).reshape(ref.shape)
    return found


def tuned(
    base: Family, path: Path, layout: str, deltas: Deltas, more: Mapping[str, Mapping[str, Change]] = {}
) -> Family:
    """Save the base with updates, as a checkpoint of a layout, fp32."""
    changes: dict[str, dict[str, Change]] = {part: dict(of) for part, of in more.items()}
    for (part, name), delta in deltas.items():
        changes.setdefault(part, {})[f"{name}.weight"] = lambda weight, delta=delta: (
            weight + delta.reshape(weight.shape)
        )
    base.load("cpu").save_checkpoint(path, layout, Saving(changes, "fp32", lambda digest: {}))  # type: ignore[arg-type]
    described = {} if layout == "folder" else {"config": Source(base.checkpoint.path)}
    return replace(base, checkpoint=Checkpoint(path), **described)  # type: ignore[arg-type]


def read(path: Path, model: Model) -> AdapterWeights:
    found = formats.open(path, model.kohya_names())
    assert isinstance(found, AdapterWeights)
    return found


def deltas_of(weights: AdapterWeights) -> dict[tuple[str, str], torch.Tensor]:
    return {(part, path.removeprefix(TOP)): module.delta() for (part, path), module in weights.modules.items()}


def product(found: TruncatedSvd) -> torch.Tensor:
    return torch.from_numpy(found.left * found.values @ found.right)


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.reshape(wanted.shape) - wanted).norm() / wanted.norm())


@pytest.fixture(scope="module")
def pair(base: SD15, model: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Family, Deltas]:
    """A tuned folder of the tiny SD1.x, and the differences in it."""
    deltas = planted(model, rank=8)
    return tuned(base, tmp_path_factory.mktemp("tuned") / "folder", "folder", deltas), deltas


# --------------------------------------------------------------------------------------------------------- the SVD alone


@pytest.mark.parametrize(("rows", "columns"), [(300, 320), (1280, 320), (320, 2880), (40, 500)])
@pytest.mark.parametrize("decay", [0.7, 0.97, 0.999])
def test_the_error_is_within_the_stated_tolerance_of_lapacks(rows: int, columns: int, decay: float) -> None:
    generator = torch.Generator().manual_seed(1)
    left, right = (
        torch.linalg.qr(torch.randn(side, min(rows, columns), generator=generator))[0] for side in (rows, columns)
    )
    values = decay ** torch.arange(min(rows, columns))
    matrix = (left * values) @ right.T
    found = truncated_svd(matrix, RankRule(16))
    best = float(values[16:].double().norm())
    lost = float((matrix - product(found)).double().norm())
    assert lost <= (1.005 if decay < 0.99 else 1.01) * best + 1e-6 * float(matrix.norm())
    # What is told is 1 - kept / total of sums of squares in float32, so it is compared as a square.
    assert found.error**2 == pytest.approx((lost / float(matrix.double().norm())) ** 2, rel=1e-5, abs=1e-6)


def test_of_a_matrix_of_low_rank_nothing_is_lost_and_zeros_have_no_rank() -> None:
    matrix = torch.randn(400, 5, generator=torch.Generator().manual_seed(0)) @ torch.randn(5, 300)
    found = truncated_svd(matrix, RankRule(32))
    assert torch.dist(product(found), matrix) < 1e-6 * matrix.norm()
    assert truncated_svd(torch.zeros(70, 80), RankRule(8)).rank == 0


@pytest.mark.parametrize("share", [0.5, 0.95, 0.9999])
def test_the_rank_by_energy_is_the_least_that_suffices(share: float) -> None:
    matrix = torch.randn(300, 200, generator=torch.Generator().manual_seed(0)) @ torch.diag(0.97 ** torch.arange(200))
    values = torch.linalg.svdvals(matrix.double()).square()
    least = int((values.cumsum(0) / values.sum() < share).sum()) + 1
    # Singular values within a random subspace are never above the matrix' own, so the rank is never too low.
    assert least <= truncated_svd(matrix, RankRule(200, energy=share)).rank <= least + 1
    assert truncated_svd(matrix, RankRule(3, energy=share)).rank <= 3


def test_the_rank_by_threshold_leaves_out_at_most_that_norm() -> None:
    matrix = torch.randn(300, 200, generator=torch.Generator().manual_seed(0)) @ torch.diag(0.9 ** torch.arange(200))
    found = truncated_svd(matrix, RankRule(200, threshold=2.0))
    lost = torch.dist(product(found), matrix)
    fewer = torch.dist(torch.from_numpy((found.left * found.values)[:, :-1] @ found.right[:-1]), matrix)
    assert lost <= 2.0 < fewer


# ---------------------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("kind", [SD15, SD2, SDXL])
@pytest.mark.parametrize("layouts", [("folder", "single_file"), ("single_file", "folder")])
def test_a_planted_difference_is_found_in_every_family_and_layout(
    kind: type[Family], layouts: tuple[str, str], tmp_path: Path
) -> None:
    base = kind.tiny(tmp_path / "tiny")
    model = base.load("cpu")
    deltas = planted(model)
    one = tuned(base, tmp_path / f"tuned{'' if layouts[0] == 'folder' else '.safetensors'}", layouts[0], deltas)
    other = base if layouts[1] == "folder" else tuned(base, tmp_path / "base.safetensors", layouts[1], {})
    report = extract(one, other, ExtractRules(rank=RANK, conv_rank=RANK), tmp_path / "lora.safetensors")
    found = deltas_of(read(tmp_path / "lora.safetensors", model))
    assert found.keys() == deltas.keys() and report.kept > 1 - 1e-5
    for place, delta in deltas.items():
        assert error(found[place], delta) < FP16, place


def test_tensors_are_read_by_the_names_of_the_models_modules(base: SD15, model: Model) -> None:
    tensors = CheckpointTensors(base)
    for part in model.trainable:
        for name, tensor in model.part(part).state_dict().items():
            place = (part, name.removeprefix(TOP))
            assert torch.equal(tensors.read(place).reshape(tensor.shape), tensor.cpu())
            pieces = torch.cat([piece for _, piece in tensors.pieces(place)])
            assert torch.equal(pieces.reshape(tensor.shape), tensor.cpu())


def test_it_is_the_truncated_svd_of_each_difference(
    base: SD15, model: Model, pair: tuple[Family, Deltas], tmp_path: Path
) -> None:
    one, deltas = pair
    report = extract(one, base, ExtractRules(rank=3), tmp_path / "lora.safetensors", dtype="fp32")
    found = deltas_of(read(tmp_path / "lora.safetensors", model))
    lost = 0.0
    for place, delta in found.items():
        u, values, v = torch.linalg.svd(deltas[place].flatten(1), full_matrices=False)
        assert error(delta, (u[:, :3] * values[:3] @ v[:3]).reshape(delta.shape)) < 1e-5
        lost += float(values[3:].square().sum())
    whole = sum(float(deltas[place].square().sum()) for place in found)
    assert report.error == pytest.approx((lost / whole) ** 0.5, rel=1e-5)
    for each in report.modules:
        place = model.kohya_names()[each.name]
        wanted = deltas[place[0], place[1].removeprefix(TOP)]
        values = torch.linalg.svdvals(wanted.flatten(1)).square()
        assert each.kept == pytest.approx(float(values[:3].sum() / values.sum()), rel=1e-5)


def test_lycoris_extracts_the_same(base: SD15, model: Model, pair: tuple[Family, Deltas], tmp_path: Path) -> None:
    utils = pytest.importorskip("lycoris.utils")
    one, deltas = pair
    extract(one, base, ExtractRules(rank=6, conv_rank=6), tmp_path / "lora.safetensors", dtype="fp32")
    found, compared = deltas_of(read(tmp_path / "lora.safetensors", model)), 0
    for place, delta in deltas.items():
        theirs, kind = (utils.extract_conv if delta.dim() == 4 else utils.extract_linear)(delta, "fixed", 6)
        if kind == "low rank" and min(delta.shape[:2]) > 6:
            down, up, _ = theirs
            assert error(found[place], (up.flatten(1) @ down.flatten(1)).reshape(delta.shape)) < 1e-5
            compared += 1
    assert compared > 20


def test_the_dense_difference_is_exact(base: SD15, model: Model, pair: tuple[Family, Deltas], tmp_path: Path) -> None:
    more = {"unet": {"conv_in.bias": lambda bias: bias + 1, "conv_norm_out.weight": lambda weight: weight * 2}}
    one = tuned(base, tmp_path / "tuned", "folder", pair[1], more)
    extract(one, base, ExtractRules(form="diff"), tmp_path / "diff.safetensors", dtype="fp32")
    weights = read(tmp_path / "diff.safetensors", model)
    theirs = one.load("cpu")
    attached = WeightsAdapter(weights).attach(model, weights.parts)
    try:
        assert torch.allclose(answer(model), answer(theirs), atol=1e-5)
    finally:
        attached.detach()
    assert not torch.allclose(answer(model), answer(theirs), atol=1e-2)


def answer(model: Model) -> torch.Tensor:
    noise = torch.randn(1, *model.latent_shape((64, 64)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.predict(noise, torch.tensor([500]), model.encode_text(["penny"])).cpu()


def test_the_lora_makes_the_base_predict_as_the_tuned_checkpoint(
    base: SD15, model: Model, pair: tuple[Family, Deltas], tmp_path: Path
) -> None:
    extract(pair[0], base, ExtractRules(rank=8, conv_rank=8), tmp_path / "lora.safetensors")
    weights, goal, before = read(tmp_path / "lora.safetensors", model), answer(pair[0].load("cpu")), answer(model)
    attached = WeightsAdapter(weights).attach(model, weights.parts)
    try:
        apart = float((answer(model) - goal).norm())
    finally:
        attached.detach()
    assert apart < FP16 * float((before - goal).norm())


def test_what_the_file_cannot_hold_is_told(base: SD15, pair: tuple[Family, Deltas], tmp_path: Path) -> None:
    more = {
        "unet": {"conv_norm_out.weight": lambda weight: weight + 1, "conv_out.bias": lambda bias: bias + 1},
        "vae": {"decoder.conv_in.weight": lambda weight: weight + 1},
    }
    one = tuned(base, tmp_path / "tuned", "folder", pair[1], more)
    report = extract(one, base, ExtractRules(rank=4), tmp_path / "lora.safetensors")
    told = {each.kind: each.changed for each in report.left_out}
    assert told["normalisations"] == told["biases"] == told["VAE"] == 1 and told["3×3 convolutions"] > 5
    text = "\n".join(report.lines())
    assert "left out: VAE, of which 1 of" in text and "left out: biases" in text
    assert {"left_out", "modules", "kept"} <= json.loads(report.as_json()).keys()


def test_ranks_by_block_kind_energy_and_threshold(
    base: SD15, model: Model, pair: tuple[Family, Deltas], tmp_path: Path
) -> None:
    one, deltas = pair
    blocks = tuple(2 if number % 2 else 0 for number in range(model.blocks))
    extract(one, base, ExtractRules(rank=5, block_ranks=blocks), tmp_path / "a.safetensors")
    of_block = {ref.path: ref.block for ref in model.modules("unet")}
    for (part, path), module in read(tmp_path / "a.safetensors", model).modules.items():
        assert module.rank == 5 if part != "unet" else of_block[path] % 2 == 1 and module.rank == 2
    extract(one, base, ExtractRules(rank=64, energy=0.9), tmp_path / "b.safetensors")
    for place, module in read(tmp_path / "b.safetensors", model).modules.items():
        values = torch.linalg.svdvals(deltas[place[0], place[1].removeprefix(TOP)].flatten(1)).square()
        assert module.rank == int((values.cumsum(0) / values.sum() < 0.9).sum()) + 1
    extract(one, base, ExtractRules(rank=64, threshold=0.05), tmp_path / "c.safetensors")
    found = deltas_of(read(tmp_path / "c.safetensors", model))
    for place, delta in deltas.items():
        left = delta - found[place].reshape(delta.shape) if place in found else delta
        assert place not in found or float(left.norm()) <= 0.05 * (1 + FP16)


def test_the_clamp_is_kohyas_and_costs_accuracy(
    base: SD15, model: Model, pair: tuple[Family, Deltas], tmp_path: Path
) -> None:
    plain = extract(pair[0], base, ExtractRules(rank=8), tmp_path / "a.safetensors", dtype="fp32")
    clamped = extract(pair[0], base, ExtractRules(rank=8, clamp=0.99), tmp_path / "b.safetensors", dtype="fp32")
    assert plain.error < 0.01 < clamped.error
    for place, module in read(tmp_path / "b.safetensors", model).modules.items():
        delta = pair[1][place[0], place[1].removeprefix(TOP)].flatten(1)
        u, values, v = torch.linalg.svd(delta, full_matrices=False)
        signs = (module.tensors["down"].flatten(1) * v[:8]).sum(1).sign()  # of which each direction has a choice
        up, down = u[:, :8] * values[:8] * signs, v[:8] * signs[:, None]
        limit = torch.quantile(torch.cat([up.flatten(), down.flatten()]), 0.99)
        wanted = up.clamp(-limit, limit) @ down.clamp(-limit, limit)
        assert error(module.delta(), wanted.reshape(module.delta().shape)) < 1e-5


def test_rounding_between_number_types_is_no_difference(base: SD15, tmp_path: Path) -> None:
    base.load("cpu").save_checkpoint(tmp_path / "half", "folder", Saving({}, "fp16", lambda digest: {}))
    half = replace(base, checkpoint=Checkpoint(tmp_path / "half"))
    with pytest.raises(InputError, match=r"no module differs .* by rounding alone"):
        extract(half, base, ExtractRules(rank=64, energy=0.95), tmp_path / "lora.safetensors")
    assert not (tmp_path / "lora.safetensors").exists()


# ---------------------------------------------------------------------------------------------- the file and the command


def test_the_metadata_says_how_it_was_made(base: SD15, pair: tuple[Family, Deltas], tmp_path: Path) -> None:
    extract(pair[0], base, ExtractRules(rank=5), tmp_path / "lora.safetensors")
    with safe_open(tmp_path / "lora.safetensors", framework="pt") as file:
        told = file.metadata()
    assert (told["ss_network_dim"], told["ss_network_alpha"], told["ss_network_module"]) == (
        "5",
        "5.0",
        "networks.lora",
    )
    assert told["ss_base_model_version"] == "sd_v1" and told["ss_sd_model_name"] == base.checkpoint.path.name
    assert json.loads(told["lorapipe_extract"])["rank"] == 5
    other = tmp_path / "again.safetensors"
    extract(pair[0], base, ExtractRules(rank=5), other)
    assert other.read_bytes() == (tmp_path / "lora.safetensors").read_bytes()


def test_an_interrupted_extraction_and_a_wrong_file_leave_nothing(
    base: SD15, pair: tuple[Family, Deltas], tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        extract(pair[0], base, ExtractRules(rank=5), tmp_path / "lora.safetensors", tell=stop)
    values = {"down": np.ones((2, 4), np.float32), "up": np.ones((3, 2), np.float32)}
    keys = {"down": "a.lora_down.weight", "up": "a.lora_up.weight"}
    shapes = {short: array.shape for short, array in values.items()}
    module = ModuleTensors("lora", keys, values, shapes, 2.0, "a.alpha", wanted=np.ones((3, 4)))
    with pytest.raises(LorapipeError, match="not saved as computed"):
        write_adapter(tmp_path / "lora.safetensors", [module], "fp16", lambda digest: {})
    huge = replace(module, values={**values, "up": np.full((3, 2), 1e6, np.float32)})
    with pytest.raises(LorapipeError, match="beyond the range"):
        write_adapter(tmp_path / "lora.safetensors", [huge], "fp16", lambda digest: {})
    assert [*tmp_path.iterdir()] == []


def test_the_command_extracts_and_says_what_is_kept(
    pair: tuple[Family, Deltas], base: SD15, model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(pair[0].checkpoint.path), str(base.checkpoint.path)]
    assert main(["extract", *words, "--rank", "4", "--to", str(tmp_path / "lora.safetensors")]) == 0
    told = capsys.readouterr()
    assert "modules of rank 4 keep" in told.out and "left out: 3×3 convolutions" in told.err
    assert {module.rank for module in read(tmp_path / "lora.safetensors", model).modules.values()} == {4}
    assert [each.name for each in tmp_path.iterdir()] == ["lora.safetensors"]


def test_mistakes_are_told_with_their_cure(
    pair: tuple[Family, Deltas], base: SD15, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = str(pair[0].checkpoint.path), str(base.checkpoint.path)
    to = ["--to", str(tmp_path / "new.safetensors")]
    extract(pair[0], base, ExtractRules(rank=2), tmp_path / "lora.safetensors")
    sdxl = SDXL.tiny(tmp_path / "sdxl")

    def told(*words: str) -> str:
        assert main(["extract", *words]) == 2
        assert not (tmp_path / "new.safetensors").exists()
        return capsys.readouterr().err

    assert "is a LoRA file" in (text := told(str(tmp_path / "lora.safetensors"), other, *to)) and "resize" in text
    assert "is the base itself" in told(other, other, *to)
    assert "of one family" in told(str(sdxl.checkpoint.path), other, *to)
    assert "above the maximum" in told(one, other, "--rank", "9000", *to)
    text = told(one, other, "--set", "energy=0.9", "--set", "threshold=1", "--set", "block_ranks=[4, 4]", *to)
    assert "both energy and threshold" in text and "the blocks of this base are" in text
    with pytest.raises(InputError, match="different families"):
        extract(sdxl, base, ExtractRules(), tmp_path / "new.safetensors")
