"""`lorapipe inspect`: the report of a file, and other programs' ΔW against their formulas, written out here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lorapipe.cli import main
from lorapipe.formats.algorithms import Algorithm
from lorapipe.inspection import inspect
from lorapipe.inspection._comparison import read_modules
from lorapipe.inspection._module_names import parsed
from lorapipe.inspection._report import inspected
from lorapipe.inspection.adapter_updates import adapter_updates
from lorapipe.inspection.compatibility import Misreading, misreadings
from lorapipe.inspection.readers import Reader, ReadModule

NAME = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
TEXT = "lora_te_text_model_encoder_layers_0_mlp_fc1"
READERS = ("comfyui", "forge", "a1111", "diffusers")


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


LORA = {"lora_down.weight": drawn(4, 768), "lora_up.weight": drawn(32, 4), "alpha": torch.tensor(2.0)}
LOHA = {"hada_w1_a": drawn(32, 4), "hada_w1_b": drawn(4, 24), "hada_w2_a": drawn(32, 4), "hada_w2_b": drawn(4, 24)}
LOKR = {"lokr_w1": drawn(4, 3), "lokr_w2": drawn(8, 8)}
TUCKER = {"lokr_w1": drawn(4, 3), "lokr_w2_a": drawn(2, 8), "lokr_w2_b": drawn(2, 8), "lokr_t2": drawn(2, 2, 3, 3)}
OFT = {"oft_blocks": drawn(4, 8, 8) * 0.1, "alpha": torch.tensor(0.0)}
GLORA = {"a1.weight": drawn(24, 4), "a2.weight": drawn(4, 24), "b1.weight": drawn(32, 4), "b2.weight": drawn(4, 24)}
KINDS: dict[str, dict[str, torch.Tensor]] = {
    "lora": LORA,
    "loha": {**LOHA, "alpha": torch.tensor(4.0)},
    "lokr": {**LOKR, "alpha": torch.tensor(4.0)},
    "lokr tucker": {**TUCKER, "alpha": torch.tensor(2.0)},
    "dora": {**LORA, "dora_scale": drawn(1, 768).abs()},
    "dora of outputs": {**LORA, "dora_scale": drawn(32, 1).abs()},
    "oft": OFT,
    "oft with a limit": {**OFT, "alpha": torch.tensor(0.001)},
    "full": {"diff": drawn(32, 24), "diff_b": drawn(32)},
    "norm": {"w_norm": drawn(32), "b_norm": drawn(32)},
    "norm without bias": {"w_norm": drawn(32)},
    "ia3": {"weight": drawn(32), "on_input": torch.tensor(False)},
    "glora": {**GLORA, "alpha": torch.tensor(4.0)},
}
RIGHT, WRONG, IGNORED, REFUSED = "right", "wrong", "ignored", "refused"
TABLE = {
    "lora": (RIGHT, RIGHT, RIGHT, RIGHT),
    "loha": (RIGHT, RIGHT, RIGHT, REFUSED),
    "lokr": (RIGHT, RIGHT, RIGHT, REFUSED),
    "lokr tucker": (IGNORED, IGNORED, RIGHT, REFUSED),
    "dora": (RIGHT, RIGHT, RIGHT, WRONG),
    "dora of outputs": (WRONG, WRONG, WRONG, WRONG),
    "oft": (WRONG, IGNORED, RIGHT, REFUSED),
    "oft with a limit": (WRONG, IGNORED, RIGHT, REFUSED),
    "full": (RIGHT, RIGHT, RIGHT, REFUSED),
    "norm": (RIGHT, RIGHT, RIGHT, REFUSED),
    "norm without bias": (RIGHT, RIGHT, REFUSED, REFUSED),
    "ia3": (IGNORED, IGNORED, RIGHT, REFUSED),
    "glora": (RIGHT, RIGHT, IGNORED, REFUSED),
}
"""How each of `READERS` reads a kind."""


def saved(path: Path, tensors: dict[str, torch.Tensor], name: str = NAME, **metadata: str) -> Path:
    save_file({f"{name}.{suffix}": tensor.contiguous() for suffix, tensor in tensors.items()}, path, metadata)
    return path


@pytest.mark.parametrize("kind", TABLE)
def test_every_reader_says_what_it_makes_of_every_kind(kind: str, tmp_path: Path) -> None:
    found = inspect(saved(tmp_path / "a.safetensors", KINDS[kind]), READERS)
    algorithm = kind.split()[0].replace("dora", "lora")
    assert found.is_right and found.report.algorithms == {algorithm: 1}
    for reading, expected in zip(found.readings, TABLE[kind], strict=True):
        seen = REFUSED if reading.refused else IGNORED if reading.ignored else WRONG if reading.differences else RIGHT
        assert seen == expected, reading


@pytest.mark.parametrize("kind", TABLE)
def test_updates_say_which_of_them_a_program_reads_as_they_are(kind: str, tmp_path: Path) -> None:
    file = saved(tmp_path / "a.safetensors", {**KINDS[kind], "alpha": torch.tensor(3.0)})
    (update,) = adapter_updates(file, "comfyui").modules
    assert (not update.why) == (TABLE[kind][0] == RIGHT), update.why
    module = update.weights()
    assert update.name == NAME and len(update.keys) == len({*KINDS[kind], "alpha"})
    assert module.algorithm == kind.split()[0].replace("dora", "lora") and module.alpha == 3.0


@pytest.mark.parametrize("kind", [kind for kind in TABLE if not kind.startswith("dora")])
def test_diffusers_itself_refuses_what_its_rules_here_refuse(kind: str) -> None:
    loaders = pytest.importorskip("diffusers.loaders")
    tensors = {f"{NAME}.{suffix}": tensor.clone() for suffix, tensor in KINDS[kind].items()}
    try:
        keys = loaders.StableDiffusionLoraLoaderMixin.lora_state_dict(tensors)[0]
    except ValueError:
        keys = {"refused": None}
    is_refused = not all("lora" in key for key in keys)  # as load_lora_weights asks
    assert is_refused == (TABLE[kind][READERS.index("diffusers")] == REFUSED)


@pytest.mark.parametrize("kind", TABLE)
def test_what_a_reader_says_without_numbers_is_what_its_numbers_say(kind: str, tmp_path: Path) -> None:
    file = inspected(saved(tmp_path / "a.safetensors", KINDS[kind]))
    for name, expected in zip(READERS, TABLE[kind], strict=True):
        said = [Reader.registry.get(name)().misreads(module) for module in read_modules(file)]
        if expected in (RIGHT, WRONG):
            assert any(said) == (expected == WRONG), name


def test_what_is_misread_is_told_with_what_would_be_read(tmp_path: Path) -> None:
    def told(kind: str) -> dict[str, Misreading]:
        return {each.program: each for each in misreadings(saved(tmp_path / "a.safetensors", KINDS[kind]))}

    assert not told("lora")
    outputs = told("dora of outputs")
    assert outputs.keys() == {"ComfyUI", "Forge", "A1111", "diffusers"} and all(
        each.is_silent for each in outputs.values()
    )
    assert "off by" in outputs["ComfyUI"].what and "norm of W, not of W + ΔW" in outputs["ComfyUI"].what
    assert "dora_axis: input in the training or convert: diff" in outputs["ComfyUI"].cure
    assert outputs["diffusers"].cure == "It is read rightly with convert: lora."
    loha = told("loha")
    assert loha.keys() == {"diffusers"} and not loha["diffusers"].is_silent
    assert "convert: diff" in told("ia3")["ComfyUI"].cure and "convert: diff" not in told("ia3")["diffusers"].cure


def test_the_readers_in_this_table_are_those_that_there_are() -> None:
    assert sorted(READERS) == Reader.registry.names()


def read(kind: str, tensors: dict[str, torch.Tensor]) -> ReadModule:
    return ReadModule(parsed(NAME), Algorithm.of(kind), frozenset(tensors), (), 2.0)


@pytest.mark.parametrize("axis", ["outputs", "inputs"])
def test_a_dora_is_computed_as_each_program_does(axis: str) -> None:
    weight, down, up = drawn(6, 5), drawn(2, 5), drawn(6, 2)
    magnitude = drawn(6, 1).abs() if axis == "outputs" else drawn(1, 5).abs()
    tensors = {"down": down, "up": up, "dora_scale": magnitude}
    whole = weight + up @ down  # alpha is the rank
    columns = (whole**2).sum(0, keepdim=True).sqrt()
    rows_of_base = (weight**2).sum(1, keepdim=True).sqrt()
    comfyui = whole * magnitude / (rows_of_base if axis == "outputs" else columns) - weight
    expected = {
        "comfyui": comfyui, "forge": comfyui, "a1111": whole * magnitude / columns - weight, "diffusers": up @ down,
    }  # fmt: skip
    for name, change in expected.items():
        found = Reader.registry.get(name)().change(read("lora", tensors), tensors, weight, 1.0)
        assert torch.allclose(found, change, atol=1e-5), name


def test_comfyui_counts_an_ofts_strength_twice_and_its_limit_once() -> None:
    blocks, weight = drawn(2, 3, 3), drawn(6, 5)
    skew = blocks - blocks.transpose(1, 2)
    skew = skew * min(1.0, 2.0 / float(skew.norm()))  # the alpha of `read`
    unit = torch.eye(3)
    turn = torch.block_diag(*((unit + skew) @ torch.linalg.inv(unit - skew)))
    comfyui = Reader.registry.get("comfyui")()
    for strength in (1.0, 0.5):
        found = comfyui.change(read("oft", {"blocks": blocks}), {"blocks": blocks}, weight, strength)
        assert torch.allclose(found, strength**2 * (turn.T @ weight - weight), atol=1e-5)


def test_a_file_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {"ss_steps": "100", "ss_tag_frequency": json.dumps({"1_a": {"dog": 2}, "2_a": {"dog": 7, "cat": 3}})}
    path = saved(tmp_path / "a.safetensors", LORA, **told, **{"modelspec.trigger_phrase": "ohwx"})
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["formats"], found["ranks"], found["alphas"]) == (
        "adapter",
        ["kohya"],
        {"4": 1},
        {"2": 1},
    )
    assert found["base"] == "SD1.x" and found["trigger"] == "ohwx" and found["training"]["steps"] == "100"
    assert found["tags"] == {"dog": 9, "cat": 3} and found["parts"]["U-Net"]["blocks"] == {"down_blocks 0": 1}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_what_is_no_number_is_found(dtype: torch.dtype, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    down = drawn(4, 24)
    down[1, 3], down[2, 2], down[0, 0] = float("nan"), float("inf"), float("-inf")
    path = saved(
        tmp_path / "a.safetensors", {"lora_down.weight": down.to(dtype), "lora_up.weight": drawn(8, 4).to(dtype)}
    )
    assert main(["inspect", str(path)]) == 2
    assert f"{NAME}.lora_down.weight has 1 NaN and 2 infinite among 96 numbers" in capsys.readouterr().out


def test_what_is_damaged_is_said_with_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = saved(tmp_path / "half.safetensors", {"lora_down.weight": drawn(4, 24)})
    cut = saved(tmp_path / "cut.safetensors", LORA)
    cut.write_bytes(cut.read_bytes()[:-20])
    torch.save({"a": print}, tmp_path / "code.pt")
    assert main(["inspect", str(half), str(cut), str(tmp_path / "code.pt"), str(tmp_path / "none")]) == 2
    out, errors = capsys.readouterr()
    assert f"{NAME} is invalid: it has lora_down.weight and no lora_up.weight" in out
    assert "cut.safetensors: is not a whole safetensors file (20 bytes are missing)" in errors
    assert "code.pt: " in errors and "none: cannot be read" in errors and "Traceback" not in errors


def test_other_files_are_named_as_what_they_are(tmp_path: Path) -> None:
    base = {"model.diffusion_model.input_blocks.0.0.weight": drawn(8, 4, 3, 3), "first_stage_model.a": drawn(2)}
    save_file(base, tmp_path / "base.safetensors")
    save_file({"clip_l": drawn(2, 768), "clip_g": drawn(2, 1280)}, tmp_path / "word.safetensors")
    assert inspect(tmp_path / "base.safetensors").report.kind == "other"
    word = inspect(tmp_path / "word.safetensors", READERS)
    assert (word.report.kind, word.report.base, word.report.trigger) == ("embedding", "SDXL", "word")
    assert word.report.words == {"word": {"text encoder": (2, 768), "text encoder 2": (2, 1280)}}
    assert "text encoder (2 × 768)" in word.as_text()


def test_without_readers_torch_is_not_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.safetensors", {**LORA, "dora_scale": drawn(1, 768)}, TEXT)
    probe = "import sys; from lorapipe.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", probe, "inspect", str(path)], check=True, timeout=120)


def test_an_unknown_reader_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "a.safetensors", LORA)
    assert main(["inspect", str(path), "--for", "comfyiu"]) == 2
    assert "Did you mean 'comfyui'?" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_norms_by_block_are_those_of_the_update(kind: str, tmp_path: Path) -> None:
    report = inspect(saved(tmp_path / "a.safetensors", KINDS[kind])).report
    algorithm = Algorithm.of(next(iter(report.algorithms)))
    tensors = {short: KINDS[kind][suffix] for short, suffix in algorithm.keys.items() if suffix in KINDS[kind]}
    if not report.norms:  # of a kind whose update depends on the base, or in Tucker form
        assert algorithm.needs_weight(tensors) or "t2" in tensors or algorithm.name == "norm"
        return
    alpha = KINDS[kind].get("alpha")
    delta = algorithm.delta(tensors, algorithm.usual_alpha(tensors) if alpha is None else float(alpha))
    assert report.norms == {"U-Net": {"down_blocks 0": pytest.approx(float(delta.norm()), rel=1e-4)}}


def test_a_chart_and_what_is_suspicious_are_shown(tmp_path: Path) -> None:
    tensors = {}
    for number in range(12):
        up = {3: 0.0, 7: 1000.0}.get(number, 1.0)
        name = f"lora_te_text_model_encoder_layers_{number}_mlp_fc1"
        tensors |= {f"{name}.lora_down.weight": torch.ones(2, 768), f"{name}.lora_up.weight": torch.ones(8, 2) * up}
    save_file(tensors, tmp_path / "a.safetensors")
    found = inspect(tmp_path / "a.safetensors")
    text = found.as_text()
    lines = [line.split() for line in text.splitlines() if "encoder, layers" in line]
    assert [line[3] for line in lines] == [str(number) for number in range(12)]
    assert lines[7][-1] == "█" * 32 and lines[8][-1] == "█" and len(lines[3]) == 5
    assert "suspicious: 1 module has no effect" in text and "layers_3_mlp" in text
    assert "an update of up to 1000 times the median" in text and "layers_7_mlp" in text
    assert found.is_right
