"""Textual inversion: trained words in the base, in other programs' files, and in trainings."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lorapipe import formats
from lorapipe.errors import InputError, LorapipeError
from lorapipe.formats import AdapterWeights
from lorapipe.formats.a1111 import A1111
from lorapipe.formats.diffusers import Diffusers
from lorapipe.formats.kohya import Kohya
from lorapipe.formats.peft import Peft
from lorapipe.models import PLAIN_READING, Family, Model, TextReading
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.pipeline.events import Log, Metric, Preview
from lorapipe.spec import Destination, Duration, Source, from_dict
from lorapipe.stages.evaluate import Evaluate
from lorapipe.stages.export import Export
from lorapipe.stages.train import Train
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
from lorapipe.training.adapter_layers.word_embedding import WordEmbedding
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.embedding import Embedding
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.interval import Interval

assert Family.registry is not None
WORD = "<penny>"
"""A word outside every vocabulary."""
WHOLE = TextReading(max_tokens=150)


@pytest.fixture(scope="module", params=["sd15", "sd2", "sdxl"])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    assert Family.registry is not None
    found: Family = Family.registry.get(request.param).tiny(tmp_path_factory.mktemp(request.param))
    return found


@pytest.fixture(scope="module")
def of(family: Family) -> Model:
    return family.load("cpu")


def rows(model: Model, vectors: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return random vectors for each text encoder."""
    draw = torch.Generator().manual_seed(seed)
    widths = {part: model.token_table(part).shape[1] for part in model.word_encoders}
    return {part: torch.randn(vectors, width, generator=draw) for part, width in widths.items()}


def read(model: Model, text: str, reading: TextReading = PLAIN_READING) -> Mapping[str, torch.Tensor]:
    with torch.no_grad():
        return model.encode_text([text], reading)


def same(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)


# ------------------------------------------------------------------------------------------------ what a word means


def test_a_word_of_the_vocabularys_own_vectors_is_the_text_itself(of: Model) -> None:
    """At any position, in any case, beside brackets, in a text of several chunks."""
    words = {part: of.token_rows(part, "a red hat") for part in of.word_encoders}
    for text in ("{}", "a {}, meadow", "{}. {}", "smile, " * 40 + "{}, snow"):
        plain = read(of, text.format("a red hat", "a red hat"), WHOLE)
        assert not same(read(of, text.format(WORD, WORD), WHOLE), plain)
        of.words[WORD] = words
        for spelled in (WORD, WORD.upper(), f"embedding:{WORD}"):
            assert same(read(of, text.format(spelled, spelled), WHOLE), plain), text
        del of.words[WORD]


def test_weights_of_a_prompt_reach_all_vectors_of_a_word(of: Model) -> None:
    weighted = TextReading(weighted=True)
    plain = read(of, "a (red hat:1.3), snow", weighted)
    of.words[WORD] = {part: of.token_rows(part, "red hat") for part in of.word_encoders}
    assert same(read(of, f"a ({WORD}:1.3), snow", weighted), plain)
    del of.words[WORD]


def test_a_word_is_whole(of: Model) -> None:
    of.words["ann"] = rows(of)
    with_word = {text: read(of, text) for text in ("planning", "ann_b", "ann-marie", "ann")}
    del of.words["ann"]
    assert [same(found, read(of, text)) for text, found in with_word.items()] == [True, True, True, False]
    assert of.token_count("ann, snow") == of.token_count("ann") + of.token_count(", snow")


def test_only_its_vectors_have_gradients(of: Model) -> None:
    handle = Embedding(trigger=WORD, vectors=2, init="red hat").attach(of, ["embedding"])
    tables = {part: of.token_table(part).clone() for part in of.word_encoders}
    condition = of.encode_text([f"a {WORD}"])
    sum(each.sum() for each in condition.values()).backward()  # type: ignore[union-attr]
    ours = handle.parameters()["embedding"]
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in ours)
    assert all(each.grad is None for part in of.word_encoders for each in of.part(part).parameters())
    assert all(torch.equal(table, of.token_table(part)) for part, table in tables.items())
    handle.detach()
    assert not of.words


