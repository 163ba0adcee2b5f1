"""Nodes that join lorapipe to the rest of a graph, without ComfyUI; tests/comfyui runs them in a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from comfy_nodes import graph_nodes, links, result_pages, saving_nodes, validation
from comfy_nodes.describe import nodes
from comfy_nodes.graph_call import GraphCall
from comfy_nodes.paths import GraphPaths
from lorapipe.errors import InputError
from lorapipe.job_queue.queue import Queue
from lorapipe.pipeline import loader

NODES = nodes()


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GraphPaths:
    monkeypatch.setenv("LORAPIPE_HOME", str(tmp_path / "home"))
    project, given, made = (tmp_path / name for name in ("output/lorapipe", "input", "output"))
    for folder in (project, given):
        folder.mkdir(parents=True)
    return GraphPaths(project, given, made, (), (project, given, made), (project, made), {}, lambda kind, name: None)


def run(id: str, where: GraphPaths, prompt: Mapping[str, Any] | None = None, **given: object) -> Mapping[str, Any]:
    """Execute a node, and return its outputs."""

    async def nothing(*args: object) -> Any:
        raise AssertionError("makes nothing")

    call = GraphCall(given, "1", prompt or {}, where, nothing, nothing, lambda text: None)
    return asyncio.run(graph_nodes.execute(NODES[id], call)).values


def batch(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand((count, 8, 6, 3), generator=torch.Generator().manual_seed(seed))


def test_pictures_of_batches_and_lists_are_saved_once_by_their_content(where: GraphPaths) -> None:
    given = {"images": [batch(2), batch(1, 1)], "captions": ["penny, red\npenny, blue\npenny"], "name": ["my set"]}
    first = run("LorapipePictures", where, **given)
    folder = Path(first["path"])
    assert folder.parent == where.project / "pictures" and folder.name.startswith("my-set-") and first["masks"] == ""
    assert [file.name for file in sorted(folder.iterdir())] == [
        f"000{number}.{ending}" for number in (1, 2, 3) for ending in ("png", "txt")
    ]
    with Image.open(folder / "0003.png") as saved:
        assert saved.size == (6, 8) and torch.equal(
            torch.tensor([*saved.tobytes()]), (batch(1, 1)[0] * 255).round().flatten().long()
        )
    assert (folder / "0002.txt").read_text("utf-8") == "penny, blue\n"
    before = folder.stat().st_mtime_ns
    assert run("LorapipePictures", where, **given)["path"] == first["path"] and folder.stat().st_mtime_ns == before
    assert run("LorapipePictures", where, **{**given, "captions": ["penny"]})["path"] != first["path"]
    assert first["pictures"] == {"stages": {}, "value": folder.as_posix()}


def test_pictures_go_to_prepare_with_their_masks(where: GraphPaths) -> None:
    made = run("LorapipePictures", where, images=[batch(2)], masks=[torch.ones(2, 8, 6)], captions=["a", "b\nc"])
    assert {file.name for file in Path(made["masks"]).iterdir()} == {"0001.png", "0002.png"}
    assert Path(made["path"], "0002.txt").read_text("utf-8") == "b c\n"
    prepare = NODES["LorapipeStagePrepare"]
    given = {"images": "somewhere", "images_from": made["pictures"], "wait_for": batch(1)}
    assert links.settings(prepare, given, lambda each, text: text) == {"images": made["path"]}


@pytest.mark.parametrize(("name", "value"), [("captions", ["a", "b"]), ("masks", [torch.ones(2, 8, 6)])])
def test_as_many_captions_and_masks_as_pictures(where: GraphPaths, name: str, value: Any) -> None:
    with pytest.raises(InputError, match="there are 2, and 3 pictures"):
        run("LorapipePictures", where, images=[batch(3)], **{name: value})


def test_the_family_of_a_base_is_found_by_its_file(where: GraphPaths) -> None:
    assert run("LorapipeBaseModel", where, checkpoint="pocket", vae="default") == {
        "family": {"stages": {}, "value": {"family": "sd15", "checkpoint": "pocket"}},
        "name": "sd15",
    }
    (where.input / "a.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    with pytest.raises(InputError):
        run("LorapipeBaseModel", where, checkpoint="a.safetensors")


def test_a_model_of_the_graph_gives_its_file(where: GraphPaths) -> None:
    prompt = {
        "1": {"class_type": "LorapipeBaseModel", "inputs": {"model": ["2", 0]}},
        "2": {"class_type": "LoraLoader", "inputs": {"model": ["3", 0]}},
        "3": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "pocket"}},
        "4": {"class_type": "UNETLoader", "inputs": {"unet_name": "x"}},
    }
    assert run("LorapipeBaseModel", where, prompt, checkpoint="other", model=object())["name"] == "sd15"
    prompt["2"]["inputs"] = {"model": ["4", 0]}
    with pytest.raises(InputError, match="comes from no checkpoint loader"):
        run("LorapipeBaseModel", where, prompt, checkpoint="other", model=object())


def test_a_pipeline_is_queued_once_while_it_waits(where: GraphPaths) -> None:
    (where.input / "a.png").touch()
    prepare = {"uses": "prepare", "images": where.input.as_posix(), "base": {"family": "sd15", "checkpoint": "pocket"}}
    last = {"stages": {"set": prepare}, "value": "$set"}
    for _ in range(2):
        assert run("LorapipeQueue", where, last=last, file="cat.yaml", device="cpu") == {"job": "1"}
    with closing(Queue()) as queue:
        assert [job.pipeline for job in queue.jobs()] == [str(where.project / "cat.yaml")]
    assert loader.load(where.project / "cat.yaml").stages.keys() == {"set"}
    with pytest.raises(InputError, match="link it to the output of a lorapipe stage"):
        run("LorapipeQueue", where, last=batch(1))
    with pytest.raises(InputError, match="a job has one"):
        run("LorapipeQueue", where, last=last, device="cpu,cuda")


def test_stages_before_the_queue_and_savers_beside_a_node_are_found() -> None:
    prompt = {
        "1": {"class_type": "LorapipeStagePrepare", "inputs": {"wait_for": ["9", 0]}},
        "2": {"class_type": "LorapipeStageTrain", "inputs": {"dataset": ["1", 0]}},
        "3": {"class_type": "LorapipeQueue", "inputs": {"last": ["2", 0]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["9", 0]}},
        "5": {"class_type": "SaveImage", "inputs": {"images": ["9", 1], "filename_prefix": "a/b.safetensors"}},
    }
    assert [validation.leads_to(prompt, id, "LorapipeQueue") for id in "1234"] == [True, True, False, False]
    assert saving_nodes.savers(prompt, "1", {"SaveImage"}) == {"4"}
    assert validation.named_files(prompt) == {"b.safetensors"}


def test_folders_below_output_are_choices_and_the_project_is_not(where: GraphPaths) -> None:
    (where.output / "made/today").mkdir(parents=True)
    images = NODES["LorapipeStagePrepare"].input("images")
    assert where.options("pictures")[:2] == ["output/made", "output/made/today"]
    assert where.found(images, "output/made") == (where.output / "made").as_posix()
    with pytest.raises(InputError, match="may not be used from a graph"):
        where.found(images, "output/../../etc")


def test_pages_of_the_project_are_served_and_nothing_else(where: GraphPaths, tmp_path: Path) -> None:
    page = where.project / ".lorapipe/store/ab/out/a report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<p>", encoding="utf-8")
    (tmp_path / "secret.html").touch()
    (where.project / "notes.txt").touch()
    (link,) = result_pages.page_links([page, tmp_path / "secret.html", where.project / "notes.txt"], where.project)
    assert link == "/lorapipe/results/.lorapipe/store/ab/out/a%20report.html"
    assert result_pages.file_at(".lorapipe/store/ab/out/a report.html", where.project) == page.resolve()
    for path in ("../../secret.html", "notes.txt", "none.html", str(tmp_path / "secret.html")):
        assert result_pages.file_at(path, where.project) is None
