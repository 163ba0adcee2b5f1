"""What a stage's result is to the rest of a graph: its pictures, texts and numbers, as outputs of the stage's node.

An output is computed only if something is linked to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.pipeline.artifacts import (
    Artifact,
    Captions,
    Comparison,
    Dataset,
    File,
    FileReport,
    Pictures,
    Report,
    Weights,
)

from .node import OURS, Node, Output, Prompt

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Result:
    """An output of a stage's node that other packs' nodes take. `of` computes it from the artifact.

    Sockets: `IMAGE` (a file or a drawn picture; several where `is_list`), `STRING`, `FLOAT`.
    """

    name: str
    socket: str
    help: str
    of: Callable[[Any], object]
    is_list: bool = False


def results_of(makes: type[Artifact]) -> tuple[Result, ...]:
    """Return the results that a kind of artifact has, those of its base classes included."""
    return next((found for kind, found in RESULTS.items() if issubclass(makes, kind)), ())


def outputs(makes: type[Artifact]) -> tuple[Output, ...]:
    """Return these results as outputs of a node."""
    return tuple(Output(each.name, each.socket, each.help, is_list=each.is_list) for each in results_of(makes))


def linked_results(node: Node, unique_id: str, prompt: Prompt, artifact: Artifact) -> dict[str, object]:
    """Compute the results that are linked to something in the graph; the others are None."""
    used = _linked(node, unique_id, prompt)
    return {each.name: each.of(artifact) if each.name in used else None for each in results_of(type(artifact))}


def linked_like(node: Node, given: Mapping[str, object], prompt: Prompt) -> list[str]:
    """Return the names of linked results of all nodes of this kind with these widgets' values.

    ComfyUI asks whether a node has changed without saying which of the graph it is.
    """
    known = {each.name: given[each.name] for each in node.inputs if each.widget and given.get(each.name) is not None}
    alike = [
        id for id, each in prompt.items()
        if each.get("class_type") == node.id
        and all(each.get("inputs", {}).get(name) in (value, None) for name, value in known.items())
    ]  # fmt: skip
    return sorted({name for id in alike for name in _linked(node, id, prompt)})


def _linked(node: Node, id: str, prompt: Prompt) -> set[str]:
    """Return the names of a node's results that are linked to something."""
    used = [
        value[1]
        for each in prompt.values()
        for value in each.get("inputs", {}).values()
        if isinstance(value, list) and len(value) == 2 and str(value[0]) == id
    ]
    return {each.name for place, each in enumerate(node.outputs) if place in used and not each.socket.startswith(OURS)}


# ------------------------------------------------------------------------------------------------------------- weights


MOST_POINTS = 300
"""Points of a curve on a node, which is about as wide in pixels."""
Points = list[tuple[float, float]]


def losses(log: Path | None) -> dict[str, Points]:
    """Return the loss of each step and its moving average, as (step, loss), of a training's log; nothing without one."""
    rows = []
    for line in _text(log).splitlines():
        with suppress(ValueError):  # a training that was killed has not written its last line to the end
            rows.append(json.loads(line))
    names = {"loss": "loss", "average": "loss/average"}
    return {
        shown: [(float(row["step"]), float(row[name])) for row in rows if row.get(name) is not None]
        for shown, name in names.items()
    }


