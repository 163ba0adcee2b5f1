"""Draws a figure of the guide from a pipeline that has run.

A row for each training, with its last previews, and the settings in which it differs from the others, or a label that is
given; of a single training, a row for each step with previews.

python -m tools.guide_figure pipelines/guide/rates.yaml docs/guide/rates.png [LABEL ...]
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import PIL.Image

import lorapipe
from lorapipe.drawing.sheet import FAINT, Sheet
from lorapipe.errors import InputError
from lorapipe.spec.serialization import to_dict
from lorapipe.stages.train import Train

SIDE, GAP, LABEL, TEXT = 128, 8, 170, 15
"""Sizes in pixels."""
STEP = re.compile(r"step-(\d+)-\d+\.png")


def draw(pipeline: Path, labels: Sequence[str] = ()) -> PIL.Image.Image:
    """Return the figure. `InputError` if the pipeline has not run."""
    loaded = lorapipe.load(pipeline)
    stages = {name: stage for name, stage in loaded.stages.items() if isinstance(stage, Train)}
    results = {step.name: step.result for step in lorapipe.plan(loaded).stages if step.name in stages}
    if missing := [name for name, result in results.items() if result is None]:
        raise InputError(f"{', '.join(missing)} has not run.", where=str(pipeline), cure=f"lorapipe run {pipeline}")
    outputs = {name: result.folder for name, result in results.items() if result is not None}
    rows = dict(_rows_of_trainings(stages, outputs) if len(stages) > 1 else _rows_of_steps(*outputs.values()))
    sheet = Sheet()
    columns = next(iter(stages.values())).preview_prompts
    for place, prompt in enumerate(columns):
        sheet.text(LABEL + place * (SIDE + GAP), GAP, prompt.partition(", ")[2], 12, FAINT)
    for row, (label, files) in enumerate(rows.items()):
        label = labels[row] if labels else label
        top = 2 * GAP + 14 + row * (SIDE + GAP)
        sheet.text(GAP, top + SIDE // 2 - TEXT, label, TEXT)
        for place, file in enumerate(files):
            picture = PIL.Image.open(file)
            sheet.picture(LABEL + place * (SIDE + GAP), top, picture, SIDE / picture.width)
    size = max(LABEL + len(columns) * (SIDE + GAP), sheet.right + GAP), 2 * GAP + 14 + len(rows) * (SIDE + GAP)
    return sheet.drawn(size)


def _rows_of_trainings(stages: Mapping[str, Train], outputs: Mapping[str, Path]) -> Iterator[tuple[str, list[Path]]]:
    """Yield the label and the last previews of each training."""
    settings = {name: dict(_flat(to_dict(stage))) for name, stage in stages.items()}
    names = dict.fromkeys(name for each in settings.values() for name in each)
    differing = [name for name in names if len({json.dumps(each.get(name)) for each in settings.values()}) > 1]
    for name in stages:
        said = {knob: settings[name][knob] for knob in differing if settings[name].get(knob) is not None}
        label = ", ".join(_said(knob, value) for knob, value in said.items())
        yield label, [*_previews(outputs[name]).values()][-1]


def _rows_of_steps(output: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yield the step and the previews of each step of a training."""
    for step, files in _previews(output).items():
        yield f"step {step}", files


def _previews(output: Path) -> dict[int, list[Path]]:
    """Return the previews of a training, by step."""
    found: dict[int, list[Path]] = {}
    for file in sorted(output.rglob("step-*.png")):
        if (match := STEP.fullmatch(file.name)) is not None:
            found.setdefault(int(match[1]), []).append(file)
    return found


def _flat(value: object, at: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _flat(each, f"{at}.{name}" if at else str(name))
    else:
        yield at, value


def _said(knob: str, value: object) -> str:
    """Return a setting as text: the last part of its name, or the kind alone."""
    name = knob.rpartition(".")[2]
    return str(value) if name == "type" else f"{name} {value:g}" if isinstance(value, float) else f"{name} {value!r}"


if __name__ == "__main__":
    draw(Path(sys.argv[1]), sys.argv[3:]).save(sys.argv[2], optimize=True)