def test_diffusers_own_loader_reads_our_file_as_the_same_text(family: Family, of: Model, tmp_path: Path) -> None:
    """`load_textual_inversion`, on a pipeline of the same base: the text encoder says the same, to the last token."""
    import diffusers

    several = len(of.word_encoders) > 1
    kind = diffusers.StableDiffusionXLPipeline if several else diffusers.StableDiffusionPipeline
    pipeline = kind.from_pretrained(family.checkpoint.path, local_files_only=True)
    vectors = rows(of)
    formats.save(AdapterWeights(embeddings={WORD: vectors}), of.kohya_names(), tmp_path / "e.safetensors", Diffusers())
    if several:  # as diffusers' own SDXL examples do
        state = load_file(tmp_path / "e.safetensors")
        pipeline.load_textual_inversion(state["clip_l"], token=WORD, text_encoder=pipeline.text_encoder,
                                        tokenizer=pipeline.tokenizer)  # fmt: skip
        pipeline.load_textual_inversion(state["clip_g"], token=WORD, text_encoder=pipeline.text_encoder_2,
                                        tokenizer=pipeline.tokenizer_2)  # fmt: skip
    else:
        pipeline.load_textual_inversion(str(tmp_path / "e.safetensors"))  # the file says the word
    prompt = pipeline.maybe_convert_prompt(f"a {WORD}, snow", pipeline.tokenizer)
    if several:
        hidden, _, pooled, _ = pipeline.encode_prompt(
            f"a {WORD}, snow", device="cpu", do_classifier_free_guidance=False
        )
        theirs = {"hidden": hidden, "pooled": pooled}
    else:
        ids = pipeline.tokenizer(prompt, padding="max_length", max_length=77, return_tensors="pt").input_ids
        with torch.no_grad():
            theirs = {"hidden": pipeline.text_encoder(ids)[0]}
    found = formats.open(tmp_path / "e.safetensors", of.kohya_names())
    handle = WeightsAdapter(AdapterWeights(embeddings={WORD: next(iter(found.embeddings.values()))})).attach(of, ())
    ours = read(of, f"a {WORD}, snow")
    handle.detach()
    assert same(ours, theirs)


# ------------------------------------------------------------------------------------------------------- beginnings


def test_it_begins_as_the_words_that_are_asked_for(of: Model) -> None:
    for init, count in (("red hat", 2), ("red", 3), ("", 2)):
        handle = Embedding(trigger=WORD, vectors=count, init=init).attach(of, [], seed=1)
        begun = handle.learned().embeddings[WORD]
        handle.detach()
        for part in of.word_encoders:
            wanted = of.token_rows(part, init)
            given = min(count, len(wanted))
            assert begun[part].shape == (count, of.token_table(part).shape[1])
            assert torch.equal(begun[part][:given], wanted[:given])
            assert len(begun[part].unique(dim=0)) == count, "repeated vectors differ, or they would stay alike"


def test_a_word_that_the_base_knows_is_only_replaced_where_that_is_meant(of: Model) -> None:
    with pytest.raises(InputError, match="hat is a word that this base knows"):
        Embedding(trigger="hat", vectors=1).attach(of, [])
    before = read(of, "a red hat")
    handle = Embedding(trigger="hat", vectors=1, replace=True).attach(of, [])
    assert same(read(of, "a red hat"), before), "it begins as what it was"
    for vectors in handle.parameters()["embedding"]:
        vectors.data.mul_(2)
    assert not same(read(of, "a red hat"), before), "and is what captions read"
    handle.detach()


