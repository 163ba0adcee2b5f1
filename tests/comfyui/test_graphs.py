"""lorapipe's nodes in a real ComfyUI: graphs are trained, cancelled, broken, edited and continued.

The base is the pocket one, or a tiny one that ComfyUI's own nodes load too; trainings are a few steps.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tiny_bases
from real_comfyui import PACKS, ROOT, ComfyUI, Server
from tiny_bases import graph as picture_graph
from watching import Watched, watch

from comfy_nodes.workflow import api_format, graph
from lorapipe.pipeline import loader

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
OURS = {"lorapipe": ROOT / "comfy_nodes", "pack_tiny": PACKS / "pack_tiny"}
FEW = 5


@dataclass
class Place:
    """A server with lorapipe's nodes, and its folder with a few pictures."""

    comfyui: ComfyUI
    server: Server
    folder: Path
    arguments: list[str] = field(default_factory=list)
    """The arguments that the server was started with."""

    @property
    def project(self) -> Path:
        return self.folder / "output" / "lorapipe"


@pytest.fixture(scope="module")
def place(comfyui: ComfyUI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("graphs")
    pictures(folder / "input/penny")
    with comfyui.serve(folder, OURS) as server:
        yield Place(comfyui, server, folder)


def pictures(folder: Path) -> Path:
    """Copy a few of the example pictures, with their captions."""
    folder.mkdir(parents=True)
    for file in sorted((ROOT / "pipelines/examples/penny").iterdir())[: 2 * FEW]:
        shutil.copy(file, folder)
    return folder


def pipeline(folder: Path, images: Path, steps: int = 4, seed: int = 0) -> Path:
    """Return a small version of the quickstart."""
    file = folder / f"small-{steps}-{seed}.yaml"
    file.write_text(
        f"""
stages:
  dataset: {{uses: prepare, images: {images.as_posix()}, base: {{family: sd15, checkpoint: pocket}}}}
  penny:
    {{uses: train, dataset: $dataset, adapter: {{type: lora, rank: 4}}, unet_lr: 1e-3, steps: {steps}, snapshots: 2,
      preview_prompts: ["penny, meadow"], previews: 1, seed: {seed}}}
  grid:
    {{uses: evaluate, weights: $penny, prompts: ["penny, meadow, smile"], pictures: 1, strengths: [1], steps: 2,
      snapshots: 1, cfg: 4}}
  file: {{uses: export, weights: $grid.best, to: penny.safetensors}}
""",
        "utf-8",
    )
    return file


def small(place: Place, images: str = "penny", **how: int) -> dict[str, Any]:
    """Return that pipeline as a graph, with its nodes by stage name."""
    return by_stage(place, pipeline(place.folder, place.folder / "input" / images, **how))


def by_stage(place: Place, file: Path) -> dict[str, Any]:
    """Return a pipeline as a graph, with its nodes by stage name."""
    placed = graph(loader.load(file))
    sent = json.loads(json.dumps(api_format(placed)).replace((place.folder / "input").as_posix() + "/", ""))
    names = {id: node["inputs"].get("stage_name", id) for id, node in sent.items()}
    for node in sent.values():
        linked = {
            name: [names[value[0]], value[1]] for name, value in node["inputs"].items() if isinstance(value, list)
        }
        node["inputs"] |= linked
    return {names[id]: node for id, node in sent.items()}


def workers(server: Server) -> list[int]:
    """Return the worker processes of a server."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1] if words else ""
        except OSError:
            continue
        if b"lorapipe.pipeline.execution.worker_main" in words and parent == str(server.process.pid):
            found.append(int(entry.name))
    return found


def no_workers_within(server: Server, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while workers(server) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not workers(server)


def at_step(number: int) -> Any:
    """Return a condition: a training has reached a step."""
    return lambda seen: any(node == "penny" and value >= number for node, value, _ in seen.progress)


class Once:
    """Calls a function once, when a condition is true, and records when that was."""

    def __init__(self, when: Any, what: Any) -> None:
        self.when, self.what, self.at = when, what, 0.0

    def __call__(self, seen: Watched) -> None:
        if not self.at and self.when(seen):
            self.at = time.monotonic()
            self.what()


# ----------------------------------------------------------------------------------------------------------- the whole


def test_every_node_is_there_and_nothing_failed_to_load(place: Place) -> None:
    from comfy_nodes.describe import nodes

    known = place.server.get("object_info")
    assert set(nodes()) <= set(known)
    assert "IMPORT FAILED: " + str(place.folder / "custom_nodes/lorapipe") not in place.server.log()
    assert sorted(place.server.get("workflow_templates")["lorapipe"]) == ["first_lora", "two_ranks"]
    assert (
        place.server.get("i18n")["ko"]["nodeDefs"]["LorapipeStageTrain"]["display_name"]
        == "LoRA 학습, 드림부스 (lorapipe)"
    )


def test_a_graph_trains_judges_and_exports(place: Place) -> None:
    sent = small(place)
    seen = watch(place.server, sent)
    assert seen.end == "execution_success", f"{seen.error}\n{place.server.log()[-3000:]}"
    assert [value for node, value, total in seen.progress if node == "penny" and total == 4][-1] == 4
    assert any("loss 0." in text and "s/it" in text and "left" in text for text in seen.said("penny"))
    assert seen.previews >= 1
    for name in ("dataset", "grid"):
        (shown,) = seen.outputs[name]["images"]
        assert place.server.file(shown).is_file()
    assert any(text.endswith("report.html") for text in seen.outputs["grid"]["text"])
    known = place.server.get("object_info/LoraLoader")["LoraLoader"]["input"]["required"]["lora_name"][0]
    assert len([name for name in known if name.startswith("lorapipe/penny-")]) == 1
    print(f"whole graph {seen.seconds:.1f} s")
    assert not workers(place.server) or no_workers_within(place.server, 5)
    again = watch(place.server, sent)
    assert set(again.cached) == set(sent) and not again.executed
    print(f"nothing to do {again.seconds:.2f} s")


TOOLS = """
stages:
  dataset: {{uses: prepare, images: {images}, base: &base {{family: sd15, checkpoint: pocket}}}}
  penny: {{uses: train, dataset: $dataset, adapter: {{type: lora, rank: 4}}, unet_lr: 1e-2, steps: 4, snapshots: 1}}
  baked: {{uses: merge, base: *base, adapters: [{{file: $penny, strength: 0.5}}], dtype: fp32}}
  mixed: {{uses: merge_checkpoints, base: *base, others: [{{checkpoint: $baked, weight: 0.5}}], dtype: fp32}}
  difference: {{uses: extract, tuned: $mixed, base: *base, rank: 4, dtype: fp32}}
  both: {{uses: merge_loras, base: *base, adapters: [{{file: $penny, strength: 0.5}}, {{file: $difference, strength: 2.0}}]}}
  slim: {{uses: resize, lora: $both, base: *base, rank: 4}}
  file: {{uses: export, weights: $slim, to: slim.safetensors, dtype: fp32}}
  wanted: {{uses: export, weights: $penny, to: wanted.safetensors, dtype: fp32}}
"""


def test_lora_tools_are_linked_to_a_training_and_to_each_other(place: Place) -> None:
    """A quarter of a LoRA in a checkpoint is extracted, twice that added to half of the LoRA, and slimmed: the LoRA."""
    from lorapipe import formats
    from lorapipe.models import Checkpoint
    from lorapipe.models.sd15 import SD15

    file = place.folder / "tools.yaml"
    file.write_text(TOOLS.format(images=(place.folder / "input/penny").as_posix()), encoding="utf-8")
    sent = by_stage(place, file)
    seen = watch(place.server, sent)
    assert seen.end == "execution_success", f"{seen.error}\n{place.server.log()[-3000:]}"
    assert {"baked", "mixed", "difference", "both", "slim", "file"} <= set(seen.executed)
    assert any("of the energy" in text for text in seen.said("difference"))
    assert any("read back as it was computed" in text for text in seen.said("baked"))
    names = SD15(checkpoint=Checkpoint.parse("pocket", Path())).module_names()
    wanted, slim = (formats.open(place.project / f"{name}.safetensors", names) for name in ("wanted", "slim"))
    assert wanted.modules.keys() == slim.modules.keys()
    for module, update in wanted.modules.items():
        error = (slim.modules[module].delta() - update.delta()).norm() / update.delta().norm()
        assert error < 1e-2, module  # four steps move weights little, and float32 rounds them in the checkpoint


def test_a_pipeline_file_with_the_same_settings_reuses_what_the_graph_made(place: Place) -> None:
    """The same graph in a restarted ComfyUI does so too: see the restart."""
    file = pipeline(place.project, place.folder / "input/penny")
    run = subprocess.run(
        [place.comfyui.python, "-m", "lorapipe", "plan", str(file), "--json"],
        env=place.comfyui.environment(), capture_output=True, encoding="utf-8", timeout=120, check=True,
    )  # fmt: skip
    assert [json.loads(line)["action"] for line in run.stdout.splitlines()] == ["reuse"] * 4, run.stdout


def test_only_what_depends_on_what_was_edited_is_executed_again(place: Place) -> None:
    sent = small(place)
    assert watch(place.server, sent).end == "execution_success"
    sent["grid"]["inputs"]["prompts"] = "penny, night sky"
    prompt = watch(place.server, sent)
    assert prompt.end == "execution_success" and set(prompt.executed) == {"grid", "file"}
    caption = next((place.folder / "input/penny").glob("*.txt"))
    caption.write_text("penny, a caption that was changed", encoding="utf-8")
    picture = watch(place.server, sent)
    assert picture.end == "execution_success"
    assert set(picture.executed) == {"dataset", "penny", "grid", "file"}
    assert any("1 caption changed" in text for text in picture.said("dataset")), picture.said("dataset")


def test_a_mistake_is_told_before_anything_runs(place: Place) -> None:
    sent = small(place)
    sent["penny"]["inputs"] |= {"batch": 0, "steps": "many"}
    status, answer = place.server.post("prompt", {"prompt": sent})
    assert status in (200, 400)
    told = " ".join(error["details"] for error in answer["node_errors"]["penny"]["errors"])
    assert "batch: 0 is below the minimum 1" in told and 'steps: "many" is not a duration' in told


# ------------------------------------------------------------------------------------------------------ interruptions


@LINUX
def test_cancelling_stops_within_a_step_and_the_next_run_goes_on(place: Place) -> None:
    sent = small(place, steps=600, seed=1)
    cancel = Once(at_step(3), lambda: place.server.post("interrupt", {}))
    seen = watch(place.server, sent, cancel)
    latency = time.monotonic() - cancel.at
    assert seen.end == "execution_interrupted"
    print(f"cancelled {latency:.2f} s after the wish")
    assert latency < 10 and no_workers_within(place.server, 5)
    reached = max(value for node, value, _ in seen.progress if node == "penny")
    stop = Once(at_step(reached + 1), lambda: place.server.post("interrupt", {}))
    again = watch(place.server, sent, stop)
    assert any("resumes where it stopped" in text for text in again.said("penny"))
    assert min(value for node, value, _ in again.progress if node == "penny" and value) >= 3
    assert again.curves["penny"][0][0] == 1, "its curve is that of all steps"


@LINUX
def test_a_killed_worker_is_started_again_and_one_that_dies_again_is_an_error_with_the_cure(place: Place) -> None:
    def kill() -> None:
        for each in workers(place.server):
            os.kill(each, signal.SIGKILL)

    once = watch(place.server, small(place, steps=8, seed=2), Once(at_step(2), kill))
    assert once.end == "execution_success"
    assert any("it is started again" in text for text in once.said("penny"))
    sent = small(place, steps=8, seed=3)
    sent["running"] = {"class_type": "LorapipeSettingsRunning", "inputs": {"retries": 0}}
    sent["penny"]["inputs"]["running"] = ["running", 0]
    never = watch(place.server, sent, Once(at_step(2), kill))
    assert never.end == "execution_error"
    assert "the worker process was killed. " in never.error and "memory ran out" in never.error
    assert not workers(place.server)
    assert watch(place.server, sent).end == "execution_success", "and the next attempt goes on"


@pytest.fixture(scope="module")
def tiny(place: Place) -> str:
    """A base that ComfyUI has as a folder, to train on, and as a file, to sample with."""
    base = tiny_bases.base(
        "sd15", place.folder / "models/diffusers/tiny", place.comfyui.path / "comfy" / "sd1_tokenizer"
    )
    tiny_bases.single_file(base.load("cpu"), place.folder / "models/checkpoints/tiny.safetensors")
    return "tiny"


def test_two_trainings_are_queued_while_pictures_are_made(place: Place, tiny: str) -> None:
    """Pictures before, between and after them; the server answers all the time."""
    picture = picture_graph("tiny.safetensors", steps=2)
    queued, slowest = [], 0.0
    for number, each in enumerate((picture, small(place, seed=4), picture, small(place, seed=5), picture)):
        each = json.loads(json.dumps(each))
        if "sample" in each:
            each["sample"]["inputs"]["seed"] = number
        queued.append(place.server.queue(each))
    while len([id for id in queued if place.server.get(f"history/{id}")]) < len(queued):
        asked = time.monotonic()
        place.server.get("queue")
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.2)
    for id in queued:
        assert place.server.history(id)["status"]["status_str"] == "success", place.server.log()[-3000:]
    print(f"slowest answer meanwhile {slowest:.2f} s")
    assert slowest < 5


def test_the_name_of_the_file_goes_straight_to_load_lora(place: Place, tiny: str) -> None:
    """One graph: train on a base in ComfyUI's own folders, and sample with the result."""
    sent = small(place, seed=6)
    family = next(id for id, node in sent.items() if node["class_type"] == "LorapipeFamilySd15")
    sent[family]["inputs"]["checkpoint"] = tiny
    sent["penny"]["inputs"] |= {"steps": "6", "unet_lr": "0.001", "preview_prompts": ""}
    sent["file"]["inputs"]["weights"] = ["penny", 0]
    del sent["grid"]
    sampled = picture_graph("tiny.safetensors", "to be linked", steps=4)
    sampled["lora"]["inputs"]["lora_name"] = ["file", 1]
    begun = len(place.server.log())
    seen = watch(place.server, {**sent, **sampled})
    assert seen.end == "execution_success", f"{seen.error}\n{place.server.log()[-3000:]}"
    assert "not loaded" not in place.server.log()[begun:]
    assert seen.outputs["picture"]["images"]


@LINUX
def test_a_restarted_server_goes_on_where_it_was(place: Place, tmp_path: Path) -> None:
    """The server is killed during a training; another one reuses results and resumes from the saved state."""
    pictures(tmp_path / "input/penny")
    with place.comfyui.serve(tmp_path, OURS) as first:
        here = Place(place.comfyui, first, tmp_path)
        sent = small(here, steps=40)

        def kill() -> None:
            here_workers.extend(workers(first))
            first.process.kill()

        here_workers: list[int] = []
        with pytest.raises(Exception, match=r".*"):
            watch(first, sent, Once(at_step(5), kill))
        deadline = time.monotonic() + 40
        while any(Path(f"/proc/{each}").exists() for each in here_workers) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert here_workers and not any(Path(f"/proc/{each}").exists() for each in here_workers), "an orphan"
    with place.comfyui.serve(tmp_path, OURS) as second:
        seen = watch(second, sent)
        assert seen.end == "execution_success"
        assert any("reused" in text for text in seen.said("dataset"))
        assert any("resumes where it stopped" in text for text in seen.said("penny"))
        assert min(value for node, value, _ in seen.progress if node == "penny" and value) >= 5
