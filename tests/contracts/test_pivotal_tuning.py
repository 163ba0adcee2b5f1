"""Contract tests of pivotal tuning: an embedding learns beside every adapter, or the plan says why it cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from lorapipe import formats
from lorapipe.errors import Interrupted
from lorapipe.formats import Format
from lorapipe.models import Model
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.pipeline.events import Log, Metric
from lorapipe.spec import Destination, Duration, Ref, Source
from lorapipe.stages.export import Export
from lorapipe.stages.train import Train
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
from lorapipe.training.adapter_layers.word_embedding import WordEmbedding
from lorapipe.training.adapters import Adapter
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.interval import Interval
from lorapipe.training.peft_methods import Method

assert Adapter.registry is not None and Format.registry is not None and Method.registry is not None
WORD = "penny_1"
VERA = Method.registry.get("vera")(rank=16)  # type: ignore[call-arg]
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in Adapter.registry.names()
       if "embedding" not in Adapter.registry.get(name).trains and not Adapter.registry.get(name).in_place},
    "lora, dora": ("lora", {"dora": True}),
    "lokr, dora of outputs": ("lokr", {"dora": True, "dora_axis": "output"}),
    "locon, norms": ("locon", {"norms": True}),
    "peft vera": ("peft", {"method": VERA}),
}  # fmt: skip
"""Every registered adapter that a word can learn beside, and settings with tensors of another kind."""


def partner(name: str) -> Adapter:
    kind, settings = SETTINGS[name]
    made: Adapter = Adapter.registry.get(kind)(**settings)  # type: ignore[union-attr]
    return made


def training(name: str, dataset: Dataset, **more: Any) -> Train:
    adapter = partner(name)
    roles = {"unet_lr": "denoiser", "text_encoder_lr": "text_encoder"}
    rates = {rate: 1e-2 for rate, role in roles.items() if role in adapter.trains}
    word = WordEmbedding(trigger=WORD, vectors=2, init="red hat")
    knobs: dict[str, Any] = {"captions": Captioning(trigger=WORD), "steps": Duration(4), "snapshots": Interval(2)}
    rates["embedding_lr"] = 1e-2
    return Train(dataset=dataset, adapter=adapter, embedding=word, **{**knobs, **rates, **more})


@pytest.fixture(scope="module", params=SETTINGS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def trained(name: str, dataset: Dataset, folder: Path) -> Weights:
    assert [*training(name, dataset).problems()] == []
    return training(name, dataset).run(tiny.Bench(folder).context(f"pivotal {name}"))


def answer(model: Model, path: Path | None) -> torch.Tensor:
    """The prediction for a prompt with the word, with the weights of a file, which is known by its keys."""
    noise = torch.randn(1, *model.latent_shape((64, 64)), generator=torch.Generator().manual_seed(0))
    weights = formats.open(path, model.kohya_names()) if path else formats.AdapterWeights()
    parts = (*dict.fromkeys([*weights.parts, *model.trainable]),)
    attached = WeightsAdapter(weights).attach(model, parts)
    with torch.no_grad():
        found = model.predict(
            noise.to(tiny.DEVICE), torch.tensor([500], device=tiny.DEVICE), model.encode_text([f"{WORD}, red"])
        ).cpu()
    attached.detach()
    return found


@pytest.mark.one_in(2)
def test_both_learn_and_a_stopped_training_ends_as_an_unbroken_one(
    name: str, dataset: Dataset, trained: Weights, bench: tiny.Bench, model: Model
) -> None:
    first, last = (formats.open(each.path, model.kohya_names()) for each in trained.snapshots)
    assert [*last.embeddings] == [WORD]
    assert all(not torch.equal(last.embeddings[WORD][part], each) for part, each in first.embeddings[WORD].items())
    moved = [*learnt(first).keys() & learnt(last).keys()]
    assert moved and any(not torch.equal(learnt(first)[key], learnt(last)[key]) for key in moved)
    bench.stopping = lambda: len(bench.of(Metric)) >= 2
    with pytest.raises(Interrupted):
        training(name, dataset).run(bench.context(f"pivotal {name} stopped"))
    bench.stopping = lambda: False
    again = training(name, dataset).run(bench.context(f"pivotal {name} stopped"))
    assert any("Resumes after step" in event.text for event in bench.of(Log))
    assert again.log.read_bytes() == trained.log.read_bytes()
    for ours, theirs in zip(again.snapshots, trained.snapshots, strict=True):
        assert ours.path.read_bytes() == theirs.path.read_bytes()


def learnt(weights: formats.AdapterWeights) -> Mapping[str, torch.Tensor]:
    """Return the tensors of modules, or of a hypernetwork."""
    if weights.hypernetwork is not None:
        return weights.hypernetwork.tensors()
    return {
        " ".join([*place, short]): tensor
        for place, each in weights.modules.items()
        for short, tensor in each.tensors.items()
    }


@pytest.mark.one_in(2)
def test_a_training_goes_on_from_both(
    name: str, dataset: Dataset, trained: Weights, bench: tiny.Bench, model: Model
) -> None:
    file = trained.snapshots[-1].path
    base, whole = answer(model, None), answer(model, file)
    assert not torch.equal(base, whole)
    still = {
        rate: 1e-12 for rate in ("unet_lr", "text_encoder_lr") if getattr(training(name, dataset), rate) is not None
    }
    knobs: dict[str, Any] = {"steps": Duration(1), "snapshots": Interval(1), **still}
    more = training(name, dataset, start_from=Source(file), embedding_lr=1e-12, **knobs)
    second = more.run(bench.context(f"pivotal {name} again")).snapshots[-1].path
    assert float((answer(model, second) - whole).norm()) <= 0.02 * float((whole - base).norm())


@pytest.mark.one_in(2)
def test_it_is_exported_in_one_file_or_in_two(
    name: str, trained: Weights, bench: tiny.Bench, model: Model, tmp_path: Path
) -> None:
    """Or refused by the plan: programs read neither PEFT's methods nor hypernetworks with a word beside them."""
    own = {"peft": "peft", "hypernetwork": "a1111"}.get(SETTINGS[name][0], "kohya")
    form: Format = Format.registry.get(own)()  # type: ignore[union-attr]
    stages = {"penny": training(name, dataset=Ref("dataset"))}  # type: ignore[arg-type]
    whole = Export(weights=Ref("penny"), to=Destination(tmp_path / f"all{form.ending}"), format=form)  # type: ignore[arg-type]
    refused = [problem.path for problem in whole.problems_among(stages)]
    assert refused == ([] if own == "kohya" else [("what",)])
    apart = [("adapter", form), ("embedding", Format.default("kohya")())]
    for what, chosen in [*apart, *([] if refused else [("all", form)])]:
        to = Destination(tmp_path / f"{what}{chosen.ending}")
        stage = dataclasses.replace(whole, weights=trained, what=what, format=chosen, to=to, dtype="fp32")  # type: ignore[arg-type]
        planned = dataclasses.replace(stage, weights=Ref("penny"))  # type: ignore[arg-type]
        assert [*planned.problems_among(stages)] == [], (what, chosen)
        made = stage.run(bench.context(f"pivotal {name} exported {what}")).path
        found = formats.open(made, model.kohya_names())
        assert bool(found.embeddings) == (what != "adapter") and bool(learnt(found)) == (what != "embedding")
        if what == "all":
            wanted, base = answer(model, trained.snapshots[-1].path), answer(model, None)
            assert float((answer(model, made) - wanted).norm()) <= 0.02 * float((wanted - base).norm())