@pytest.mark.parametrize(("norm", "kept"), [(0.0, 0.0), (1.0, 1.0), (0.1, 0.1)])
def test_lengths_are_drawn_to_the_vocabularys(of: Model, norm: float, kept: float) -> None:
    handle = Embedding(trigger=WORD, vectors=4, norm=norm).attach(of, [])
    for part, ours in zip(of.word_encoders, handle.parameters()["embedding"], strict=True):
        ours.data.mul_(30)
        usual, before = float(of.token_table(part).norm(dim=1).median()), ours.detach().norm(dim=1)
        handle.constrain()
        wanted = before * (usual / before) ** kept
        assert torch.allclose(ours.detach().norm(dim=1), wanted, rtol=1e-5)
    handle.detach()


@pytest.mark.parametrize("trigger", ["", " penny", "penny,", "a/b", "(x)", "a:b", "x\ny"])
def test_triggers_that_no_prompt_or_file_can_have(trigger: str) -> None:
    with pytest.raises(InputError) as error:
        from_dict(Adapter, {"type": "embedding", "trigger": trigger})  # type: ignore[type-abstract]
    assert [problem.path[-1] for problem in error.value.problems] == ["trigger"]


# ------------------------------------------------------------------------------------------------------------- files


def comfyui(path: Path, encoder: str) -> torch.Tensor | None:
    """What ComfyUI reads of a file for a text encoder (`sd1_clip.py`, `load_embed`), written from its rules."""
    if path.suffix == ".safetensors":
        found: Any = load_file(path)
    else:
        found = torch.load(path, weights_only=True, map_location="cpu")
    if "string_to_param" in found:
        first: torch.Tensor = next(iter(found["string_to_param"].values()))
        return first
    bundled = [value for key, value in found.items() if key.startswith("bundle_emb.") and
               key.endswith((".string_to_param.*", f".{encoder}"))]  # fmt: skip
    if bundled:
        return torch.cat(bundled)
    return found[encoder] if encoder in found else next(iter(found.values()))


def a1111(path: Path) -> dict[str, torch.Tensor]:
    """What A1111 reads of a file (`textual_inversion.py`, `create_embedding_from_data`), written from its rules."""
    data: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    if "string_to_param" in data:
        assert len(data["string_to_param"]) == 1
        return {"": next(iter(data["string_to_param"].values()))}
    if "clip_g" in data and "clip_l" in data:
        return {"clip_g": data["clip_g"], "clip_l": data["clip_l"]}
    assert len(data) == 1
    return {"": next(iter(data.values()))}


@pytest.mark.parametrize("format", [Kohya(), Diffusers(), A1111()])
def test_other_programs_read_what_is_written(format: Any, of: Model, tmp_path: Path) -> None:
    path, vectors = tmp_path / f"penny{format.ending}", rows(of)
    formats.save(AdapterWeights(embeddings={"penny": vectors}), of.kohya_names(), path, format)
    names = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
    for part, wanted in vectors.items():
        found = comfyui(path, names[part])
        assert found is not None and torch.equal(found, wanted)
        theirs = a1111(path)
        assert torch.equal(theirs[names[part] if len(vectors) > 1 else ""], wanted)
    again = formats.open(path, of.kohya_names())
    assert again.embeddings.keys() == {"penny"} and not again.modules
    assert all(torch.equal(again.embeddings["penny"][part], wanted) for part, wanted in vectors.items())


T = torch.arange(6.0).reshape(2, 3)
FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "kohya": ({"emb_params": T}, "file"),
    "OneTrainer's spelling": ({"emp_params": T}, "file"),
    "one vector": ({"emb_params": T[0]}, "file"),
    "A1111's .pt": ({"string_to_token": {"*": 265}, "string_to_param": {"*": T}, "name": "other", "step": 9,
                     "sd_checkpoint": None, "sd_checkpoint_name": None}, "file"),
    "diffusers": ({"<cat-toy>": T}, "<cat-toy>"),
    "a parameter": ({"string_to_param": {"*": torch.nn.Parameter(T)}, "name": "x"}, "file"),
}  # fmt: skip


