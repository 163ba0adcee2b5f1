"""Nodes that join lorapipe to the rest of a graph, in a real ComfyUI: pictures in, pictures and texts out, the queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from real_comfyui import ComfyUI
from test_graphs import OURS, Place, pictures
from watching import watch

from comfy_nodes.describe import nodes
from lorapipe.job_queue.queue import Queue
from lorapipe.pipeline import loader

CAPTIONS = "penny, meadow\npenny, night sky\npenny, smile"


@pytest.fixture(scope="module")
def place(comfyui: ComfyUI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("joined")
    pictures(folder / "input/penny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORAPIPE_HOME", str(folder / "home"))
        with comfyui.serve(folder, OURS) as server:
            yield Place(comfyui, server, folder)


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def output(kind: str, name: str) -> int:
    """Return the place of an output."""
    return [each.name for each in nodes()[kind].outputs].index(name)


def drawn(place: Place) -> dict[str, Any]:
    """Return a graph that trains on three pictures which other nodes have loaded, and judges the training."""
    files = sorted(file.name for file in (place.folder / "input/penny").glob("*.png"))[:3]
    loaded = {f"load-{number}": node("LoadImage", image=f"penny/{file}") for number, file in enumerate(files)}
    return {
        **loaded,
        "two": node("ImageBatch", image1=["load-0", 0], image2=["load-1", 0]),
        "three": node("ImageBatch", image1=["two", 0], image2=["load-2", 0]),
        "pictures": node("LorapipePictures", images=["three", 0], captions=CAPTIONS, name="drawn"),
        "base": node("LorapipeBaseModel", checkpoint="pocket"),
        "dataset": node(
            "LorapipeStagePrepare", base=["base", 0], images="penny", images_from=["pictures", 0], stage_name="dataset"
        ),
        "train": node(
            "LorapipeStageTrain", dataset=["dataset", 0], unet_lr="0.001", steps="4", snapshots="2", stage_name="train",
            preview_prompts="penny, meadow", previews="1",
        ),
        "grid": node(
            "LorapipeStageEvaluate", weights=["train", 0], prompts="penny, meadow", pictures=1, strengths="1", steps=2,
            snapshots=1, cfg="4", stage_name="grid",
        ),
    }  # fmt: skip


def test_pictures_of_the_graph_are_trained_on_and_results_come_back_into_it(place: Place) -> None:
    sent = drawn(place)
    shown = {
        "dataset": ("LorapipeStagePrepare", ["contact_sheet"], ["path"]),
        "train": ("LorapipeStageTrain", ["loss_curve", "previews"], ["strength", "trigger", "path"]),
        "grid": ("LorapipeStageEvaluate", ["grid"], ["verdict", "strength", "path"]),
    }
    for id, (kind, images, texts) in shown.items():
        sent |= {f"{id}.{name}": node("PreviewImage", images=[id, output(kind, name)]) for name in images}
        sent |= {f"{id}.{name}": node("PreviewAny", source=[id, output(kind, name)]) for name in texts}
    seen = watch(place.server, sent)
    assert seen.end == "execution_success", f"{seen.error}\n{place.server.log()[-3000:]}"
    (saved,) = (folder for folder in (place.project / "pictures").iterdir() if not folder.name.startswith("."))
    assert [file.read_text("utf-8").strip() for file in sorted(saved.glob("*.txt"))] == CAPTIONS.splitlines()
    assert len([*saved.glob("*.png")]) == 3
    for name in ("dataset.contact_sheet", "train.loss_curve", "train.previews", "grid.grid"):
        with Image.open(place.server.file(seen.outputs[name]["images"][0])) as picture:
            assert len(picture.convert("RGB").getcolors(maxcolors=1_000_000) or []) > 5, name
    assert seen.outputs["grid.verdict"]["text"][0] and float(seen.outputs["grid.strength"]["text"][0]) == 1
    assert seen.outputs["train.path"]["text"][0].endswith("step-000004.safetensors")
    sent["again"] = node("PreviewAny", source=["grid", output("LorapipeStageEvaluate", "trigger")])
    again = watch(place.server, sent)
    assert again.end == "execution_success" and "grid" in again.executed and "train" not in again.executed
    assert len([*(place.project / "pictures").iterdir()]) == 1, "the same pictures are saved once"


def test_widgets_take_texts_and_numbers_of_other_nodes(place: Place) -> None:
    values = {
        "folder": ("PrimitiveString", "penny"), "checkpoint": ("PrimitiveString", "pocket"),
        "steps": ("PrimitiveInt", 3), "rate": ("PrimitiveFloat", 0.002), "rank": ("PrimitiveInt", 2),
        "prompts": ("PrimitiveStringMultiline", "penny, meadow\npenny, night sky"),
        "to": ("PrimitiveString", "linked.safetensors"),
    }  # fmt: skip
    sent = {name: node(kind, value=value) for name, (kind, value) in values.items()} | {
        "base": node("LorapipeBaseModel", checkpoint=["checkpoint", 0]),
        "dataset": node("LorapipeStagePrepare", base=["base", 0], images=["folder", 0], stage_name="linked"),
        "adapter": node("LorapipeAdapterLora", rank=["rank", 0]),
        "train": node(
            "LorapipeStageTrain", dataset=["dataset", 0], adapter=["adapter", 0], steps=["steps", 0], unet_lr=["rate", 0],
            snapshots="1", stage_name="by-links",
        ),
        "grid": node(
            "LorapipeStageEvaluate", weights=["train", 0], prompts=["prompts", 0], pictures=1, strengths="1", steps=2,
            snapshots=1, cfg="4",
        ),
        "file": node("LorapipeStageExport", weights=["train", 0], to=["to", 0]),
    }  # fmt: skip
    seen = watch(place.server, sent)
    assert seen.end == "execution_success", f"{seen.error}\n{place.server.log()[-3000:]}"
    training = json.loads((place.project / "outputs/by-links/training.json").read_text("utf-8"))
    assert (training["settings"]["steps"], training["settings"]["unet_lr"]) == ("3 steps", 0.002), training["settings"]
    assert training["settings"]["adapter"]["rank"] == 2 and (place.project / "linked.safetensors").is_file()
    del sent["steps"]
    sent["train"]["inputs"]["steps"] = ["prompts", 0]
    wrong = watch(place.server, sent)
    assert wrong.end == "execution_error" and "is not a duration" in wrong.error


def test_a_folder_below_output_is_read_after_other_nodes_have_saved_into_it(place: Place) -> None:
    sent = {id: each for id, each in drawn(place).items() if id not in ("pictures", "train", "grid")}
    sent["dataset"] = node(
        "LorapipeStagePrepare", base=["base", 0], images="output/made", wait_for=["three", 0], stage_name="waited"
    )
    sent["save"] = node("SaveImage", images=["three", 0], filename_prefix="made/picture")
    seen = watch(place.server, sent)
    assert seen.end == "execution_success", f"{seen.error}\n{place.server.log()[-3000:]}"
    assert len([*(place.folder / "output/made").glob("*.png")]) == 3
    options = place.server.get("object_info/LorapipeStagePrepare")["LorapipeStagePrepare"]["input"]["required"][
        "images"
    ]
    assert "output/made" in str(options)


def test_the_queue_node_sends_the_pipeline_and_returns_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = drawn(place)
    sent["train"]["inputs"] |= {"steps": "5000", "stage_name": "long"}
    sent["preview"] = node("PreviewImage", images=["grid", output("LorapipeStageEvaluate", "grid")])
    sent["queue"] = node("LorapipeQueue", last=["grid", 0], file="sent.yaml", device="cpu")
    seen = watch(place.server, sent)
    assert seen.end == "execution_success", f"{seen.error}\n{place.server.log()[-3000:]}"
    assert seen.seconds < 30 and not (place.project / "outputs/long").exists() and "preview" not in seen.outputs
    assert any("goes to lorapipe's queue" in text for text in seen.said("train"))
    monkeypatch.setenv("LORAPIPE_HOME", str(place.folder / "home"))
    with closing(Queue()) as queue:
        (job,) = queue.jobs()
    assert (job.state, job.device) == ("waiting", "cpu") and Path(job.pipeline).name == "sent.yaml"
    assert loader.load(Path(job.pipeline)).stages["long"].steps.count == 5000  # type: ignore[attr-defined]
    del sent["queue"]
    sent["train"]["inputs"]["steps"] = "4"
    sent["train"]["inputs"]["stage_name"] = "train"
    assert watch(place.server, sent).outputs["preview"]["images"], "without the node the graph runs"


def test_a_tuning_gives_the_best_of_its_rounds(place: Place) -> None:
    sent = drawn(place)
    sent["tune"] = node("LorapipeTune", report=["grid", 0], rounds=2, free="steps\nunet_lr")
    sent["file"] = node("LorapipeStageExport", weights=["tune", 1], to="tuned.safetensors", stage_name="tuned")
    for name in ("verdict", "page"):
        sent[name] = node("PreviewAny", source=["tune", output("LorapipeTune", name)])
    seen = watch(place.server, sent)
    assert seen.end == "execution_success", f"{seen.error}\n{place.server.log()[-3000:]}"
    assert Path(seen.outputs["page"]["text"][0]).is_file() and seen.outputs["verdict"]["text"][0]
    assert (place.project / "tuned.safetensors").is_file()
    assert any("round 2" in text for text in seen.outputs["tune"]["text"]), seen.outputs["tune"]["text"]