@pytest.mark.parametrize("kind", [name for name in Adapter.registry.names() if name not in SETTINGS])
def test_the_plan_says_beside_what_no_word_can_learn(kind: str, dataset: Dataset) -> None:
    adapter: Any = Adapter.registry.get(kind)  # type: ignore[union-attr]
    made = adapter(trigger="other") if kind == "embedding" else adapter()
    (problem,) = Train(dataset=dataset, adapter=made, embedding=WordEmbedding(trigger=WORD)).problems()
    assert problem.path == ("embedding",) and problem.cure


@pytest.mark.parametrize("method", Method.registry.names())
def test_a_words_usual_rate_is_its_own(method: str) -> None:
    """Not the adapter's, some of which learn at a hundred times LoRA's."""
    usual = Train(dataset=Ref("dataset"), embedding=WordEmbedding(trigger=WORD)).rate("embedding_lr")  # type: ignore[arg-type]
    peft: Any = Adapter.registry.get("peft")  # type: ignore[union-attr]
    adapter = peft(method=Method.registry.get(method)())  # type: ignore[union-attr]
    beside = Train(dataset=Ref("dataset"), adapter=adapter, embedding=WordEmbedding(trigger=WORD))  # type: ignore[arg-type]
    assert beside.rate("embedding_lr") == usual
    assert beside.rate("unet_lr") == pytest.approx(1e-4 * adapter.rate_factor)