FILES = [
    (form, ending)
    for form, (content, _) in FORMS.items()
    for ending in (".safetensors", ".pt", ".bin")
    if ending != ".safetensors" or "string_to_param" not in content  # which has no mappings in mappings
]


@pytest.mark.parametrize(("form", "ending"), FILES)
def test_each_form_is_known_by_its_keys_alone(form: str, ending: str, tmp_path: Path) -> None:
    content, word = FORMS[form]
    path = tmp_path / f"file{ending}"
    if ending == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    assert not [*formats.complaints(path)]
    found = formats.open(path, {}).embeddings
    [(name, vectors)] = found.items()
    assert name == word and [*vectors] == ["text_encoder"]
    assert torch.equal(vectors["text_encoder"], T[:1] if form == "one vector" else T)


def test_an_older_torch_file_is_read_too(tmp_path: Path) -> None:
    torch.save({"string_to_param": {"*": T}}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(formats.open(tmp_path / "old.pt", {}).embeddings["old"]["text_encoder"], T)


class Code:
    """A pickle that runs code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pickled",)


HOSTILE: dict[str, tuple[Any, str]] = {
    "code": ({"string_to_param": {"*": T}, "name": Code()}, "may be malicious code"),
    "NaN": ({"emb_params": T * float("nan")}, "emb_params"),
    "whole numbers": ({"emb_params": T.to(torch.int8)}, "emb_params"),
    "a picture's shape": ({"emb_params": T.reshape(1, 2, 3)}, "emb_params is 1x2x3"),
    "nothing in it": ({"emb_params": T[:0]}, "emb_params is 0x3"),
    "half of SDXL's": ({"clip_l": T, "clip_g": torch.zeros(3, 5)}, "clip_l has 2 and clip_g has 3"),
    "a stranger beside it": ({"emb_params": T, "other": T}, "emb_params"),
    "no tensors": ({"string_to_param": {}, "name": "x"}, "no tensor"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_is_wrong_is_refused_by_name(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content, said = HOSTILE[kind]
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(InputError) as error:
        formats.open(tmp_path / "file.pt", {})
    assert said in str(error.value) and "file.pt" in str(error.value)
    assert not (tmp_path / "pickled").exists()


def test_vectors_of_another_base_are_refused(of: Model) -> None:
    missing = {part: each for part, each in rows(of).items() if part != of.word_encoders[-1]}
    for vectors in (missing, {part: torch.zeros(2, 7) for part in of.word_encoders}):
        with pytest.raises(InputError, match="penny"):
            WeightsAdapter(AdapterWeights(embeddings={"penny": vectors})).attach(of, ())
        assert not of.words


def test_peft_has_no_place_for_words(of: Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="penny"):
        formats.save(AdapterWeights(embeddings={"penny": rows(of)}), of.kohya_names(), tmp_path / "a", Peft())


# ---------------------------------------------------------------------------------------------------------- trainings


WORDED: dict[str, dict[str, Any]] = {
    "alone": {"adapter": Embedding(trigger="penny_1", vectors=2, init="red hat"), "embedding_lr": 1e-2},
    "with an adapter": {
        "adapter": LoRA(rank=2, dropout=0.1), "embedding": WordEmbedding(trigger="penny_1", vectors=2), "unet_lr": 1e-3,
        "text_encoder_lr": 0.0, "embedding_lr": 1e-2,
    },
}  # fmt: skip
"""A word alone (textual inversion), and together with a LoRA (pivotal tuning)."""


def training(dataset: Dataset, kind: str, **knobs: Any) -> Train:
    from lorapipe.training.caption_augment import Captioning

    chosen = {
        "captions": Captioning(trigger="penny_1"),
        "steps": Duration(12),
        "snapshots": Interval(3),
        **WORDED[kind],
    }
    return Train(dataset=dataset, **{**chosen, **knobs})


@pytest.fixture(scope="module", params=WORDED)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def trained(kind: str, folder: Path, dataset: Dataset) -> Weights:
    return training(dataset, kind).run(tiny.Bench(folder).context(f"words-{kind}"))


def test_a_training_moves_the_words_vectors_and_writes_what_others_read(kind: str, trained: Weights) -> None:
    first, last = (load_file(trained.snapshots[place].path) for place in (0, -1))
    words = {key for key in last if "lora" not in key and "alpha" not in key}
    assert words == ({"emb_params"} if kind == "alone" else {"bundle_emb.penny_1.string_to_param.*"})
    assert all(not torch.equal(first[key], last[key]) for key in words)
    assert (len(last) > 1) == (kind != "alone")
    with safe_open(trained.snapshots[-1].path, "pt") as file:
        metadata = file.metadata()
    assert metadata["name"] == "penny_1"
    assert ("ss_network_module" in metadata) == (kind != "alone")


def test_a_killed_training_of_words_ends_as_an_unbroken_one(
    kind: str, folder: Path, dataset: Dataset, bench: tiny.Bench, trained: Weights
) -> None:
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder), kind], stdout=subprocess.PIPE, encoding="utf-8",
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])},
    )  # fmt: skip
    assert process.stdout is not None
    target, steps = random.SystemRandom().randint(5, 10), 0
    for line in process.stdout:
        steps = int(line)
        if steps >= target:
            process.kill()
            break
    process.wait()
    assert steps >= target, "the process was to be killed on its way"
    again = training(dataset, kind).run(bench.context(f"words-killed-{kind}"))
    assert any("Resumes after step" in event.text for event in bench.of(Log))
    assert again.log.read_bytes() == trained.log.read_bytes()
    for ours, theirs in zip(again.snapshots, trained.snapshots, strict=True):
        assert ours.path.read_bytes() == theirs.path.read_bytes()


def test_what_was_trained_is_judged_and_exported(
    kind: str, folder: Path, trained: Weights, model: Model, bench: tiny.Bench
) -> None:
    prompts = ("penny_1, red", "penny_1, blue")
    knobs = {"strengths": (0.5, 1.0), "low_cfg": None, "steps": 2, "snapshots": 2, "pictures": 1}
    judge = Evaluate(weights=trained, prompts=prompts, **knobs)  # type: ignore[arg-type]
    report = judge.run(bench.context(f"words-judged-{kind}"))
    cells = json.loads(report.data.read_text("utf-8"))
    strengths = {path.name.split("-")[1] for path in (report.page.parent / "pictures").iterdir()} - {"0"}
    assert cells and strengths == ({"1"} if kind == "alone" else {"0.5", "1"}), "a word alone has no strength"
    for what in ("all", "embedding"):
        out = Export(weights=report.best, to=Destination(folder / f"{kind}-{what}.safetensors"), what=what)  # type: ignore[arg-type]
        path = out.run(bench.context(f"words-exported-{kind}-{what}")).path
        found = formats.open(path, model.kohya_names())
        assert [*found.embeddings] == ["penny_1"] and bool(found.modules) == (kind != "alone" and what == "all")
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        assert metadata["modelspec.architecture"].endswith("/lora" if found.modules else "/textual-inversion")
        assert metadata["modelspec.trigger_phrase"] == "penny_1"
    adapter = Export(weights=report.best, to=Destination(folder / "a.safetensors"), what="adapter")
    if kind == "alone":
        with pytest.raises(LorapipeError, match="no adapter"):
            adapter.run(bench.context("words-none"))
    else:
        path = adapter.run(bench.context("words-adapter")).path
        assert not formats.open(path, model.kohya_names()).embeddings


def test_a_training_goes_on_from_a_file(kind: str, dataset: Dataset, trained: Weights, bench: tiny.Bench) -> None:
    begun = training(
        dataset, kind, start_from=Source(trained.snapshots[-1].path), steps=Duration(1), snapshots=Interval(1)
    )
    again = begun.run(bench.context(f"words-on-{kind}"))
    before, after = (load_file(each.snapshots[-1].path) for each in (trained, again))
    assert before.keys() == after.keys()
    key = next(key for key in before if "emb" in key)
    assert 0 < (after[key] - before[key]).abs().max() < 0.05, "one step away from there"


def test_previews_are_painted_with_the_word(dataset: Dataset, bench: tiny.Bench) -> None:
    train = training(dataset, "alone", preview_prompts=("penny_1, red",), previews=Interval(2), embedding_lr=0.01)
    train.run(bench.context("words-previews"))
    first, last = (Path(event.path).read_bytes() for event in bench.of(Preview))
    assert first != last
    assert bench.of(Metric)


def test_captions_must_say_the_word(dataset: Dataset, bench: tiny.Bench) -> None:
    from lorapipe.training.caption_augment import Captioning

    with pytest.raises(InputError, match="no caption contains penny_1"):
        training(dataset, "alone", captions=Captioning()).run(bench.context("words-silent"))
    some = training(
        dataset, "alone", adapter=Embedding(trigger="green", vectors=1, replace=True), captions=Captioning()
    )
    weights = dataclasses.replace(some, steps=Duration(3)).run(bench.context("words-some"))
    assert all(load_file(each.path)["emb_params"].isfinite().all() for each in weights.snapshots)
    assert any("4 of 5 captions do not contain green" in event.text for event in bench.of(Log))


def test_a_negative_embedding_is_there_where_prompts_are_read(
    folder: Path, trained: Weights, model: Model, bench: tiny.Bench
) -> None:
    path = folder / "bad.safetensors"
    save_file({"emb_params": 20 * rows(model)["text_encoder"]}, path)
    plain = {"weights": trained, "prompts": ("penny_1, red",), "negative_prompt": "bad", "steps": 2, "snapshots": 1,
             "pictures": 1, "strengths": (1.0,), "low_cfg": None}  # fmt: skip
    pictures = []
    for place, given in enumerate([(), (Source(path),)]):
        report = Evaluate(**plain, embeddings=given).run(bench.context(f"words-negative-{place}"))  # type: ignore[arg-type]
        files = sorted((report.page.parent / "pictures").rglob("*.png"))
        pictures.append([file.read_bytes() for file in files])
    assert len(pictures[0]) == 4 and all(one != other for one, other in zip(*pictures, strict=True))


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "a rate that is nobody's": ({"adapter": Embedding(trigger="x"), "unet_lr": 1e-4}, "unet_lr"),
    "a rate without a word": ({"adapter": LoRA(), "embedding_lr": 1e-3}, "embedding_lr"),
    "two words": ({"adapter": Embedding(trigger="x"), "embedding": WordEmbedding(trigger="y")}, "embedding"),
    "norms of no modules": ({"adapter": Embedding(trigger="x"), "scale_weight_norms": 1.0}, "scale_weight_norms"),
    "no rate": ({"adapter": Embedding(trigger="x"), "embedding_lr": 0.0}, "embedding_lr"),
    "no rate beside": ({"embedding": WordEmbedding(trigger="y"), "embedding_lr": 0.0}, "embedding_lr"),
}


@pytest.mark.parametrize("case", ODD)
def test_settings_that_mean_nothing_together(case: str, dataset: Dataset) -> None:
    knobs, field = ODD[case]
    assert [problem.path for problem in Train(dataset=dataset, **knobs).problems()] == [(field,)]


if __name__ == "__main__":  # the process that is to be killed: tells each step it has made
    root, chosen = Path(sys.argv[1]), sys.argv[2]

    def tell(event: object) -> None:
        if isinstance(event, Metric):
            print(event.step, flush=True)

    training(tiny.dataset(root), chosen).run(tiny.Bench(root).context(f"words-killed-{chosen}", tell))
