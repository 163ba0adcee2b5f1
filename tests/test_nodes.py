"""The nodes as plain data: every setting of a pipeline can be set in a graph, with the same meaning."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes import describe, help_pages, links
from comfy_nodes.describe import nodes
from comfy_nodes.graph_runner import read_pipeline
from comfy_nodes.link_values import STAGE_NAME
from comfy_nodes.node import OURS
from comfy_nodes.widgets import ABSENT, NOTHING, Widget
from comfy_nodes.workflow import api_format, graph, page_format
from comfy_nodes.yaml_writer import yaml_text
from lorapipe.errors import InputError
from lorapipe.pipeline import loader
from lorapipe.pipeline.contracts import contracts
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.yaml_document import parse
from lorapipe.spec import Duration, Knob, Param, knobs, param, plain, registry_of

ROOT = Path(__file__).parents[1]
NODES = nodes()
OF_SPECS = {id: node for id, node in NODES.items() if node.spec is not None}
WIDGETS = {
    f"{node.id}.{each.name}": each.widget for node in NODES.values() for each in node.inputs if each.widget is not None
}


def as_is(wanted: object, text: str) -> str:
    """Return a path unchanged, without ComfyUI's folders."""
    return text


def evaluated(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """Return the documents of all stages of a graph in the API format."""
    outputs: dict[str, dict[str, links.LinkValue]] = {}

    def of(id: str) -> dict[str, links.LinkValue]:
        if id not in outputs:
            node = NODES[prompt[id]["class_type"]]
            given = {
                name: list(of(value[0]).values())[value[1]] if isinstance(value, list) else value
                for name, value in prompt[id]["inputs"].items()
            }
            outputs[id] = links.link_values(node, given, links.stage_name(node, given, id), as_is)
        return outputs[id]

    return links.merged(each for id in prompt for each in of(id).values())


# ------------------------------------------------------------------------------------------------------ what there is


def test_everything_that_can_be_chosen_is_a_node() -> None:
    for kind, contract in contracts().items():
        for name in registry_of(contract).names():
            cls = registry_of(contract).get(name)
            found = [node for node in NODES.values() if node.spec is cls]
            in_this_process = getattr(cls, "in_this_process", False)
            assert [node.id.lower() for node in found] == (
                [] if in_this_process else [f"lorapipe{kind}{name}".replace("_", "").lower()]
            )


@pytest.mark.parametrize("id", OF_SPECS)
def test_every_knob_is_an_input_that_explains_itself(id: str) -> None:
    node = OF_SPECS[id]
    assert node.spec is not None
    names = [each.name for each in node.inputs]
    assert len(set(names)) == len(names)
    assert {knob.name for knob in knobs(node.spec)} <= set(names)
    for knob in knobs(node.spec):
        each = node.input(knob.name)
        assert knob.param.help[1:20] in each.help and each.required == knob.required
        assert bool(each.socket) != bool(each.widget)


def test_every_socket_has_a_node_that_fits_it() -> None:
    made = {output.socket for node in NODES.values() for output in node.outputs}
    for node in NODES.values():
        for each in node.inputs:
            kinds = [kind for kind in each.socket.split(",") if kind.startswith(OURS)]
            assert {*kinds} <= made, f"{node.id}.{each.name}"


def test_the_parts_of_what_a_stage_makes_are_outputs() -> None:
    assert [(each.name, each.socket) for each in NODES["LorapipeStageEvaluate"].outputs][:2] == [
        ("report", "LORAPIPE_REPORT"), ("best", "LORAPIPE_WEIGHTS")
    ]  # fmt: skip


def test_no_knob_has_the_name_of_an_input_that_every_stage_has() -> None:
    for node in NODES.values():
        if node.role == "stage" and node.spec is not None:
            assert not {knob.name for knob in knobs(node.spec)} & {describe.RUNNING, STAGE_NAME}


def test_stages_of_other_packages_are_nodes_too(toys: None) -> None:
    found = nodes()
    assert [each.name for each in found["LorapipeStageCount"].inputs] == [
        "text", "running", "word", "least", "weight", "steps", "pause", STAGE_NAME
    ]  # fmt: skip
    assert found["LorapipeListText"].outputs[0].socket == found["LorapipeStageKeep"].input("others").socket


def widgets_of(id: str) -> list[str]:
    return [each.name for each in NODES[id].inputs if each.widget is not None]


def test_what_is_set_most_comes_first() -> None:
    assert widgets_of("LorapipeAdapterLora")[:2] == ["rank", "alpha"]
    assert widgets_of("LorapipeAdapterLocon")[:4] == ["rank", "alpha", "conv_rank", "conv_alpha"]
    assert widgets_of("LorapipeStageTrain")[:3] == ["unet_lr", "text_encoder_lr", "steps"]
    assert widgets_of("LorapipeOptimizerProdigy")[0] == "d_coef"


@pytest.mark.parametrize("id", NODES)
def test_what_is_rarely_changed_comes_last(id: str) -> None:
    rare = [each.rare for each in NODES[id].inputs]
    assert rare == sorted(rare)
    if "arguments" in (names := widgets_of(id)):
        assert names[-1] == "arguments"


def test_a_number_says_its_range_and_default() -> None:
    lora = NODES["LorapipeAdapterLora"]
    assert "Whole number, ≥ 1 and ≤ 768; default 16." in lora.input("rank").tooltip
    assert "Number, ≥ 0 and < 1; default 0.0." in lora.input("dropout").tooltip
    assert "Number, or null, ≥ 0 and ≤ 10; default null." in NODES["LorapipeStageTrain"].input("unet_lr").tooltip


# ------------------------------------------------------------------------------------------------------------- widgets


@pytest.mark.parametrize("label", WIDGETS)
def test_a_widget_at_its_defaultsays_nothing(label: str) -> None:
    widget = WIDGETS[label]
    if widget.default is not ABSENT:
        assert widget.from_widget(widget.initial) is ABSENT
    assert not widget.choices or widget.coding == "shelf" or widget.initial in widget.words


@pytest.mark.parametrize("id", OF_SPECS)
def test_defaults_of_every_node_are_those_of_its_spec(id: str) -> None:
    node = OF_SPECS[id]
    assert node.spec is not None
    given = {each.name: each.widget.initial for each in node.inputs if each.widget is not None and not each.required}
    assert links.settings(node, given, as_is) == {}


SAMPLES: list[tuple[Any, Any, list[Any]]] = [
    (str, "x", ["", " a ", "${not} a variable", 'say "so"', "5"]),
    (int, 1, [0, 7, 2**31 - 1]),
    (float, 0.5, [0.9, 0.1, 1.0, 1e-6, 123456.789]),
    (float, 1e-8, [0.5, 1e-12, 3.0]),
    (float | None, None, [1e-4, 0.0, 5.0]),
    (float | None, 1.1, [None, 0.5]),
    (bool, True, [False]),
    (bool | None, None, [True, False]),
    (tuple[str, ...], (), [["a", "b, c"], ['"', '"x"', "  indented", "two\nlines", "", "$x ${y}"]]),
    (tuple[float, ...], (0.5,), [[], [1.0, 0.25], [1e-4]]),
    (dict[str, Any], {}, [{"betas": [0.9, 0.99], "name": "1e-4", "a b": {"c": None}, "yes": True}]),
    (Duration, Duration(10), ["7 steps", "3 epochs"]),
]


@pytest.mark.parametrize(("kind", "default", "values"), SAMPLES, ids=str)
def test_values_come_back_from_widgets_as_they_were(kind: Any, default: Any, values: list[Any]) -> None:
    field = param(default if not isinstance(default, (dict, list)) else lambda: default, "a knob of this type")
    widget = describe.widget(Knob("knob", kind, field, Param("a knob")))
    for value in values:
        escaped = json.loads(json.dumps(value).replace("${", "$${"))
        assert widget.from_widget(widget.to_widget(value)) == escaped, value
    assert widget.from_widget(widget.to_widget(plain(default))) is ABSENT


def test_numbers_lose_what_a_page_adds_by_counting_in_steps() -> None:
    assert Widget("number", 0.5).from_widget(0.8999999999999999) == 0.9


@pytest.mark.parametrize("coding", ["whole", "number"])
@pytest.mark.parametrize("linked", ["many", {"stages": {}, "value": "$x"}, [1]], ids=str)
def test_what_a_link_brings_may_be_no_number(coding: Any, linked: Any) -> None:
    with pytest.raises(InputError, match="is not a number"):
        Widget(coding, 1).from_widget(linked)


def test_a_text_that_cannot_be_read_is_a_mistake_of_the_users() -> None:
    node = NODES["LorapipeOptimizerAdamw"]
    with pytest.raises(InputError) as raised:
        links.settings(node, {"arguments": "a: [", "eps": "1e-8"}, as_is)
    assert [problem.path for problem in raised.value.problems] == [("arguments",)]


def test_the_choice_of_nothing_is_left_out() -> None:
    node = NODES["LorapipeFamilySd15"]
    given = {"checkpoint": "pocket", "zero_terminal_snr": NOTHING, "vae": NOTHING, "config": ""}
    assert links.settings(node, given, as_is) == {"checkpoint": "pocket"}


# --------------------------------------------------------------------------------------------------- graphs and pipelines

TOOLS = [ROOT / f"pipelines/{name}.yaml" for name in ("bake-style", "distil", "slim")]
PIPELINES = [
    ROOT / "pipelines/quickstart.yaml",
    *TOOLS,
    *sorted((ROOT / "comfy_nodes/example_workflows").glob("*.yaml")),
]


def everything(folder: Path) -> str:
    """Return a pipeline that sets at least one knob of each kind."""
    (folder / "a photo.png").touch()
    return f"""
stages:
  one: {{uses: prepare, images: {folder.as_posix()},
        base: &base {{family: sd15, checkpoint: pocket, zero_terminal_snr: false}},
        augment: {{flip: true}}}}
  two: {{uses: prepare, images: {folder.as_posix()}, base: *base, resolution: 64x128,
         caption_extensions: [.a, .b], background: black, min_size: 9, retries: 3, timeout: 8 h}}
  three: {{uses: prepare, images: {folder.as_posix()}, base: *base, captions: {{prefix: a}}}}
  train:
    uses: train
    dataset: $one
    more_datasets: [$two, $three, $two, $three, $two, $three]
    regularisation: $three
    adapter: {{type: lora, rank: 3, block_ranks: []}}
    optimizer: {{type: dadapt_sgd, growth_rate: null, arguments: {{log_every: 1}}}}
    scheduler: {{type: cosine, warmup: 10 %}}
    noise: {{offset: 0.07}}
    captions: {{prefix: "$${{x}}", separator: " ;", shuffle: true}}
    steps: 3 epochs
    max_tokens: 150
    previews: every 2 steps
    preview_prompts: ["a cat, (best:1.2)", " b", '"c"']
    seed: 4294967295
  judge: {{uses: evaluate, weights: $train, prompts: ["x"], strengths: [0.5, 1], size: 64}}
  again: {{uses: train, dataset: $judge.best.dataset, loss: huber, weighting: none, unet_lr: 1e-5}}
  file: {{uses: export, weights: $judge.best, to: out/x.safetensors, title: "yes"}}
"""


def pipeline_files(folder: Path) -> list[Path]:
    whole = folder / "everything.yaml"
    whole.write_text(everything(folder), encoding="utf-8")
    return [whole, *PIPELINES]


def test_a_pipeline_becomes_a_graph_and_the_same_pipeline_again(tmp_path: Path) -> None:
    for file in pipeline_files(tmp_path):
        pipeline = loader.load(file)
        for stages in _ways_there_and_back(pipeline):
            again = read_pipeline(stages, file.parent)
            assert again.options == pipeline.options
            for name, stage in pipeline.stages.items():
                found = again.stages[name]
                for knob in knobs(type(stage)):
                    if knob.param.content and knob.name != "images":
                        assert getattr(found, knob.name) == getattr(stage, knob.name), f"{name}.{knob.name}"


def _ways_there_and_back(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Yield round trips: through a graph, and through a graph and its YAML text."""
    prompt = json.loads(json.dumps(api_format(graph(pipeline))))
    stages = evaluated(prompt)
    for document in stages.values():
        if str(document.get("images", "")).startswith("examples/"):
            document["images"] = str(ROOT / "pipelines" / document["images"])
    return [stages, parse(yaml_text(stages), "again.yaml").value["stages"]]


@pytest.mark.parametrize(("kind", "count"), [("lora", 10), ("finetune", 1)])
def test_a_train_node_leaves_the_number_of_snapshots_to_the_adapter(kind: str, count: int, tmp_path: Path) -> None:
    node = next(each for each in OF_SPECS.values() if each.role == "stage" and each.name == "train")
    shown = {each.name: each.widget.initial for each in node.inputs if each.widget is not None and not each.required}
    train = {"uses": "train", "dataset": "$set", "adapter": {"type": kind}, **links.settings(node, shown, as_is)}
    pictures = {"uses": "prepare", "images": str(tmp_path), "base": {"family": "sd15", "checkpoint": "pocket"}}
    assert read_pipeline({"set": pictures, "train": train}, tmp_path).stages["train"].snapshots.count == count


def test_both_forms_of_a_graph_say_the_same(tmp_path: Path) -> None:
    for file in pipeline_files(tmp_path):
        placed = graph(loader.load(file))
        prompt, page = api_format(placed), page_format(placed)
        by_link = {link[0]: link for link in page["links"]}
        for shown in page["nodes"]:
            sent, node = prompt[str(shown["id"])], NODES[shown["type"]]
            widgets = [each.name for each in node.inputs if each.widget is not None]
            inputs = dict(zip(widgets, shown["widgets_values"], strict=True))
            inputs |= {
                each["name"]: [str(by_link[each["link"]][1]), by_link[each["link"]][2]]
                for each in shown["inputs"]
                if each["link"]
            }
            assert (sent["class_type"], sent["inputs"]) == (node.id, inputs)


def test_nodes_do_not_lie_on_one_another(tmp_path: Path) -> None:
    for file in pipeline_files(tmp_path):
        boxes = [(*each.at, *each.size) for each in graph(loader.load(file))]
        for place, (x, y, width, height) in enumerate(boxes):
            for left, top, other_width, other_height in boxes[:place]:
                apart = x >= left + other_width or left >= x + width or y >= top + other_height or top >= y + height
                assert apart


def test_two_stages_of_one_name_are_refused() -> None:
    first, second = ({"stages": {"cat": {"uses": name}}, "value": "$cat"} for name in ("train", "export"))
    assert links.merged([first, first]) == first["stages"]
    with pytest.raises(InputError, match="two nodes make a stage called 'cat'"):
        links.merged([first, second])


def test_a_name_comes_from_the_node_where_none_is_given() -> None:
    node = NODES["LorapipeStageTrain"]
    assert links.stage_name(node, {STAGE_NAME: "  "}, "12:3") == "train-12-3"
    assert links.stage_name(node, {STAGE_NAME: "penny"}, "12") == "penny"


def test_problems_name_the_stage_and_the_knob(tmp_path: Path) -> None:
    stages = {"cat": {"uses": "train", "dataset": "$dog", "batch": 0}}
    with pytest.raises(InputError) as raised:
        read_pipeline(stages, tmp_path)
    assert sorted(problem.where for problem in raised.value.problems) == ["cat.batch", "cat.dataset"]


# ---------------------------------------------------------------------------------------------------- what is written


def test_help_pages_and_texts_are_current() -> None:
    made, folder = help_pages.files(), ROOT / "comfy_nodes"
    stale = [name for name, text in made.items() if (folder / name).read_text("utf-8") != text]
    pages = (folder / help_pages.PAGES).rglob("*.md")
    gone = [name for file in pages if (name := file.relative_to(folder).as_posix()) not in made]
    assert not stale and not gone, "run `lorapipe schema --write`"


def test_help_pages_fit_a_narrow_panel() -> None:
    pages = {name: text for name, text in help_pages.files().items() if name.endswith(".md")}
    assert not [name for name, text in pages.items() if "|---" in text], "tables are cut off"
    lora = pages[f"{help_pages.PAGES}/LorapipeAdapterLora.md"]
    assert lora.index("**rank**") < lora.index("## Advanced inputs") < lora.index("**rank_dropout**")
    assert r"ff\\.net" in lora, "a backslash is shown, not an escape"


def test_words_of_other_languages_find_nodes_that_exist() -> None:
    for file in (ROOT / "comfy_nodes/locales").glob("*/search.json"):
        assert json.loads(file.read_text("utf-8")).keys() <= NODES.keys()


def test_example_graphs_are_those_of_their_pipelines() -> None:
    folder = ROOT / "comfy_nodes/example_workflows"
    written = {file.stem: json.loads(file.read_text("utf-8")) for file in folder.glob("*.json")}
    assert not [name for name, graph in written.items() if str(ROOT) in json.dumps(graph)], "paths of this machine"
    assert written == {name: help_pages.example_graph(file) for name, file in help_pages.examples().items()}


def test_every_example_has_a_picture_for_the_template_browser_and_ends_in_a_use_of_the_lora() -> None:
    for name, file in help_pages.examples().items():
        assert file.with_suffix(".jpg").is_file(), name
        kinds = [each["type"] for each in help_pages.example_graph(file)["nodes"]]
        assert "LorapipeStagePaint" in kinds and "MarkdownNote" in kinds


def test_nodes_of_one_kind_have_titles_of_their_own() -> None:
    for placed in (graph(loader.load(file)) for file in help_pages.examples().values()):
        shown = [each.title or each.node.title for each in placed]
        assert len(shown) == len(set(shown))


def test_links_between_rows_run_beside_the_nodes_and_not_behind_them() -> None:
    placed = graph(loader.load(ROOT / "comfy_nodes/example_workflows/two_ranks.yaml"))
    boxes = [(*each.at, *each.size) for each in placed]
    bends = [points for each in placed for points in each.bends.values()]
    assert len(bends) == 2, "to the second training, and from its verdict"
    for points in bends:
        for (x, y), (to_x, to_y) in pairwise(points):
            for left, top, width, height in boxes:
                beside = max(x, to_x) <= left or min(x, to_x) >= left + width
                above = max(y, to_y) <= top or min(y, to_y) >= top + height
                assert beside or above


def test_the_packs_version_is_ours() -> None:
    import tomllib

    import lorapipe

    about = tomllib.loads((ROOT / "comfy_nodes/pyproject.toml").read_text("utf-8"))
    assert about["project"]["version"] == lorapipe.__version__
    assert re.fullmatch(r"[a-z][a-z0-9-]{1,99}", about["project"]["name"])


def test_a_spec_that_may_be_nothing_is_nothing_by_default() -> None:
    """An unlinked socket means the default, so null must not be another value."""
    for node in OF_SPECS.values():
        assert node.spec is not None
        for knob in knobs(node.spec):
            if knob.shape.optional and knob.shape.kind in ("spec", "contract", "reference"):
                assert knob.default() is None, f"{node.id}.{knob.name}"


def test_a_clone_of_the_repository_is_a_pack_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """ComfyUI loads packs in custom_nodes by folder, under its own module name."""
    spec = importlib.util.spec_from_file_location("a_clone", ROOT / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "a_clone", module)
    spec.loader.exec_module(module)
    assert module.comfy_nodes.comfy_entrypoint.__module__ == "a_clone.comfy_nodes"
    assert module.comfy_entrypoint.__module__ == "a_clone"
    assert (ROOT / module.WEB_DIRECTORY / "docs" / "LorapipeStageTrain.md").is_file()
