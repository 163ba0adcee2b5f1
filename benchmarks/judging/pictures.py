"""The pictures of docs/judging.md: what each verdict looks like, from the planted trainings that were painted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.judging.grids import BASE, LOW, Bench, Cell
from benchmarks.judging.parts_found import parts_found
from benchmarks.judging.trainings import planted
from lorapipe.drawing.sheet import FAINT, Sheet
from lorapipe.drawing.text import width

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE, GAP, EDGE, SIZE = 80, 6, 10, 12
"""Pixels of a picture, between pictures, around all, and of texts."""
LINES = 5
"""Lines of a prompt at most."""
COLOURS = 96
"""Colours of the palette of a file."""


@dataclass(frozen=True)
class Column:
    """A column of a strip: a cell (`low` at little guidance), None for training pictures, and what stands above."""

    title: str
    cell: Cell | None
    low: bool = False


@dataclass(frozen=True)
class Strip:
    """A picture of the docs: some prompts (rows, by number) of cells of one training, the pictures of one noise."""

    name: str
    training: str
    columns: Sequence[Column]
    rows: Sequence[int]
    number: int = 0


def at(step: int, strength: float = 1.0, text_encoder: float | None = None) -> Cell:
    """A cell, both parts alike unless the text encoder's strength is given."""
    return Cell(step, strength, strength if text_encoder is None else text_encoder)


SHOWN = (0, 2)
"""Prompts of a strip: the trigger word alone, and a scene."""
FIRST = Column("the base", BASE)
STEPS_SHOWN, STRENGTHS_SHOWN = (20, 40, 80, 120, 240), (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
STRIPS = (
    Strip("progress", "subject11-good", (FIRST, *(Column(f"step {step}", at(step)) for step in STEPS_SHOWN)), SHOWN),
    Strip(
        "strengths",
        "subject11-good",
        (FIRST, *(Column(f"strength {each:g}", at(240, each)) for each in STRENGTHS_SHOWN)),
        SHOWN,
    ),
    Strip(
        "parts",
        "subject11-good",
        (
            Column("both 1", at(240)),
            *(Column(f"U-Net {each:g}", at(240, each, 1.0)) for each in (0.0, 0.5, 2.0, 3.0)),
            *(Column(f"text encoder {each:g}", at(240, 1.0, each)) for each in (0.0, 8.0)),
        ),
        SHOWN,
    ),
    Strip("copies", "subject7-few", (Column("training picture", None), Column("painted", at(400))), (0, 1, 2, 3)),
    Strip("broken", "subject11-fast", (FIRST, Column("rate × 8", at(160))), SHOWN),
    Strip("leaks", "subject11-leak-scene", (FIRST, Column("trained in a meadow", at(240))), (1, 2, 3)),
    Strip("captions", "subject11-wrong", (FIRST, Column("wrong captions", at(240))), (1, 2, 3)),
    Strip(
        "style",
        "style0-good",
        (FIRST, Column("CFG 4", at(240)), Column("CFG 1.5", at(240), low=True), Column("training picture", None)),
        (1, 2, 3),
    ),
)


def draw_all(work: Path, out: Path) -> Iterator[str]:
    """Write every strip whose training has been painted; yield a line about each."""
    benches = {each.key: Bench(work, each) for each in planted()}
    out.mkdir(parents=True, exist_ok=True)
    for strip in STRIPS:
        bench = benches[strip.training]
        if not bench.done:
            yield f"{strip.name}: {strip.training} is not painted"
            continue
        file = out / f"{strip.name}.png"
        drawn(strip, bench).quantize(COLOURS).save(file, optimize=True)
        yield f"{file}: {file.stat().st_size / 1000:.0f} kB"
    lantern = benches["concept0-good"]
    if lantern.done:
        parts_found(lantern, _training(lantern)).quantize(COLOURS).save(out / "parts-found.png", optimize=True)
        yield f"{out / 'parts-found.png'}"


def drawn(strip: Strip, bench: Bench) -> Image:
    """The strip, labelled."""
    sheet, prompts = Sheet(), list(bench.training.prompts())
    notes = [_lines(prompts[prompt]) for prompt in strip.rows]
    left = EDGE + max(width(line, SIZE) for lines in notes for line in lines) + 2 * GAP
    x, tops = left, [EDGE + 20 + place * (SIDE + GAP) for place in range(len(strip.rows))]
    for column in strip.columns:
        sheet.text(x, EDGE, column.title, SIZE, FAINT)
        for top, prompt in zip(tops, strip.rows, strict=True):
            picture = _picture(bench, column, prompt, strip.number)
            sheet.picture(x, top, picture, SIDE / picture.width)
        x += max(SIDE, width(column.title, SIZE)) + GAP
    for top, lines in zip(tops, notes, strict=True):
        sheet.lines(EDGE, top + (SIDE - 15 * len(lines)) // 2, lines, SIZE, 15)
    return sheet.drawn((x - GAP + EDGE, tops[-1] + SIDE + EDGE))


def _lines(prompt: str) -> list[str]:
    """A prompt's tags, one a line; of many the first."""
    tags = [each.strip() for each in prompt.split(",")]
    return tags if len(tags) <= LINES else [*tags[: LINES - 1], "…"]


def _picture(bench: Bench, column: Column, prompt: int, number: int) -> Image:
    if column.cell is not None:
        return _painted(bench, column.cell, column.low, prompt, number)
    training = _training(bench)
    if bench.training.name != "few":
        return training[prompt]
    painted = np.asarray(_painted(bench, at(400), False, prompt, number), dtype=float)
    return min(training, key=lambda each: float(((np.asarray(each, dtype=float) - painted) ** 2).mean()))


def _training(bench: Bench) -> list[Image]:
    from PIL import Image

    return [Image.open(bench.dataset.images / each.path).convert("RGB") for each in bench.manifest.training]


def _painted(bench: Bench, cell: Cell, low: bool, prompt: int, number: int) -> Image:
    """A painted picture; of what was packed there is a row of all pictures of a cell."""
    from PIL import Image

    folder = bench.folder / "cells" / (LOW if low else "") / cell.slug
    file = folder / f"{prompt + 1:02d}-{number + 1}.png"
    if file.exists():
        return Image.open(file).convert("RGB")
    name = f"{LOW.replace('/', '-') if low else ''}{cell.slug}.webp"
    row = Image.open(bench.folder / "shown" / name).convert("RGB")
    place = prompt * bench.images.count + number
    return row.crop((place * row.height, 0, (place + 1) * row.height, row.height))
