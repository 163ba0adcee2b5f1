"""An exported adapter has the same effect in ComfyUI as in lorapipe: stock nodes, a real server, tiny bases."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tiny
import tiny_bases
import torch
from PIL import Image
from predictions import apart, latent, predicted, prediction
from real_comfyui import ComfyUI, Server
from safetensors.torch import load_file

from lorapipe import formats
from lorapipe.formats import AdapterWeights, Format
from lorapipe.formats.kohya import Kohya
from lorapipe.models import Model
from lorapipe.spec import Destination, Duration, Source
from lorapipe.stages.export import Export
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training.adapters.embedding import Embedding
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.interval import Interval

ADAPTER = LoCon(rank=4, alpha=2.0, conv_rank=2)


@dataclass(frozen=True)
class Trained:
    """A base and an adapter that was trained on it, both in the server's folders."""

    family: str
    model: Model
    learnt: AdapterWeights
    lora: str
    checkpoint: str
    merged: str


@pytest.fixture(scope="module", params=["sd15", "sd2", "sdxl"])
def trained(request: pytest.FixtureRequest, comfyui: ComfyUI, server: Server, tmp_path_factory: Any) -> Trained:
    """A short real training, exported into the server's folder of LoRAs, and the base with ΔW added by lorapipe."""
    family, folder = request.param, tmp_path_factory.mktemp(request.param)
    base = tiny_bases.base(family, folder / "base", comfyui.path / "comfy" / "sd1_tokenizer")
    bench, models, model = tiny.Bench(folder), server.folder / "models", base.load("cpu")
    pictures = Source(tiny.draw(folder / "pictures"))
    dataset = Prepare(images=pictures, base=base, duplicate_tolerance=0).run(bench.context("prepare"))
    weights = Train(
        dataset=dataset, adapter=ADAPTER, steps=Duration(6), snapshots=Interval(1), batch=2,
        **{f"{part}_lr": 0.05 for part in model.trainable},
    ).run(bench.context("train"))  # fmt: skip
    stage = Export(weights=weights, to=Destination(models / "loras" / f"{family}.safetensors"), dtype="fp32")
    to = stage.to.path
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(stage.run(bench.context("export")).path.read_bytes())
    learnt = Kohya().load(load_file(to), model.kohya_names())
    names = Trained(family, model, learnt, to.name, f"{family}-base.safetensors", f"{family}-merged.safetensors")
    tiny_bases.single_file(model, models / "checkpoints" / names.checkpoint)
    merged = base.load("cpu")
    with torch.no_grad():
        for (part, path), module in learnt.modules.items():
            weight = merged.part(part).get_submodule(path).weight
            weight += module.delta().reshape(weight.shape)
    tiny_bases.single_file(merged, models / "checkpoints" / names.merged)
    return names


def test_the_loaded_file_is_our_update(server: Server, trained: Trained) -> None:
    """Load LoRA on the base samples the same as the base with ΔW added by lorapipe, with several steps and guidance."""
    how = {"steps": 4, "cfg": 4.0}
    base = latent(server, checkpoint=trained.checkpoint, **how)
    loaded = latent(server, checkpoint=trained.checkpoint, lora=trained.lora, **how)
    merged = latent(server, checkpoint=trained.merged, **how)
    assert apart(loaded, base) > 0.02
    assert apart(loaded, merged) < 1e-4


def test_half_the_strength_is_half_the_update(server: Server, trained: Trained) -> None:
    """Half on the base is the base with ΔW less half of it."""
    half = latent(server, checkpoint=trained.checkpoint, lora=trained.lora, strength=0.5)
    back = latent(server, checkpoint=trained.merged, lora=trained.lora, strength=-0.5)
    full = latent(server, checkpoint=trained.merged)
    assert apart(half, full) > 0.01
    assert apart(half, back) < 1e-4


def test_nothing_of_the_file_is_left_out(server: Server, trained: Trained) -> None:
    """A prompt succeeds even if keys do not match; only the log shows it."""
    server.run(tiny_bases.graph(trained.checkpoint, trained.lora))
    assert not re.findall(r"(?i).*(?:not loaded|ERROR lora|shape mismatch).*", server.log())


def test_both_networks_predict_the_same(server: Server, trained: Trained) -> None:
    """With the adapter attached here, and loaded there."""
    attached = ADAPTER.attach(trained.model, trained.model.trainable)
    attached.load(trained.learnt)
    ours = prediction(trained.model, tiny_bases.PROMPT)
    attached.detach()
    theirs = predicted(server, trained.model, tiny_bases.graph(checkpoint=trained.checkpoint, lora=trained.lora))
    assert apart(ours, theirs) < 1e-4


@pytest.mark.parametrize(
    ("format", "ending"), [("kohya", "safetensors"), ("diffusers", "safetensors"), ("a1111", "pt")]
)
def test_an_embedding_is_the_same_word(server: Server, trained: Trained, format: str, ending: str) -> None:
    """Three vectors, in each format that holds a word, read by the node that encodes prompts as `embedding:NAME`."""
    model, word = trained.model, f"pennyword{format}"
    attached = Embedding(trigger=word, vectors=3).attach(model, ["embedding"])
    for vectors in attached.parameters()["embedding"]:
        vectors.data.copy_(torch.randn(vectors.shape, generator=torch.Generator().manual_seed(3)))
    to = server.folder / "models" / "embeddings" / f"{word}.{ending}"
    to.parent.mkdir(exist_ok=True)
    formats.save(attached.learned(), model.kohya_names(), to, Format.registry.get(format)())
    ours = prediction(model, f"a {word}, meadow")
    attached.detach()
    without = prediction(model, f"a {word}, meadow")
    graph = tiny_bases.graph(checkpoint=trained.checkpoint)
    graph["positive"]["inputs"]["text"] = f"a embedding:{word} , meadow"
    assert apart(ours, without) > 1e-3
    theirs = predicted(server, trained.model, graph)
    print(f"{trained.family} {format}: within {apart(ours, theirs):.1e}, without the word {apart(ours, without):.1e}")
    assert apart(ours, theirs) < 1e-4


def test_the_picture_changes(server: Server, trained: Trained) -> None:
    def picture(lora: str) -> np.ndarray:
        (shown,) = server.run(tiny_bases.graph(trained.checkpoint, lora, steps=4))["picture"]["images"]
        return np.asarray(Image.open(server.file(shown)), dtype=np.float32)

    before, after = picture(""), picture(trained.lora)
    assert before.shape == (64, 64, 3) and before.std() > 1
    assert np.abs(after - before).mean() > 1
