"""What `export` makes of every kind is the same change in ComfyUI: stock nodes, a real server, tiny bases."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_bases
import torch
from predictions import apart, predicted, prediction
from real_comfyui import ComfyUI, Server

from lorapipe import formats
from lorapipe.formats import AdapterWeights
from lorapipe.formats.a1111 import A1111
from lorapipe.formats.kohya import Kohya
from lorapipe.models import Checkpoint, Family, Model
from lorapipe.pipeline.artifacts import Snapshot, Weights
from lorapipe.spec import Destination, Source
from lorapipe.stages.export import Export
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.embedding import Embedding
from lorapipe.training.adapters.finetune import Finetune
from lorapipe.training.adapters.glora import GLoRA
from lorapipe.training.adapters.hypernetwork import Hypernetwork
from lorapipe.training.adapters.ia3 import IA3
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.adapters.lokr import LoKr
from lorapipe.training.adapters.oft import OFT
from lorapipe.training.adapters.peft import Peft
from lorapipe.training.peft_methods.boft import Boft

LEVEL = re.compile(r"(?m)^(?:\x1b\[\d+m)*\[[A-Z]+\](?:\x1b\[0m)? ")
"""What newer ones write before each line of their log."""
SHARE = 0.2
"""Spread of the random values that stand for trained ones."""
MIXED = LoCon(
    rank=4,
    conv_rank=2,
    module_kinds={r"attn1\.": "loha", r"ff\.": "lokr", r"resnets\.0\.conv1": "full", "fc1": "glora"},
    module_ranks={r"attn2\.": 2, "proj_(in|out)": 0},
)
"""Four other kinds, other ranks, and modules that are left out, in one file."""
CONVERTED: dict[str, Adapter] = {
    "lokr": LoKr(rank=4, preset="full", tucker=True),
    "lokr dora": LoKr(rank=4, dora=True, dora_axis="output"),
    "oft": OFT(block_size=4, constraint=0.5, preset="full"),
    "ia3": IA3(preset="full"),
    "glora": GLoRA(rank=2),
    "boft": Peft(method=Boft(block_size=4)),
    "mixed": MIXED,
}
"""Among them those whose own files ComfyUI ignores or misreads."""


@dataclass(frozen=True)
class Pair:
    """A base for lorapipe, and the same as a file in the server's folder."""

    family: str
    base: Family
    model: Model
    checkpoint: Path
    bench: tiny.Bench
    models: Path

    def export(self, learnt: AdapterWeights, kind: str, name: str, **knobs: Any) -> Path:
        """Write weights as the stage `export` does, into the server's folder of `kind`."""
        snapshot = self.bench.folder / f"{name}-learnt.safetensors"
        formats.save(learnt, self.model.kohya_names(), snapshot, Kohya())
        base = knobs.pop("base", self.base)
        to = self.models / kind / name
        to.parent.mkdir(exist_ok=True)
        weights = Weights((Snapshot(1, 1, snapshot),), base=base)
        stage = Export(weights=weights, to=Destination(to), **{"dtype": "fp32", **knobs})
        assert [*stage.problems()] == []
        to.write_bytes(stage.run(self.bench.context(f"export {name}")).path.read_bytes())
        return to

    def learnt(self, adapter: Adapter) -> AdapterWeights:
        """Return an adapter's weights with random values."""
        attached, generator = adapter.attach(self.model, self.model.trainable), torch.Generator().manual_seed(4)
        for parameter in [each for part in attached.parameters().values() for each in part]:
            spread = SHARE if not adapter.in_place else 0.01
            parameter.data += torch.randn(parameter.shape, generator=generator) * spread
        attached.refresh()
        found = attached.learned()
        attached.detach()
        return found

    def prediction(self, weights: AdapterWeights | None = None, strength: float = 1.0, prompt: str = "") -> Any:
        """Return lorapipe's prediction with these weights."""
        prompt = prompt or tiny_bases.PROMPT
        if weights is None:
            return prediction(self.model, prompt)
        attached = WeightsAdapter(weights).attach(self.model, weights.parts)
        attached.set_strength(dict.fromkeys(weights.parts, strength))
        found = prediction(self.model, prompt)
        attached.detach()
        return found


@pytest.fixture(scope="module", params=tiny_bases.BASES)
def pair(request: pytest.FixtureRequest, comfyui: ComfyUI, server: Server, tmp_path_factory: Any) -> Pair:
    folder = tmp_path_factory.mktemp(request.param)
    base = tiny_bases.base(request.param, folder / "base", comfyui.path / "comfy" / "sd1_tokenizer")
    model, models = base.load("cpu"), server.folder / "models"
    checkpoint = models / "checkpoints" / f"{request.param}-plain.safetensors"
    tiny_bases.single_file(model, checkpoint)
    return Pair(request.param, base, model, checkpoint, tiny.Bench(folder), models)


def graph(pair: Pair, lora: Path | None = None, **how: Any) -> dict[str, Any]:
    return tiny_bases.graph(pair.checkpoint.name, lora.name if lora else "", **how)


