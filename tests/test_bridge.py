"""The nodes as ComfyUI runs them, with a fake of its API (tests/fake_comfy); tests/comfyui uses the real one."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from comfy_nodes import bridge, comfy_folders, describe, links, node_display, node_outputs, results, validation
from comfy_nodes.describe import nodes
from comfy_nodes.graph_runner import Workers
from comfy_nodes.run_options import Running
from lorapipe import api
from lorapipe.errors import InputError, LorapipeError
from lorapipe.pipeline import loader
from lorapipe.pipeline.events import METRICS, Progress, Reused, Started
from lorapipe.pipeline.execution.launchers._subprocess import Process
from lorapipe.pipeline.keys import short
from lorapipe.pipeline.ledger import LOG, Ledger
from lorapipe.registry import Registry
from lorapipe.spec import Spec, from_dict, knobs, param, to_dict
from lorapipe.spec.schema import json_schema

FAKE = Path(__file__).parent / "fake_comfy"
THEIRS = ("comfy", "comfy_api", "comfy_execution", "folder_paths", "server")


@dataclass
class Comfy:
    """A fake ComfyUI with its own folder, which runs graphs in the API format."""

    base: Path
    modules: dict[str, Any]

    def __post_init__(self) -> None:
        self.classes = {each.__name__: each for each in asyncio.run(bridge.extension().get_node_list())}

    @property
    def project(self) -> Path:
        return self.base / "output" / "lorapipe"

    def run(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """Execute the nodes in the given order, and return their outputs."""
        made: dict[str, Any] = {}
        for id, node in prompt.items():
            cls = self.classes[node["class_type"]]
            given = {
                name: made[value[0]].args[value[1]] if isinstance(value, list) else value
                for name, value in node["inputs"].items()
            }
            known = {each.id for each in cls.define_schema().inputs}
            constants = {
                name: None if isinstance(node["inputs"][name], list) else given[name] for name in given if name in known
            }
            assert cls.validate_inputs(**constants) is True
            clone = type(cls.__name__, (cls,), {"hidden": SimpleNamespace(unique_id=id, prompt=prompt)})
            made[id] = asyncio.run(clone.execute(**{name: given[name] for name in given if name in known}))
        return made

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.modules["server"].TEXTS]


@pytest.fixture
def comfy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toys: None) -> Iterator[Comfy]:
    def forget() -> dict[str, ModuleType]:
        return {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] in THEIRS}

    monkeypatch.syspath_prepend(str(FAKE))
    before = forget()
    import comfy.model_management
    import comfy.utils
    import folder_paths
    import server

    folder_paths.set_base(tmp_path)
    (tmp_path / "input/texts").mkdir()
    (tmp_path / "input/texts/one.txt").write_text("a b a", encoding="utf-8")
    management, utils = comfy.model_management, comfy.utils
    yield Comfy(tmp_path, {"management": management, "utils": utils, "server": server, "paths": folder_paths})
    forget()
    sys.modules.update(before)


def toy_graph(**count: Any) -> dict[str, Any]:
    """Return a graph that joins texts and counts a word in them."""
    return {
        "1": {"class_type": "LorapipeStageWords", "inputs": {"folder": "texts", "upper": False, "note": ""}},
        "2": {
            "class_type": count.pop("kind", "LorapipeStageCount"),
            "inputs": {"text": ["1", 0], "stage_name": "tally", **count},
        },
    }


# -------------------------------------------------------------------------------------------------------------- schema


def test_every_node_has_a_schema_whose_inputs_are_its_knobs(comfy: Comfy) -> None:
    known = nodes()
    assert comfy.classes.keys() == known.keys()
    for id, cls in comfy.classes.items():
        made = cls.define_schema()
        assert made.node_id == id and made.display_name and made.category.startswith("lorapipe")
        assert [each.id for each in made.inputs] == [each.name for each in known[id].inputs]
        for each, ours in zip(made.inputs, known[id].inputs, strict=True):
            assert each.optional != ours.required, "what has a default may be missing in an older graph"
            if each.io_type.split(",")[0] in ("INT", "FLOAT"):
                assert each.options["min"] <= each.default <= each.options["max"], f"{id}.{each.id}"


@pytest.mark.parametrize(
    ("words", "id"),
    [
        ("dataset", "StagePrepare"),
        ("train lora", "StageTrain"),
        ("caption", "StageCaption"),
        ("save lora", "StageExport"),
        ("dreambooth", "AdapterFinetune"),
        ("textual inversion", "AdapterEmbedding"),
        ("interrogator", "TaggerWd14"),
        ("checkpoint", "BaseModel"),
        ("데이터셋", "StagePrepare"),
        ("로라 학습", "StageTrain"),
        ("캡션", "StageCaption"),
        ("로라 저장", "StageExport"),
        ("드림부스", "AdapterFinetune"),
        ("체크포인트", "FamilySdxl"),
    ],
)
def test_a_node_is_found_by_the_words_of_the_field(comfy: Comfy, words: str, id: str) -> None:
    assert words in comfy.classes[f"Lorapipe{id}"].GET_NODE_INFO_V1()["search_aliases"]


def test_older_pages_find_the_main_stages_by_their_titles(comfy: Comfy) -> None:
    """They search titles alone."""
    titles = [comfy.classes[f"LorapipeStage{name}"].define_schema().display_name for name in ("Prepare", "Train")]
    assert titles == ["Prepare dataset (lorapipe)", "Train LoRA, DreamBooth (lorapipe)"]


def test_what_is_rarely_changed_is_advanced_on_the_page(comfy: Comfy) -> None:
    made = {each.id: each for each in comfy.classes["LorapipeAdapterLora"].define_schema().inputs}
    assert made["rank_dropout"].extra_dict["advanced"] and "advanced" not in made["rank"].extra_dict
    assert "default 16" in made["rank"].tooltip


def test_choices_are_what_comfyui_has(comfy: Comfy) -> None:
    checkpoints = comfy.base / "models/checkpoints"
    (checkpoints / "anime.safetensors").touch()
    folder = comfy.base / "models/diffusers/tiny/sd15"
    for part in ("unet", "vae"):
        (folder / part).mkdir(parents=True)
    comfy.modules["paths"].folder_names_and_paths["diffusers"] = ([str(folder.parents[1])], {"folder"})
    made = {each.id: each for each in comfy.classes["LorapipeFamilySd15"].define_schema().inputs}
    assert made["checkpoint"].options["options"] == ["pocket", "anime.safetensors", "tiny/sd15"]
    checkpoint = nodes()["LorapipeFamilySd15"].input("checkpoint")
    assert comfy_folders.comfy_paths().found(checkpoint, "tiny/sd15") == folder.as_posix()
    assert made["vae"].options["options"] == ["default"]
    images = comfy.classes["LorapipeStagePrepare"].define_schema().inputs[1]
    assert images.options["options"] == ["texts", "examples/penny", "examples/neon"]


# ----------------------------------------------------------------------------------------------------- run and reuse


def test_a_graph_and_a_pipeline_file_reuse_one_anothers_results(comfy: Comfy) -> None:
    made = comfy.run(toy_graph(word="a", steps=2))
    assert made["2"].args[0]["value"] == "$tally" and made["2"].args[1]["value"] == "$tally.text"
    assert made["2"].ui["text"][-1] == "output/lorapipe/outputs/tally/tally.html"
    assert (comfy.project / "outputs/tally/tally.html").read_text("utf-8") == "<p>2</p>"
    assert any(text.startswith("2/2 steps  loss 0.5") for text in comfy.texts)
    file = comfy.project / "cat.yaml"
    folder = (comfy.base / "input/texts").as_posix()
    file.write_text(
        f"stages:\n  words: {{uses: words, folder: {folder}}}\n  n: {{uses: count, text: $words, steps: 2}}\n", "utf-8"
    )
    events: list[Any] = []
    api.run(loader.load(file), events.append)
    assert [event.stage for event in events if isinstance(event, Reused)] == ["words", "n"]
    comfy.modules["server"].TEXTS.clear()
    comfy.run(toy_graph(word="a", steps=2))
    assert comfy.texts.count("reused: nothing has changed") == 2


def test_what_a_node_shows_is_sent_to_the_client_that_queued_it(comfy: Comfy) -> None:
    shown = comfy.run(toy_graph(word="a", steps=3))["2"].ui["text"]
    assert any("finished in" in line for line in shown) and shown[-1].endswith("tally.html")
    events = comfy.modules["server"].EVENTS
    assert {(kind, client) for kind, _, client in events} == {("lorapipe.shown", "tab")}
    (curve,) = [data for _, data, _ in events if "lorapipe_curve" in data["output"]][-1]["output"]["lorapipe_curve"]
    step, loss = curve["points"][-1]
    assert step >= 1 and 0 < loss < 10 and "loss" in curve["caption"]


def test_what_the_nodes_of_a_pages_graph_show_is_kept_for_all_pages_with_that_graph(
    comfy: Comfy, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = toy_graph(word="a", steps=3)
    running = (0, "prompt", graph, {"extra_pnginfo": {"workflow": {"id": "the-graph"}}}, [])
    queue = SimpleNamespace(get_current_queue=lambda: ([running], []))
    monkeypatch.setattr(comfy.modules["server"].PromptServer.instance, "prompt_queue", queue, raising=False)
    ui = comfy.run(graph)["2"].ui
    kept = node_outputs.KEPT.of("the-graph")["2"]
    assert kept["type"] == "LorapipeStageCount" and kept["output"]["lorapipe_curve"]
    assert {name: kept["output"][name] for name in ui} == ui and not node_outputs.KEPT.of("another")
    assert {(data["graph"], client) for _, data, client in comfy.modules["server"].EVENTS} == {("the-graph", None)}
    node_outputs.KEPT.graphs.clear()  # as after a restart of ComfyUI
    assert node_outputs.KEPT.of("the-graph") == {"2": kept, **node_outputs.KEPT.of("the-graph")}
    node_outputs.KEPT.add("the-graph", "1", "LorapipeStageWords", {"text": ["again"]})
    assert node_outputs.KEPT.of("the-graph")["2"] == kept


def test_the_curve_of_a_resumed_training_begins_where_the_training_began(comfy: Comfy) -> None:
    folder = Ledger(comfy.project).resume_folder("a" * 64)
    folder.mkdir(parents=True)
    rows = [f'{{"step": {step}, "loss": 9.0, "loss/average": {1 / step}}}\n' for step in (1, 2, 3, 4)]
    (folder / METRICS).write_text("".join(rows) + '{"step": 5, "lo', encoding="utf-8")
    display = node_display.NodeDisplay("7", "penny")
    display.show(Started("penny", key="a" * 64))
    display.show(Progress("penny", step=4, total=9, values={"loss": 0.2}))  # what follows the saved state is repeated
    outputs = [data["output"] for _, data, _ in comfy.modules["server"].EVENTS]
    (curve,) = [each["lorapipe_curve"] for each in outputs if "lorapipe_curve" in each][-1]
    assert curve["points"] == [[1, 1], [2, 0.5], [3, 1 / 3], [4, 0.2]]


def test_a_reused_result_tells_again_what_was_told_when_it_was_made(comfy: Comfy) -> None:
    folder = Ledger(comfy.project).store / short("b" * 64)
    folder.mkdir(parents=True)
    (folder / LOG).write_text("a warning\n" * 9 + "good: Use step 600.\n", encoding="utf-8")
    display = node_display.NodeDisplay("7", "grid")
    display.show(Reused("grid", key="b" * 64, files=("/project/outputs/grid/report.html",)))
    lines = display.lines([])
    assert lines[-3:] == ["good: Use step 600.", "reused: nothing has changed", "/project/outputs/grid/report.html"]
    assert len(lines) < 9


def test_a_picture_that_is_gone_is_not_shown_again(comfy: Comfy) -> None:
    (comfy.base / "output/grids").mkdir()
    (comfy.base / "output/grids/grid.png").touch()
    pictures = [{"filename": f"{name}.png", "subfolder": "grids", "type": "output"} for name in ("grid", "gone")]
    shown = {"1": {"type": "LorapipeStageEvaluate", "output": {"text": ["a"], "images": pictures}}}
    assert node_outputs._with_files(shown)["1"]["output"] == {"text": ["a"], "images": pictures[:1]}


def test_only_the_graphs_that_ran_last_are_kept(tmp_path: Path) -> None:
    kept = node_outputs.NodeOutputs(lambda: tmp_path)
    for number in range(node_outputs.MOST_GRAPHS + 1):
        kept.add(str(number), "1", "LorapipeStageTrain", {"text": ["a"]})
        kept.add("1", "1", "LorapipeStageTrain", {"images": []})
    kept.add("1", "1", "LorapipeStageExport", {"text": ["b"]})
    assert not kept.of("0") and kept.of("1")["1"] == {"type": "LorapipeStageExport", "output": {"text": ["b"]}}
    for number in range(1, node_outputs.MOST_GRAPHS + 1):
        kept.save(str(number), "1")
    kept.add("one more", "1", "LorapipeStageTrain", {"text": ["a"]})
    kept.save("one more", "1")
    assert len([*tmp_path.iterdir()]) == node_outputs.MOST_GRAPHS


def test_a_curve_of_many_steps_is_thinned_and_keeps_its_end() -> None:
    points = [(float(step), 1 / step) for step in range(1, 5001)]
    kept = results.curve(points, "loss")["points"]
    assert isinstance(kept, list) and 200 < len(kept) <= 300 and kept[-1] == [5000, 1 / 5000]
    assert results.curve([], "")["points"] == []


def test_a_graphs_pipeline_can_be_written_as_a_file(comfy: Comfy) -> None:
    graph = toy_graph(word="b")
    graph["3"] = {"class_type": "LorapipePipelineYaml", "inputs": {"last": ["2", 0], "file": "cat.yaml"}}
    comfy.run(graph)
    events: list[Any] = []
    api.run(loader.load(comfy.project / "cat.yaml"), events.append)
    assert [event.stage for event in events if isinstance(event, Reused)] == ["words-1", "tally"]
    graph["3"]["inputs"]["file"] = "picture.png"
    with pytest.raises(InputError, match=r"picture\.png does not end in \.yaml"):
        comfy.run(graph)
    (comfy.project / "mine.yaml").write_text("stages: {}  # written by hand", encoding="utf-8")
    graph["3"]["inputs"]["file"] = "mine.yaml"
    with pytest.raises(InputError, match="lorapipe has not made"):
        comfy.run(graph)
    assert "by hand" in (comfy.project / "mine.yaml").read_text("utf-8")


def test_a_graph_of_an_older_release_has_no_new_knobs_and_runs(comfy: Comfy) -> None:
    graph = toy_graph()
    graph["1"]["inputs"] = {"folder": "texts"}
    assert comfy.run(graph)["2"].args[0]["stages"]["tally"] == {"uses": "count", "text": "$words-1"}


def test_an_edited_file_executes_its_node_again_and_no_other(comfy: Comfy) -> None:
    words, count = (comfy.classes[f"LorapipeStage{name}"].fingerprint_inputs for name in ("Words", "Count"))
    before, other = words(folder="texts"), count(text=None, word="a")
    assert words(folder="texts") == before
    (comfy.base / "input/texts/one.txt").write_text("a a a a", encoding="utf-8")
    assert words(folder="texts") != before and count(text=None, word="a") == other
    family = comfy.classes["LorapipeFamilySd15"].fingerprint_inputs
    settings = {"checkpoint": "pocket", "vae": "default", "config": ""}
    unmoved = family(**settings)
    (comfy.base / "input/texts/two.txt").touch()
    assert family(**settings) == unmoved
    for nonsense in ({"folder": "no such"}, {"folder": "../.."}, {"folder": None}, {"folder": "\0"}, {}):
        words(**nonsense)


def test_a_node_whose_files_are_gone_is_executed_again(comfy: Comfy) -> None:
    graph = toy_graph(word="a")
    graph["3"] = {"class_type": "LorapipeStageKeep", "inputs": {"tally": ["2", 0], "to": "kept.html"}}
    comfy.run(graph)
    fingerprint = comfy.classes["LorapipeStageKeep"].fingerprint_inputs
    before = fingerprint(tally=None, to="kept.html")
    store = next((comfy.project / ".lorapipe/store").glob("*/out/page.html"))
    store.rename(store.with_suffix(".gone"))
    after = fingerprint(tally=None, to="kept.html")
    assert after != before and fingerprint(tally=None, to="kept.html") == after


# ------------------------------------------------------------------------------------------------ when it goes wrong


def test_cancelling_saves_the_state_and_leaves_no_process(comfy: Comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    spawn = Process.start

    def noted(self: Process, *arguments: Any) -> None:
        spawn(self, *arguments)
        assert self._child is not None
        started.append(self._child._process)

    monkeypatch.setattr(Process, "start", noted)
    management = comfy.modules["management"]
    cancelled: list[float] = []

    def cancel_at_work() -> None:
        while not any("/2000 steps" in text for text in comfy.texts):
            time.sleep(0.01)
        cancelled.append(time.monotonic())
        management.INTERRUPT = True

    threading.Thread(target=cancel_at_work, daemon=True).start()
    with pytest.raises(management.InterruptProcessingException):
        comfy.run(toy_graph(word="a", steps=2000, pause=0.02))
    assert time.monotonic() - cancelled[0] < 5
    assert started and all(process.poll() is not None for process in started)
    saved = next((comfy.project / ".lorapipe/work").glob("*/resume/step.txt"))
    assert int(saved.read_text()) > 0
    saved.write_text("1990")
    comfy.run(toy_graph(word="a", steps=2000, pause=0.0))
    log = next((comfy.project / ".lorapipe/store").glob("*/log.txt"), None)
    assert log is not None
    assert any("resumed at 1990" in log.read_text() for log in (comfy.project / ".lorapipe/store").glob("*/log.txt"))


@pytest.mark.parametrize(
    ("how", "words"),
    [("die", "the worker process ended unexpectedly"), ("memory", "use a smaller batch"), ("input", "Take it away.")],
)
def test_a_failure_is_an_error_of_the_node_with_the_cure(comfy: Comfy, how: str, words: str) -> None:
    graph = {"5": {"class_type": "LorapipeStageTrouble", "inputs": {"how": how}}}
    with pytest.raises(LorapipeError, match=words) as raised:
        comfy.run(graph)
    assert "trouble-5" in str(raised.value)


def test_a_mistake_is_told_before_anything_runs(comfy: Comfy) -> None:
    check = comfy.classes["LorapipeStageCount"].validate_inputs
    with pytest.raises(InputError, match=r"least: -1 is below the minimum 0\. Counts below this are zero\."):
        check(text=None, word="a", least=-1)
    assert check(text=None, word="a", least=3) is True
    with pytest.raises(InputError, match="stage_name: 'my stage' cannot be a stage's name"):
        check(text=None, word="a", stage_name="my stage")
    with pytest.raises(InputError, match=r"to: penny\.png does not end in \.safetensors"):
        comfy.classes["LorapipeStageExport"].validate_inputs(weights=None, to="penny.png")
    assert comfy.classes["LorapipeStageExport"].validate_inputs(weights=None, format=None, to="penny.pt") is True
    with pytest.raises(InputError, match=r"folder: .*tests does not exist\. Did you mean 'texts'"):
        comfy.classes["LorapipeStageWords"].validate_inputs(folder="tests")
    with pytest.raises(InputError, match=r"images: there is no 'textz' here\. Did you mean 'texts'"):
        comfy.classes["LorapipeStagePrepare"].validate_inputs(images="textz", base=None)


def test_a_linked_base_is_something_to_paint_with(comfy: Comfy) -> None:
    for name in ("Paint", "Synthesize"):
        cls = comfy.classes[f"LorapipeStage{name}"]
        assert cls.validate_inputs(base=None, prompts="a cat") is True
        assert cls.validate_inputs(weights=None, prompts="a cat") is True
        with pytest.raises(InputError, match="nothing to paint with"):
            cls.validate_inputs(prompts="a cat")


@pytest.mark.parametrize(
    ("node", "name", "kinds"),
    [
        ("StageTrain", "steps", "STRING,INT,FLOAT"),
        ("StageTrain", "unet_lr", "STRING,INT,FLOAT"),
        ("StageTrain", "batch", "INT"),
        ("StageTrain", "max_grad_norm", "FLOAT,INT"),
        ("StagePrepare", "images", "COMBO,STRING"),
        ("StageExport", "to", "STRING"),
        ("FamilySd15", "checkpoint", "COMBO,STRING"),
    ],
)
def test_a_widget_takes_links_of_its_type(comfy: Comfy, node: str, name: str, kinds: str) -> None:
    made = {each.id: each.io_type for each in comfy.classes[f"Lorapipe{node}"].define_schema().inputs}
    assert made[name] == kinds


def test_what_a_link_brings_is_checked_when_it_is_known(comfy: Comfy) -> None:
    family, keep = (comfy.classes[f"Lorapipe{name}"] for name in ("FamilySd15", "StageKeep"))
    assert keep.validate_inputs(tally=None, others=None, to=None) is True, "a link has no value yet"
    with pytest.raises(InputError, match="to is missing"):
        keep.validate_inputs(tally=None, others=None, to="")
    assert family.validate_inputs(checkpoint=None) is True

    def run(cls: Any, **given: Any) -> Any:
        clone = type(cls.__name__, (cls,), {"hidden": SimpleNamespace(unique_id="7", prompt={})})
        return asyncio.run(clone.execute(**given))

    assert run(family, checkpoint="pocket").args[0]["value"] == {"family": "sd15", "checkpoint": "pocket"}
    with pytest.raises(
        InputError, match=r"there is no 'pockett' here\. Did you mean 'pocket'\? Put it into .*models/checkpoints, and"
    ):
        run(family, checkpoint="pockett")
    text = comfy.run({"1": toy_graph()["1"]})["1"].args[0]
    count = comfy.classes["LorapipeStageCount"]
    with pytest.raises(InputError, match=r"steps: .*2\.5"):
        run(count, text=text, word="a", steps=2.5)
    with pytest.raises(InputError, match="least: -1 is below the minimum"):
        run(count, text=text, word="a", least=-1)
    assert run(count, text=text, word="a", steps=2).args[0]["stages"]["count-7"]["steps"] == 2


def test_a_mistake_across_links_names_the_stage(comfy: Comfy) -> None:
    graph = toy_graph(word="a")
    graph["3"] = {"class_type": "LorapipeStageCount", "inputs": {"text": ["1", 0], "stage_name": "tally", "word": "b"}}
    graph["4"] = {"class_type": "LorapipeStageKeep", "inputs": {"tally": ["2", 0], "others": None, "to": "x.html"}}
    graph["5"] = {"class_type": "LorapipeListText", "inputs": {"item_1": ["2", 1], "item_2": ["3", 1]}}
    with pytest.raises(InputError, match="two nodes make a stage called 'tally'"):
        comfy.run(graph)


@pytest.mark.parametrize("path", ["../secret", "/etc", "texts/../../..", "~"])
def test_no_graph_reads_outside_of_the_folders_it_may_use(comfy: Comfy, path: str) -> None:
    with pytest.raises(InputError, match="may not be used from a graph"):
        comfy.classes["LorapipeStageWords"].validate_inputs(folder=path)


@pytest.mark.parametrize("path", ["../../x", "/etc/x", "a/../../../x"])
def test_no_graph_writes_outside_of_the_folders_it_may_use(comfy: Comfy, path: str) -> None:
    with pytest.raises(InputError, match="may not be used from a graph"):
        comfy.classes["LorapipeStageKeep"].validate_inputs(tally=None, to=path)


def test_folders_that_the_user_has_named_may_be_used(comfy: Comfy, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere, project = tmp_path_factory.mktemp("elsewhere"), tmp_path_factory.mktemp("project")
    (elsewhere / "cats").mkdir()
    named = comfy.modules["paths"].folder_names_and_paths
    named[comfy_folders.PICTURE_FOLDERS], named[comfy_folders.PROJECT_FOLDER] = (
        ([str(elsewhere)], set()),
        ([str(project)], set()),
    )
    where = comfy_folders.comfy_paths()
    assert where.project == project
    assert where.options("pictures")[1:3] == [elsewhere.as_posix(), f"{elsewhere.as_posix()}/cats"]
    assert comfy.classes["LorapipeStageWords"].validate_inputs(folder=str(elsewhere / "cats")) is True


# ----------------------------------------------------------------------------------------------------- living together


def test_comfyuis_models_make_room_for_a_stage_that_computes_and_only_then(comfy: Comfy) -> None:
    unloaded = comfy.modules["management"].UNLOADED
    unloaded.clear()
    comfy.run(toy_graph(word="a"))
    assert not unloaded
    comfy.run(toy_graph(word="a", kind="LorapipeStageCountOnDevice"))
    assert {*unloaded} == {threading.get_ident()}, "on the thread that executes nodes, which may be sampling"
    unloaded.clear()
    comfy.run(toy_graph(word="a", kind="LorapipeStageCountOnDevice"))
    assert not unloaded, "what is reused needs no room"


def test_a_worker_stays_for_the_stages_that_follow() -> None:
    graph = toy_graph()
    graph["2"]["class_type"] = "LorapipeStageTrain"
    graph["1"]["class_type"] = "LorapipeStagePrepare"
    graph["2"]["inputs"] = {"dataset": ["1", 0]}
    graph["3"] = {"class_type": "LoraLoader", "inputs": {"lora_name": ["2", 0]}}
    assert validation.more_follows(graph, "1") and not validation.more_follows(graph, "2")


def test_workers_are_had_by_one_at_a_time_and_end_when_nobody_asks_for_them() -> None:
    workers, asked, had = Workers(), threading.Event(), []

    def second() -> None:
        had.append(workers.take(Running(), lambda: asked.set() is None))

    first = workers.take(Running(), lambda: True)
    assert workers.take(Running(), lambda: False) is None, "who gives up has none"
    other = threading.Thread(target=second)
    other.start()
    assert asked.wait(10)
    workers.give_back(keep=False)
    other.join(10)
    assert had == [first], "they stay warm for one who waits"
    workers.give_back(keep=False)
    assert workers.take(Running(), lambda: True) is not first
    workers.give_back(keep=False)


def test_what_cannot_be_shown_does_not_end_a_training(comfy: Comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, *given: object) -> None:
        raise ValueError("no such colour")

    monkeypatch.setattr(comfy.modules["utils"].ProgressBar, "update_absolute", broken)
    assert comfy.run(toy_graph(word="a", steps=3))["2"].ui["text"]


def test_two_stages_of_one_prompt_take_turns(comfy: Comfy) -> None:
    """ComfyUI executes other nodes while a lorapipe node waits for its worker."""
    made = comfy.run({"1": toy_graph()["1"]})
    cls = comfy.classes["LorapipeStageCount"]

    async def both() -> list[Any]:
        runs = []
        for id, word in (("2", "a"), ("3", "b")):
            clone = type(cls.__name__, (cls,), {"hidden": SimpleNamespace(unique_id=id, prompt={})})
            runs.append(clone.execute(text=made["1"].args[0], word=word, steps=20, pause=0.02))
        return await asyncio.gather(*runs)

    assert [each.args[0]["value"] for each in asyncio.run(both())] == ["$count-2", "$count-3"]
    assert "waits for another lorapipe node" in comfy.texts


def test_a_lora_file_is_in_comfyuis_list_under_a_name_that_is_never_used_again(comfy: Comfy, tmp_path: Path) -> None:
    file, listed = tmp_path / "penny.safetensors", comfy.modules["paths"].get_filename_list
    file.write_bytes(b"one")
    first, _ = comfy_folders.publish(file)
    assert comfy_folders.publish(file)[0] == first and listed("loras") == [first]
    file.write_bytes(b"two")
    second, target = comfy_folders.publish(file)
    assert second != first and listed("loras") == sorted([first, second]) and target.read_bytes() == b"two"


def test_older_versions_of_a_file_are_removed_unless_they_are_somebodys_own(comfy: Comfy, tmp_path: Path) -> None:
    file, made = tmp_path / "penny.safetensors", []
    for number in range(5):
        file.write_bytes(f"{number}".encode())
        made.append(comfy_folders.publish(file)[1])
        os.utime(made[-1], (number, number))
    made[0].write_bytes(b"edited")
    os.utime(made[0], (0, 0))
    other = made[0].with_name("penny-red-00000000.safetensors")
    other.touch()
    assert comfy_folders.tidy(made[4], 0, set()) == []
    assert comfy_folders.tidy(made[4], 2, {made[1].name}) == [made[2]]
    assert {*made[4].parent.iterdir()} == {made[0], made[1], made[3], made[4], other}


# ------------------------------------------------------------------------------------------------ names of old releases


def test_a_knob_keeps_its_old_name_in_documents_and_graphs(comfy: Comfy) -> None:
    @dataclass(frozen=True)
    class Renamed(Spec):
        """A group with a renamed knob."""

        width: int = param(4, "how wide it is", ge=1, aliases=("rank", "dim"))

    assert from_dict(Renamed, {"rank": 8}) == from_dict(Renamed, {"width": 8})
    assert to_dict(from_dict(Renamed, {"dim": 8})) == {"width": 8}
    for twice in ({"rank": 8, "width": 9}, {"dim": 8, "rank": 9}):
        with pytest.raises(InputError, match="rank is an old name of width, which is given too"):
            from_dict(Renamed, twice)
    with pytest.raises(InputError, match="below the minimum"):
        from_dict(Renamed, {"rank": 0})
    assert json_schema(Renamed)["properties"]["rank"]["deprecated"]
    node = replace(nodes()["LorapipeSettingsCorruption"], inputs=tuple(map(describe._input, knobs(Renamed))))
    old = validation.with_old_names(node, {}, {"7": {"inputs": {"rank": 8}}}, "7")
    assert links.settings(node, old, lambda each, text: text) == {"width": 8}
    assert next(bridge._inputs(node.inputs[0], None, comfy_folders.comfy_paths())).extra_dict == {
        "lorapipe_aliases": ["rank", "dim"]
    }


def test_a_file_keeps_its_old_name_in_documents_and_graphs(comfy: Comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    import lorapipe.training.losses as package

    monkeypatch.setattr(package, "RENAMED", {"l2": "mse"}, raising=False)
    registry = package.Loss.registry
    assert isinstance(registry, Registry) and "l2" in registry and "l2" not in registry.names()
    contract: Any = package.Loss
    assert to_dict(from_dict(contract, "l2")) == {"type": "mse"}
    old = nodes()["LorapipeLossL2"]
    assert old.deprecated and "Now called mse." in old.help
    assert links.link_values(old, {}, "", lambda each, text: text)["loss"]["value"] == {"type": "mse"}
