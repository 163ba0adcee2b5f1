"""lorapipe's nodes on ComfyUI's page, in a real browser: what a user sees before, while and after a graph runs.

The page is the one that ComfyUI has; COMFYUI_FRONTEND names a folder with another one, as `pip install --target FOLDER
comfyui-frontend-package` makes it.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browsers import in_a_browser
from graph_page import DIALOG, GraphPage
from real_comfyui import ROOT, ComfyUI
from test_graphs import LINUX, OURS, Place, no_workers_within, pictures, pipeline, workers

from comfy_nodes.workflow import graph, page_format
from lorapipe.pipeline import loader

pytestmark = [in_a_browser, pytest.mark.timeout(900)]
EMPTY = {"nodes": [], "links": [], "version": 0.4, "last_node_id": 0, "last_link_id": 0}
EXAMPLES = ROOT / "comfy_nodes/example_workflows"
IN_VIEW = """(({pos: [x, y], size: [wide, high]}) => {
  const [left, top, width, height] = app.canvas.ds.visible_area;
  return left <= x && x + wide <= left + width && top <= y && y + high <= top + height;
})"""
TRAIN, SAVE = ("Train LoRA, DreamBooth", "LoRA 학습, 드림부스"), ("Export, save LoRA", "LoRA 내보내기, 저장")
WORDS = {
    "en": {
        "dataset": "Prepare dataset",
        "train lora": TRAIN[0],
        "dreambooth": TRAIN[0],
        "caption": "Caption pictures",
        "checkpoint": "Base model, checkpoint",
        "save lora": SAVE[0],
    },
    "ko": {
        "데이터셋": "데이터셋 준비",
        "lora 학습": TRAIN[1],
        "드림부스": TRAIN[1],
        "캡션": "캡션 달기",
        "체크포인트": "베이스 모델, 체크포인트",
        "lora 저장": SAVE[1],
    },
}
"""What is typed into the page's search → the title of the node that it must find."""
TOOLTIP = "document.querySelector('.node-tooltip')?.textContent ?? ''"