def same(server: Server, pair: Pair, nodes: dict[str, Any], ours: torch.Tensor, plain: torch.Tensor) -> None:
    """ComfyUI predicts as lorapipe does, which is not what the base predicts; and nothing was left out on the way."""
    before = len(server.log())
    theirs = predicted(server, pair.model, nodes)
    told = server.log()[before:]
    print(f"{pair.family}: within {apart(theirs, ours):.1e}, of a change of {apart(ours, plain):.1e}")
    assert apart(ours, plain) > 1e-3
    assert apart(theirs, ours) < 1e-4
    assert apart(theirs, ours) < 0.01 * apart(ours, plain)
    assert not re.findall(r"(?i).*(?:not loaded(?!: bundle_emb)|ERROR lora|shape mismatch|skipping).*", told)
    odd = re.findall(r"(?i).*(?:missing|unexpected|left over keys).*", LEVEL.sub("", told))
    assert {*odd} <= {"Missing VAE keys ['vae_scale', 'vae_shift']"}, "which the tiny TAESD of `tiny_bases` has not"


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_a_file_of_several_kinds_and_ranks(server: Server, pair: Pair, strength: float) -> None:
    learnt = pair.learnt(MIXED)
    assert {"lora", "loha", "lokr", "full", "glora"} == {*learnt.algorithms}
    file = pair.export(learnt, "loras", f"{pair.family}-mixed-{strength}.safetensors")  # the loader keeps files open
    ours = pair.prediction(learnt, strength)
    same(server, pair, graph(pair, file, strength=strength), ours, pair.prediction())


@pytest.mark.parametrize("name", CONVERTED)
def test_a_dense_difference_is_the_adapter_itself(server: Server, pair: Pair, name: str) -> None:
    learnt = pair.learnt(CONVERTED[name])
    file = pair.export(learnt, "loras", f"{pair.family}-{name}-diff.safetensors", convert="diff")
    same(server, pair, graph(pair, file), pair.prediction(learnt), pair.prediction())


@pytest.mark.parametrize("name", CONVERTED)
def test_a_lora_that_was_computed_is_what_we_read_in_it(server: Server, pair: Pair, name: str) -> None:
    learnt = pair.learnt(CONVERTED[name])
    name = f"{pair.family}-{name}-lora.safetensors"
    file = pair.export(learnt, "loras", name, convert="lora", convert_rank=8)
    read = formats.open(file, pair.model.kohya_names())
    assert {*read.algorithms} <= {"lora", "norm"}
    same(server, pair, graph(pair, file), pair.prediction(read), pair.prediction())


@pytest.mark.parametrize("adapter", [Finetune(), MIXED], ids=["finetune", "adapter"])
def test_a_checkpoint_is_the_base_with_the_change_in_it(server: Server, pair: Pair, adapter: Adapter) -> None:
    """Of a base that is a single file, into one: CheckpointLoaderSimple reads every key of it."""
    knobs: dict[str, Any] = {"config": Source(pair.base.checkpoint.path)}
    base = replace(pair.base, checkpoint=Checkpoint(pair.checkpoint), **knobs)
    learnt = pair.learnt(adapter)
    name = f"{pair.family}-{adapter.name}.safetensors"
    file = pair.export(learnt, "checkpoints", name, convert="checkpoint", base=base)
    nodes = tiny_bases.graph(file.name)
    same(server, pair, nodes, pair.prediction(learnt), pair.prediction())


def test_a_word_is_read_out_of_a_loras_file(server: Server, pair: Pair) -> None:
    """`bundle_emb`: the file is among the LoRAs, and among the embeddings too."""
    attached = Embedding(trigger="bundledpenny", vectors=3).attach(pair.model, ["embedding"])
    for vectors in attached.parameters()["embedding"]:
        vectors.data.copy_(torch.randn(vectors.shape, generator=torch.Generator().manual_seed(3)))
    words = attached.learned().embeddings
    attached.detach()
    learnt = replace(pair.learnt(LoCon(rank=2)), embeddings=words)
    name = f"{pair.family}bundle.safetensors"
    file = pair.export(learnt, "loras", name)
    (pair.models / "embeddings").mkdir(exist_ok=True)
    (pair.models / "embeddings" / name).write_bytes(file.read_bytes())
    nodes, prompt = graph(pair, file), "a bundledpenny , meadow"
    nodes["positive"]["inputs"]["text"] = f"a embedding:{file.stem} , meadow"
    without = pair.prediction(replace(learnt, embeddings={}), prompt=prompt)
    same(server, pair, nodes, pair.prediction(learnt, prompt=prompt), without)


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("layers", [{}, {"activation": "mish", "structure": (1, 2, 2, 1), "layer_norm": True}])
def test_a_hypernetwork_at_its_strength(server: Server, pair: Pair, layers: dict[str, Any], strength: float) -> None:
    learnt = pair.learnt(Hypernetwork(**layers))
    name = f"{pair.family}-{'deep' if layers else 'plain'}.pt"
    file = pair.export(learnt, "hypernetworks", name, format=A1111())
    nodes = graph(pair)
    given = {"model": ["model", 0], "hypernetwork_name": file.name, "strength": strength}
    nodes["nets"] = {"class_type": "HypernetworkLoader", "inputs": given}
    nodes["sample"]["inputs"]["model"] = ["nets", 0]
    weights = formats.open(file, pair.model.kohya_names())
    attached = WeightsAdapter(weights).attach(pair.model, pair.model.trainable)
    attached.set_strength({"unet": strength})
    ours = pair.prediction()
    attached.detach()
    same(server, pair, nodes, ours, pair.prediction())
