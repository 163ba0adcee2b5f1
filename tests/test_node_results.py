"""What a stage's result is to the rest of a graph: pictures, texts and numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from comfy_nodes import results
from comfy_nodes.describe import nodes
from comfy_nodes.graph_nodes import apply_weights
from lorapipe.pipeline.artifacts import Dataset, Pictures, Report, Snapshot, Weights
from lorapipe.spec import Spec

NODES = nodes()


def weights(folder: Path) -> Weights:
    """A training of three steps, with two previews, whose dataset has the trigger word `penny`."""
    (folder / "previews").mkdir()
    for step in (3, 1):
        Image.new("RGB", (8, 8), "red").save(folder / f"previews/step-00000{step}-1.png")
    losses = [{"step": step, "loss": 1 / step, "loss/average": 0.5} for step in (1, 2, 3)]
    lines = [json.dumps(row) for row in [*losses, {"step": 4, "loss": None, "loss/average": 0.5}]]
    (folder / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "training.json").write_text('{"settings": {"captions": {"trigger": ""}}}', encoding="utf-8")
    (folder / "manifest.json").write_text('{"captions": {"trigger": "penny"}}', encoding="utf-8")
    dataset = Dataset(folder / "manifest.json", Spec(), folder, folder / "sheet.jpg")
    last = Snapshot(3, 1, folder / "step-3.safetensors")
    return Weights((last,), dataset, folder / "training.json", folder / "metrics.jsonl", strength=0.8)


def everything(artifact: Any) -> dict[str, object]:
    return {each.name: each.of(artifact) for each in results.results_of(type(artifact))}


def test_weights_have_a_loss_curve_previews_a_trigger_a_strength_and_a_path(tmp_path: Path) -> None:
    found = everything(weights(tmp_path))
    curve = found["loss_curve"]
    assert isinstance(curve, Image.Image) and len(curve.getcolors(maxcolors=100_000) or []) > 5
    assert [Path(str(each)).name for each in found["previews"]] == ["step-000001-1.png", "step-000003-1.png"]  # type: ignore[attr-defined]
    assert (found["trigger"], found["strength"]) == ("penny", 0.8)
    assert str(found["path"]).endswith("step-3.safetensors")


def test_a_word_that_was_learnt_is_the_trigger(tmp_path: Path) -> None:
    trained = weights(tmp_path)
    assert trained.training is not None
    trained.training.write_text('{"settings": {"adapter": {"trigger": "penny_1"}}}', encoding="utf-8")
    assert everything(trained)["trigger"] == "penny_1"


def test_adapters_that_were_not_trained_here_have_an_empty_curve(tmp_path: Path) -> None:
    found = everything(Weights((Snapshot(1, 0, tmp_path / "a.safetensors"),)))
    assert isinstance(found["loss_curve"], Image.Image) and found["previews"] == [] and found["trigger"] == ""


def test_a_report_has_its_verdict_in_words(tmp_path: Path) -> None:
    said = {"headline": "Use step 3.", "reasons": ["It is good."], "advice": [{"what": "Nothing.", "patch": {}}]}
    (tmp_path / "report.json").write_text(json.dumps({"verdict": said}), encoding="utf-8")
    found = everything(Report(tmp_path / "r.html", tmp_path / "report.json", tmp_path / "g.png", weights(tmp_path)))
    assert found["verdict"] == "Use step 3.\nIt is good.\nNothing."
    assert found["strength"] == 0.8 and found["trigger"] == "penny" and found["grid"] == tmp_path / "g.png"


def test_painted_pictures_come_with_their_captions(tmp_path: Path) -> None:
    for name in ("b", "a"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(f"penny, {name}\n", encoding="utf-8")
    found = everything(Pictures(tmp_path, tmp_path / "sheet.jpg"))
    assert found["captions"] == ["penny, a", "penny, b"]
    assert found["images"] == [tmp_path / "a.png", tmp_path / "b.png"]


def test_only_what_is_linked_is_computed(tmp_path: Path) -> None:
    node, trained = NODES["LorapipeStageTrain"], weights(tmp_path)
    place = next(place for place, each in enumerate(node.outputs) if each.name == "strength")
    prompt = {
        "7": {"class_type": node.id, "inputs": {"steps": "3"}},
        "8": {"class_type": "PreviewAny", "inputs": {"source": ["7", place]}},
        "9": {"class_type": node.id, "inputs": {"steps": "4"}},
    }
    found = results.linked_results(node, "7", prompt, trained)
    assert found.pop("strength") == 0.8 and set(found.values()) == {None}
    assert results.linked_like(node, {"steps": "3"}, prompt) == ["strength"]
    assert results.linked_like(node, {"steps": "4"}, prompt) == []


def test_results_come_after_the_outputs_that_older_graphs_are_linked_to() -> None:
    for node in NODES.values():
        if node.role == "stage":
            ours = [each.socket.startswith("LORAPIPE_") or each.socket == "COMBO" for each in node.outputs]
            assert ours == sorted(ours, reverse=True), node.id
            assert len({each.name for each in node.outputs}) == len(node.outputs), node.id


def test_words_of_any_characters_stand_in_prompts_by_the_names_of_their_files() -> None:
    marked = apply_weights._marker({"../../penny": "word-0", "my cat": "word-1", "Luna": "word-2"})
    assert marked("a ../../penny, my cat on a hat") == "a  embedding:word-0 ,  embedding:word-1  on a hat"
    assert marked("(luna:1.2), embedding:luna") == "( embedding:word-2 :1.2),  embedding:word-2"
    assert marked("lunatic, my cats") == "lunatic, my cats"