def curve(points: Points, caption: str) -> dict[str, object]:
    """Return a curve for the page, thinned to `MOST_POINTS` with its last point."""
    every = -(-len(points) // MOST_POINTS)
    kept = points[(len(points) - 1) % every :: every] if points else []
    return {"points": [list(each) for each in kept], "caption": caption}


def _loss_curve(weights: Weights) -> Image:
    from lorapipe.drawing.line_chart import line_chart

    return line_chart({name: points for name, points in losses(weights.log).items() if points}, title="steps →")


def previews(weights: Weights) -> list[Path]:
    """Return the previews of a training in the order of their steps."""
    return sorted((weights.log.parent / "previews").glob("*.png")) if weights.log else []


def _trigger(weights: Weights) -> str:
    """Return the word that prompts need: the word that was learnt, or the captions' trigger; empty if none is known."""
    settings = json.loads(_text(weights.training) or "{}").get("settings", {})
    of_dataset = json.loads(_text(weights.dataset.manifest)).get("captions") if weights.dataset else None
    places: list[Mapping[str, object]] = [
        settings.get("embedding") or {},
        settings.get("adapter") or {},
        of_dataset or {},
        settings.get("captions") or {},
    ]
    return next((str(each["trigger"]) for each in places if each.get("trigger")), "")


def _text(file: Path | None) -> str:
    return file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""


# -------------------------------------------------------------------------------------------------------------- report


def _verdict(report: Report) -> str:
    """Return the headline of the verdict, its reasons and what to change, a line each."""
    said = json.loads(_text(report.data))["verdict"]
    return "\n".join([said["headline"], *said["reasons"], *(each["what"] for each in said["advice"])])


def _captions(pictures: Pictures) -> list[str]:
    return [_text(file.with_suffix(".txt")).strip() for file in _files(pictures)]


def _files(pictures: Pictures) -> list[Path]:
    return sorted(file for file in pictures.folder.iterdir() if file.suffix.lower() in PICTURE_ENDINGS)


TRIGGER = "The word that prompts need; empty if none is known."
STRENGTH = "The strength that is recommended; 1 if nothing has judged the weights."
RESULTS: dict[type[Artifact], tuple[Result, ...]] = {
    Dataset: (
        Result("contact_sheet", "IMAGE", "The pictures as the training sees them.", lambda each: each.contact_sheet),
        Result("path", "STRING", "The folder of the pictures.", lambda each: str(each.images)),
    ),
    Weights: (
        Result("loss_curve", "IMAGE", "The loss of each step, and its moving average.", _loss_curve),
        Result("previews", "IMAGE", "The previews in the order of their steps.", previews, is_list=True),
        Result("trigger", "STRING", TRIGGER, _trigger),
        Result("strength", "FLOAT", STRENGTH, lambda each: each.strength),
        Result("path", "STRING", "The file of the last snapshot.", lambda each: str(each.snapshots[-1].path)),
    ),
    Report: (
        Result("grid", "IMAGE", "The grid of pictures.", lambda each: each.grid),
        Result("verdict", "STRING", "The verdict, why, and what to change, a line each.", _verdict),
        Result("strength", "FLOAT", STRENGTH, lambda each: each.best.strength),
        Result("trigger", "STRING", TRIGGER, lambda each: _trigger(each.best)),
        Result("path", "STRING", "The report's page.", lambda each: str(each.page)),
    ),
    Comparison: (
        Result("strength", "FLOAT", STRENGTH, lambda each: each.best.strength),
        Result("trigger", "STRING", TRIGGER, lambda each: _trigger(each.best)),
        Result("path", "STRING", "The page.", lambda each: str(each.page)),
    ),
    Pictures: (
        Result(
            "sheet",
            "IMAGE",
            "All pictures on one; of synthesize the chosen beside the others.",
            lambda each: each.sheet,
        ),
        Result("images", "IMAGE", "The pictures, of synthesize the chosen ones.", _files, is_list=True),
        Result("captions", "STRING", "Their captions, in the same order.", _captions, is_list=True),
        Result("path", "STRING", "Their folder.", lambda each: str(each.folder)),
    ),
    Captions: (Result("path", "STRING", "The folder of the caption files.", lambda each: str(each.folder)),),
    FileReport: (Result("text", "STRING", "The report.", lambda each: _text(each.text)),),
    File: (Result("path", "STRING", "The file.", lambda each: str(each.path)),),
}
"""Kind of artifact → the outputs of a node whose stage makes it."""
