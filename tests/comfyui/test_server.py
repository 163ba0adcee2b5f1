"""What lorapipe trains and exports does in ComfyUI what it does in lorapipe: stock nodes, a real server, tiny bases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bases
import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file
from server import ComfyUI, Server

from lorapipe.formats import AdapterWeights
from lorapipe.formats.kohya import Kohya
from lorapipe.spec import Duration, Source
from lorapipe.stages.export import Export
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.families import Model
from lorapipe.training.rhythm import Rhythm

PROMPT, SEED = "penny, red", 5
ADAPTER = LoCon(rank=4, alpha=2.0, conv_rank=2)
LATENT_SCALE = {"sd15": 0.18215, "sdxl": 0.13025}


@dataclass(frozen=True)
class Trained:
    """A base, what was trained on it, and both where the server looks for them."""

    family: str
    model: Model
    learnt: AdapterWeights
    lora: str
    checkpoint: str
    merged: str


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def trained(request: pytest.FixtureRequest, comfyui: ComfyUI, server: Server, tmp_path_factory: Any) -> Trained:
    """A few steps of a real training, exported into the server's folder of LoRAs; and the base with ΔW added by us."""
    family, folder = request.param, tmp_path_factory.mktemp(request.param)
    base = bases.base(family, folder / "base", comfyui.path / "comfy" / "sd1_tokenizer")
    bench, models, model = tiny.Bench(folder), server.folder / "models", base.load("cpu")
    dataset = Prepare(images=Source(tiny.draw(folder / "pictures")), base=base, duplicate_tolerance=0).run(
        bench.context("prepare")
    )
    weights = Train(
        dataset=dataset, adapter=ADAPTER, steps=Duration(6), snapshots=Rhythm(1), batch=2,
        **{f"{part}_lr": 0.05 for part in model.trainable},
    ).run(bench.context("train"))  # fmt: skip
    stage = Export(weights=weights, to=models / "loras" / f"{family}.safetensors", dtype="fp32")
    stage.deliver(stage.run(bench.context("export")))
    learnt = Kohya().load(load_file(stage.to), model.kohya_names())
    names = Trained(family, model, learnt, stage.to.name, f"{family}-base.safetensors", f"{family}-merged.safetensors")
    bases.single_file(model, models / "checkpoints" / names.checkpoint)
    merged = base.load("cpu")
    with torch.no_grad():
        for (part, path), module in learnt.modules.items():
            weight = merged.part(part).get_submodule(path).weight
            weight += module.delta().reshape(weight.shape)
    bases.single_file(merged, models / "checkpoints" / names.merged)
    return names


def graph(checkpoint: str, lora: str = "", strength: float = 1.0, steps: int = 1, cfg: float = 1.0) -> dict[str, Any]:
    """Load, perhaps with a LoRA, sample one picture of 64 px, keep picture and latent."""

    def node(kind: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs}

    nodes = {
        "model": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "empty": node("EmptyLatentImage", width=64, height=64, batch_size=1),
    }
    source = "model"
    if lora:
        source, loader = "lora", {"lora_name": lora, "strength_model": strength, "strength_clip": strength}
        nodes["lora"] = node("LoraLoader", model=["model", 0], clip=["model", 1], **loader)
    for name, text in (("positive", PROMPT), ("negative", "")):
        nodes[name] = node("CLIPTextEncode", text=text, clip=[source, 1])
    nodes["sample"] = node(
        "KSampler", model=[source, 0], positive=["positive", 0], negative=["negative", 0], latent_image=["empty", 0],
        seed=SEED, steps=steps, cfg=cfg, sampler_name="euler", scheduler="normal", denoise=1.0,
    )  # fmt: skip
    nodes["decode"] = node("VAEDecode", samples=["sample", 0], vae=["model", 2])
    nodes["picture"] = node("SaveImage", images=["decode", 0], filename_prefix="picture")
    nodes["latent"] = node("SaveLatent", samples=["sample", 0], filename_prefix="latent")
    return nodes


def latent(server: Server, **how: Any) -> torch.Tensor:
    """The sampled latent of a graph."""
    (shown,) = server.run(graph(**how))["latent"]["latents"]
    return load_file(server.file(shown))["latent_tensor"]


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The difference of two tensors, relative to the second."""
    return float((one - other).norm() / other.norm())


def test_the_loaded_file_is_our_update(server: Server, trained: Trained) -> None:
    """Load LoRA on the base samples what the base with ΔW added by us samples: at several steps, with guidance."""
    how = {"steps": 4, "cfg": 4.0}
    base = latent(server, checkpoint=trained.checkpoint, **how)
    loaded = latent(server, checkpoint=trained.checkpoint, lora=trained.lora, **how)
    merged = latent(server, checkpoint=trained.merged, **how)
    print(trained.family, "effect", apart(loaded, base), "error", apart(loaded, merged))
    assert apart(loaded, base) > 0.02
    assert apart(loaded, merged) < 1e-4


def test_half_the_strength_is_half_the_update(server: Server, trained: Trained) -> None:
    """Half on the base is the base with ΔW less half of it."""
    half = latent(server, checkpoint=trained.checkpoint, lora=trained.lora, strength=0.5)
    back = latent(server, checkpoint=trained.merged, lora=trained.lora, strength=-0.5)
    full = latent(server, checkpoint=trained.merged)
    print(trained.family, "half", apart(half, full), "error", apart(half, back))
    assert apart(half, full) > 0.01
    assert apart(half, back) < 1e-4


def test_nothing_of_the_file_is_left_out(server: Server, trained: Trained) -> None:
    begun = len(server.log())
    server.run(graph(trained.checkpoint, trained.lora, steps=2))
    said = server.log()[begun:]
    assert not [
        line for line in said.splitlines() if "not loaded" in line.lower() or "ERROR" in line or "MISMATCH" in line
    ]


def test_both_networks_predict_the_same(server: Server, trained: Trained) -> None:
    """One Euler step from pure noise lays the network's answer bare: it is ours, with the adapter in place.

    ComfyUI draws the noise on the CPU from the seed; x = noise · √(1 + σ²), and the result is x − σ · ε, divided by
    the latents' scale (Karras et al. 2022).
    """
    model, noise = trained.model, torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
    sampled = latent(server, checkpoint=trained.checkpoint, lora=trained.lora) * LATENT_SCALE[trained.family]
    last = model.alphas_cumprod[-1]
    sigma = ((1 - last) / last).sqrt()
    theirs = (noise * (1 + sigma**2).sqrt() - sampled) / sigma
    injected = ADAPTER.inject(model, model.trainable)
    injected.load(trained.learnt)
    framing = model.framing((64, 64), (0, 0), (64, 64))
    with torch.no_grad():
        ours = model.predict(
            noise, torch.tensor([len(model.alphas_cumprod) - 1]), {**model.encode_text([PROMPT]), **framing}
        )
    injected.eject()
    print(trained.family, "network", apart(ours, theirs))
    assert apart(ours, theirs) < 1e-4


def test_the_picture_changes(server: Server, trained: Trained) -> None:
    def picture(lora: str) -> np.ndarray:
        (shown,) = server.run(graph(trained.checkpoint, lora, steps=4))["picture"]["images"]
        return np.asarray(Image.open(server.file(shown)), dtype=np.float32)

    before, after = picture(""), picture(trained.lora)
    assert before.shape == (64, 64, 3) and before.std() > 1
    print(trained.family, "picture", np.abs(after - before).mean())
    assert np.abs(after - before).mean() > 1