@pytest.fixture(scope="module", params=["the page that ComfyUI has", "another page"])
def place(
    request: pytest.FixtureRequest, comfyui: ComfyUI, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    arguments = []
    if request.param == "another page":
        if not (other := os.environ.get("COMFYUI_FRONTEND")):
            pytest.skip("COMFYUI_FRONTEND is not set")
        arguments = ["--front-end-root", str(Path(other).absolute() / "comfyui_frontend_package" / "static")]
    folder = tmp_path_factory.mktemp("page")
    pictures(folder / "input/penny")
    with comfyui.serve(folder, OURS, *arguments) as server:
        yield Place(comfyui, server, folder, arguments)


@pytest.fixture
def page(place: Place) -> Iterator[GraphPage]:
    page = GraphPage(place.server)
    yield page
    page.close()


PAINT = """
  picture: {uses: paint, weights: $grid.best, prompts: ["penny, snow"], steps: 2}
"""


def small(place: Place, **how: int) -> dict[str, Any]:
    """Return a small training, its verdict, its file and a picture painted with it as a graph in the page's form."""
    file = pipeline(place.folder, place.folder / "input/penny", **how)
    file.write_text(file.read_text("utf-8").rstrip() + PAINT, "utf-8")
    text = json.dumps(page_format(graph(loader.load(file))))
    found: dict[str, Any] = json.loads(text.replace((place.folder / "input").as_posix() + "/", ""))
    return found


def test_a_training_is_seen_while_it_runs_afterwards_and_on_other_pages(place: Place, page: GraphPage) -> None:
    other = GraphPage(place.server)
    other.open(small(place, steps=5))
    page.open(small(place, steps=20))
    page.queue()
    page.says("penny", "/20 steps", "loss", "s/it", "left")
    page.wait(lambda: page.has_curve("penny"), "the curve")
    page.says("file", "penny-", ".safetensors")
    page.says("picture", "finished in", "sheet.png")
    assert "finished in" in page.text("penny") and page.has_curve("penny") and page.pictures("penny") >= 1
    page.wait(lambda: all(page.pictures(name) == 1 for name in ("dataset", "grid", "picture")), "the pictures")
    names = ("dataset", "penny", "grid", "file", "picture")
    told = {name: page.text(name) for name in names}
    assert not any(other.text(name) for name in names), "another page has the same ids in another graph"
    page.reload()
    page.wait(lambda: {name: page.text(name) for name in names} == told, "what the nodes said")
    page.wait(lambda: page.has_curve("penny") and page.pictures("penny") >= 1, "curve and previews")
    other.open(page.graph())
    other.wait(lambda: {name: other.text(name) for name in names} == told, "the same on the other page")
    other.wait(lambda: other.has_curve("penny") and other.pictures("grid") == 1, "curve and pictures there")
    other.close()


def test_what_nodes_have_shown_is_there_after_a_restart_of_comfyui(place: Place, tmp_path: Path) -> None:
    pictures(tmp_path / "input/penny")
    with place.comfyui.serve(tmp_path, OURS, *place.arguments) as server:
        page = GraphPage(server)
        page.open(small(replace(place, folder=tmp_path)))
        page.queue()
        page.says("file", "penny-", ".safetensors")
        page.says("picture", "finished in", "sheet.png")
        saved, told = page.graph(), {name: page.text(name) for name in ("dataset", "penny", "grid", "file", "picture")}
        page.close()
    with place.comfyui.serve(tmp_path, OURS, *place.arguments) as server:
        page = GraphPage(server)
        page.open(saved)
        for name, text in told.items():
            page.says(name, text)
        page.wait(lambda: page.has_curve("penny") and page.pictures("grid") == 1, "curve and pictures")
        page.close()


@LINUX
def test_a_training_goes_on_being_seen_after_a_reload_until_it_is_cancelled(place: Place, page: GraphPage) -> None:
    page.open(small(place, steps=900, seed=1))
    page.queue()
    page.wait(lambda: page.has_curve("penny"), "the curve")
    page.reload()
    page.wait(lambda: page.has_curve("penny") and "/900 steps" in page.text("penny"), "the curve after a reload")
    reached = page.text("penny")
    page.wait(lambda: page.text("penny") != reached, "another step")
    began = time.monotonic()
    page.cancel()
    page.wait(lambda: "stop" in page.text("penny"), "an answer to Cancel")
    print(f"the node said so {time.monotonic() - began:.2f} s after Cancel")
    page.says("penny", "stopped at", "/900", "goes on from")
    assert no_workers_within(place.server, 5) and not workers(place.server)
    assert page.has_curve("penny")


def test_a_mistake_is_told_on_its_node_as_text(place: Place, page: GraphPage) -> None:
    page.open(small(place))
    page.run("widgetOf('penny', 'steps').value = '<b>many</b>';")
    page.queue()
    page.says("penny", "steps", "<b>many</b>", "is not a duration")


def test_every_setting_of_every_node_is_the_same_after_saving_and_opening(page: GraphPage) -> None:
    page.open(EMPTY)
    page.run("""
        const types = Object.keys(LiteGraph.registered_node_types).filter((type) => type.startsWith("Lorapipe"));
        const other = ({ type, value, options }) => {
          const words = options?.values ?? [];
          if (type === "toggle") return !value;
          if (type === "combo") return words.at(-1) ?? value;
          if (type === "number") return Math.min(Math.max(value + (options.step2 || 1), options.min), options.max);
          return type === "button" ? value : `${value}, "ä" \\\\ 1e-4\\n더`;
        };
        for (const type of types) {
          const node = LiteGraph.createNode(type);
          app.graph.add(node);
          for (const widget of node.widgets ?? []) widget.value = other(widget);
        }
    """)
    values = "Object.fromEntries(app.graph._nodes.map((node) => "
    values += "[node.type, (node.widgets ?? []).map((each) => [each.name, each.value ?? null])]))"
    before = page.value(values)
    assert len(before) > 50 and any(value == "더" or "더" in str(value) for _, value in before["LorapipeStageTrain"])
    saved = page.graph()
    page.open(EMPTY)
    page.open(saved)
    assert page.value(values) == before


def test_rare_settings_are_hidden_unless_they_act(page: GraphPage) -> None:
    page.open(EMPTY)
    page.run("window.made = LiteGraph.createNode('LorapipeStageTrain'); app.graph.add(made);")
    shown = "made.widgets.filter((each) => made.isWidgetVisible(each)).map((each) => each.name)"
    usual, height = page.value(shown), page.value("made.size[1]")
    assert {"unet_lr", "steps", "stage_name"} <= {*usual} and not {"ema", "precision", "allow"} & {*usual}
    page.run(
        "const ema = made.widgets.find(({name}) => name === 'ema'); ema.value = '0.99'; ema.callback?.(ema.value);"
    )
    assert page.value(shown) == [*usual, "ema"]
    page.wait(lambda: height < page.value("made.size[1]") < height + 60, "room for one more row")
    page.run("made.toggleAdvanced();")
    assert {"ema", "precision", "allow"} <= {*page.value(shown)}
    page.run("made.toggleAdvanced();")
    saved = page.graph()
    page.open(EMPTY)
    page.open(saved)
    page.run("window.made = app.graph._nodes[0];")
    page.wait(lambda: page.value(shown) == [*usual, "ema"], "the changed setting")


def test_a_switch_of_an_older_release_that_is_a_choice_now_keeps_its_meaning(page: GraphPage) -> None:
    page.open(EMPTY)
    page.run("app.graph.add(LiteGraph.createNode('LorapipeStageTrain'));")
    saved = page.graph()
    (node,) = saved["nodes"]
    place = [*node["properties"]["lorapipe"]].index("gradient_checkpointing")
    node["properties"]["lorapipe"]["gradient_checkpointing"] = node["widgets_values"][place] = False
    page.open(saved)
    page.run("window.sent = Object.values((await app.graphToPrompt()).output)[0].inputs;")
    assert page.value("sent.gradient_checkpointing") == "false"
    assert page.value("sent.steps") == node["properties"]["lorapipe"]["steps"]


def test_the_examples_are_opened_by_clicks_in_the_templates_and_run(place: Place, page: GraphPage) -> None:
    graphs = {each.stem: json.loads(each.read_text("utf-8")) for each in EXAMPLES.glob("*.json")}
    for name in sorted(graphs, reverse=True):
        page.open_templates(graphs)
        page.open_template(name)
        types = page.value("app.graph._nodes.map((node) => node.type)")
        assert sorted(types) == sorted(node["type"] for node in graphs[name]["nodes"])
        page.wait(lambda: page.value(f"app.graph._nodes.every({IN_VIEW})"), "all nodes in view")
        assert not page.value(f"document.querySelector('{DIALOG}')?.textContent"), "nothing is missing"
    page.queue()
    page.says("penny", "steps", "loss")
    page.cancel()
    page.says("penny", "stopped at", "goes on from")


def test_the_notes_of_an_example_are_in_the_pages_language_unless_they_were_edited(place: Place) -> None:
    notes = "app.graph._nodes.filter((each) => each.type === 'MarkdownNote')"
    notes += ".map((each) => `${each.title}: ${each.widgets[0].value}`)"
    korean = GraphPage(place.server, "ko")
    korean.open_templates(place.server.get("workflow_templates")["lorapipe"])
    korean.open_template("first_lora")
    korean.wait(lambda: korean.value(notes)[0].startswith("1 · 그림: **데이터셋"), "a Korean note")
    saved = korean.graph()
    korean.run("app.graph._nodes.find((each) => each.type === 'MarkdownNote').widgets[0].value = 'mine';")
    korean.open(korean.graph())
    korean.wait(lambda: korean.value(notes)[1].startswith("2 · 학습: **LoRA"), "another Korean note")
    assert korean.value(notes)[0] == "1 · 그림: mine"
    korean.close()
    english = GraphPage(place.server)
    english.open(saved)
    english.wait(lambda: english.value(notes)[0].startswith("1 · Pictures: **Prepare"), "an English note")
    english.close()


@pytest.mark.parametrize("language", WORDS)
def test_the_words_that_people_search_by_find_the_nodes(place: Place, language: str) -> None:
    page = GraphPage(place.server, language)
    page.open(EMPTY)
    for words, title in WORDS[language].items():
        page.finds(words, f"{title} (lorapipe)")
    page.close()


def test_the_page_in_korean_has_korean_nodes(place: Place) -> None:
    page = GraphPage(place.server, "ko")
    try:
        page.open(EMPTY)
        page.run("window.made = LiteGraph.createNode('LorapipeStageTrain'); app.graph.add(made); made.pos = [0, 0];")
        shown = page.value("[made.title, made.inputs[0].label ?? made.inputs[0].localized_name]")
        assert all(re.search("[가-힣]", text) for text in shown), shown
        page.wait(lambda: page.value("made.widgets.find((each) => each.name === 'steps').last_y"), "the widget")
        where = "made.pos[0] + 60, made.pos[1] + made.widgets.find((each) => each.name === 'steps').last_y + 10"
        page.run("app.canvas.ds.offset = [300, 200]; app.canvas.ds.scale = 1; app.canvas.setDirty(true, true);")
        x, y = page.value(f"app.canvas.convertOffsetToCanvas([{where}])")
        left, top = page.value("(({left, top}) => [left, top])(app.canvas.canvas.getBoundingClientRect())")
        page.browser.do(f"await page.mouse.move({left + x}, {top + y}, {{steps: 3}});")
        page.wait(lambda: re.search("[가-힣]", page.value(TOOLTIP)), "a Korean tooltip")
    finally:
        page.close()
