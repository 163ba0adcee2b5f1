"""The node Apply weights in a real ComfyUI: what it patches is what lorapipe adds, for every kind and strength."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_bases
import torch
from real_comfyui import ComfyUI
from safetensors.torch import load_file
from test_graphs import OURS, Place, by_stage, pictures
from watching import watch

from lorapipe import formats

STRENGTH_MODEL, STRENGTH_CLIP = 0.7, -0.4
KINDS = {
    "lora": "{type: lora, rank: 4}",
    "locon": "{type: locon, rank: 4, conv_rank: 2, dora: true, dora_axis: output}",
    "loha": "{type: loha, rank: 4}",
    "lokr": "{type: lokr, rank: 4}",
    "oft": "{type: oft}",
    "ia3": "{type: ia3}",
    "full": "{type: full}",
    "boft": "{type: peft, method: boft}",
}
"""Kinds that ComfyUI's loader reads, and kinds that it misreads or does not know."""
TRAINED = """
  {name}:
    {{uses: train, dataset: $dataset, adapter: {adapter}, {rates}, steps: 3, snapshots: 3,
      allow: [rate_for_optimizer]}}
"""


@pytest.fixture(scope="module")
def place(comfyui: ComfyUI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("apply")
    pictures(folder / "input/penny")
    base = tiny_bases.base("sd15", folder / "models/diffusers/tiny", comfyui.path / "comfy" / "sd1_tokenizer")
    (folder / "models/checkpoints").mkdir(parents=True)
    tiny_bases.single_file(base.load("cpu"), folder / "models/checkpoints/tiny.safetensors")
    with comfyui.serve(folder, OURS, "--fp32-text-enc") as server:
        yield Place(comfyui, server, folder)


RATES = "unet_lr: 5e-2, text_encoder_lr: 5e-2"


def trained(place: Place, kinds: dict[str, str], rates: dict[str, str] | None = None) -> dict[str, Any]:
    """Return a graph that trains these adapters on the tiny base."""
    dataset = f"""
stages:
  dataset:
    uses: prepare
    images: {(place.folder / "input/penny").as_posix()}
    resolution: 64
    base: {{family: sd15, checkpoint: {(place.folder / "models/diffusers/tiny").as_posix()}}}
"""
    file = place.folder / "kinds.yaml"
    file.write_text(
        dataset
        + "".join(
            TRAINED.format(name=name, adapter=kind, rates=(rates or {}).get(name, RATES))
            for name, kind in kinds.items()
        ),
        "utf-8",
    )
    return by_stage(place, file)


def applied(name: str, snapshot: str = "") -> dict[str, Any]:
    """Return nodes that apply weights to the tiny checkpoint and save what comes out."""
    strengths = {"strength_model": STRENGTH_MODEL, "strength_clip": STRENGTH_CLIP}
    loaded = {"model": ["model", 0], "clip": ["model", 1]}
    apply = {"weights": [name, 0], **loaded, **strengths, "snapshot": snapshot}
    saved = {"model": [f"apply-{name}", 0], "clip": [f"apply-{name}", 1], "vae": ["model", 2]}
    return {
        "model": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny.safetensors"}},
        f"apply-{name}": {"class_type": "LorapipeApply", "inputs": apply},
        f"save-{name}": {"class_type": "CheckpointSave", "inputs": {**saved, "filename_prefix": name}},
    }


class Expected:
    """The tiny checkpoint with lorapipe's own ΔW at the test's strengths."""

    def __init__(self, place: Place) -> None:
        from lorapipe.models import Checkpoint
        from lorapipe.models.sd15 import SD15

        self.folder = place.folder
        self.model = SD15(checkpoint=Checkpoint(place.folder / "models/diffusers/tiny")).load("cpu")
        self.names = self.model.kohya_names()

    def checkpoint(self, snapshot: Path) -> dict[str, torch.Tensor]:
        """Return the checkpoint's tensors with a snapshot's update."""
        changed = []
        with torch.no_grad():
            for (part, path), module in formats.open(snapshot, self.names).modules.items():
                layer = self.model.part(part).get_submodule(path)
                strength = STRENGTH_MODEL if part == "unet" else STRENGTH_CLIP
                before = {name: tensor.clone() for name, tensor in layer.named_parameters()}
                changed.append((layer, before))
                bias = module.delta_bias(before.get("bias"))
                layer.weight.add_(strength * module.delta(before["weight"]).reshape(layer.weight.shape))
                if bias is not None:
                    layer.bias.add_(strength * bias)
            found = load_file(tiny_bases.single_file(self.model, self.folder / "expected.safetensors"))
            for layer, before in changed:
                for name, tensor in layer.named_parameters():
                    tensor.copy_(before[name])
        return found


def snapshot_of(place: Place, name: str, step: int) -> Path:
    """Return a training's snapshot."""
    return place.project / "outputs" / name / "snapshots" / f"step-{step:06d}.safetensors"


def test_patched_weights_equal_lorapipes_for_every_kind_and_both_strengths(place: Place) -> None:
    sent = trained(place, KINDS)
    for name in KINDS:
        sent |= applied(name)
    sent |= {
        f"{key}-2": {**node, "inputs": {**node["inputs"]}} for key, node in applied("lora", "2").items() if "-" in key
    }
    sent["save-lora-2"]["inputs"] |= {
        "model": ["apply-lora-2", 0],
        "clip": ["apply-lora-2", 1],
        "filename_prefix": "two",
    }
    seen = watch(place.server, sent)
    assert seen.end == "execution_success", f"{seen.error}\n{place.server.log()[-3000:]}"
    assert "not loaded" not in place.server.log() and "SHAPE MISMATCH" not in place.server.log()
    base, expected = load_file(place.folder / "models/checkpoints/tiny.safetensors"), Expected(place)
    for saved, name, step in [*((name, name, 3) for name in KINDS), ("two", "lora", 2)]:
        found = load_file(next((place.folder / "output").glob(f"{saved}_*.safetensors")))
        wanted = expected.checkpoint(snapshot_of(place, name, step))
        moved = 0
        for key, before in base.items():
            if key.startswith("first_stage_model") or key not in found:
                continue
            change = (wanted[key] - before).norm()
            error = (found[key].float() - wanted[key]).norm()
            assert error <= 1e-4 * max(change, 1e-3 * before.norm(), 1e-3), (saved, key, float(error), float(change))
            moved += bool(change > 0)
        assert moved > 20, saved


def test_a_word_and_a_hypernetwork_change_the_picture_and_nothing_else_does(place: Place) -> None:
    kinds = {"word": "{type: embedding, trigger: penny, vectors: 2, replace: true}", "net": "{type: hypernetwork}"}
    sent = trained(place, kinds, {"word": "embedding_lr: 5e-1", "net": "unet_lr: 5e-2"})
    for name in ("word", "net"):
        sent |= applied(name)
        del sent[f"save-{name}"]
    for name, model, clip in (
        ("plain", "model", ["model", 1]), ("word", "model", ["apply-word", 1]), ("net", "apply-net", ["model", 1]),
    ):  # fmt: skip
        picture = tiny_bases.graph("tiny.safetensors", steps=2)
        del picture["model"]
        for key, node in picture.items():
            inputs = dict(node["inputs"])
            for socket, value in inputs.items():
                if value == ["model", 0]:
                    inputs[socket] = [model, 0]
                elif value == ["model", 1]:
                    inputs[socket] = clip
                elif isinstance(value, list) and value[0] in picture:
                    inputs[socket] = [f"{name}-{value[0]}", value[1]]
            sent[f"{name}-{key}"] = {"class_type": node["class_type"], "inputs": inputs}
        sent[f"{name}-latent"]["inputs"]["filename_prefix"] = f"latent-{name}"
    seen = watch(place.server, sent)
    assert seen.end == "execution_success", f"{seen.error}\n{place.server.log()[-3000:]}"
    assert "does not exist" not in place.server.log()
    latents = {
        name: load_file(next((place.folder / "output").glob(f"latent-{name}_*")))["latent_tensor"]
        for name in ("plain", "word", "net")
    }
    assert not torch.equal(latents["plain"], latents["word"])
    assert not torch.equal(latents["plain"], latents["net"])


def test_mistakes_name_the_cure(place: Place) -> None:
    sent = trained(place, {"lora": KINDS["lora"]}) | applied("lora", "17")
    seen = watch(place.server, sent)
    assert seen.end == "execution_error" and "there is no snapshot after 17 steps. There are 1, 2, 3." in seen.error
    sent = trained(place, {"lora": KINDS["lora"]}) | applied("lora")
    sent["apply-lora"]["inputs"]["weights"] = ["dataset", 0]
    status, answer = place.server.post("prompt", {"prompt": sent})
    assert status == 400 or answer["node_errors"], "a dataset is no weights"
