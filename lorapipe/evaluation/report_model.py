"""What was found, told: the grid's tables, the charts, the page's story and the data beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lorapipe.evaluation.grid_image import Column, Row, Table
from lorapipe.evaluation.grid_plan import BASE, Cell
from lorapipe.evaluation.image_store import Gallery
from lorapipe.evaluation.report import Pair, Story, TableRow
from lorapipe.evaluation.results import Evidence
from lorapipe.evaluation.scorer import Measured
from lorapipe.evaluation.selection import merit
from lorapipe.evaluation.svg_chart import Chart, Line, Point, smooth
from lorapipe.evaluation.verdict import Verdict

if TYPE_CHECKING:
    from PIL.Image import Image

PAIRS = 6
"""Prompts shown before and after, at the head of the page."""
NOTES = (
    "Likeness is how near the pictures are to the training pictures: 0 % is the base's, 100 % is as near as the training "
    "pictures are to one another. Above 100 % they are nearer than that: copies.",
    "Following is how much nearer the pictures are to their own prompt than to the other prompts: 100 % is as much as the "
    "base's, 0 % is pictures that have nothing to do with the prompt.",
    "Merit joins the two (their harmonic mean, each at most 100 %); the verdict goes by it, and takes the earliest "
    "snapshot among those that differ from the highest by no more than chance.",
    "CLIP-I and CLIP-T are the bare cosines: of the pictures with the training pictures, and with their prompts.",
    "The loss is the training's own at fixed noise and timesteps, as a share of the base's.",
)


@dataclass(frozen=True)
class Found:
    """Everything that an evaluation has found.

    `measured` has the base (`BASE`) too. `log` is the training's loss by step, `about` how it was all made.
    """

    evidence: Evidence
    verdict: Verdict
    measured: Mapping[Cell, Measured]
    gallery: Gallery
    training: Sequence[Image]
    log: Sequence[Point]
    about: Mapping[str, str]

    @property
    def best(self) -> Cell:
        """The cell to use."""
        return self.verdict.best

    @property
    def row(self) -> list[Cell]:
        """The snapshots at the best's strength, in order."""
        return [Cell(step, self.best.strength, self.best.text_encoder) for step in self.evidence.steps]

    @property
    def strengths(self) -> list[Cell]:
        """The best snapshot at all strengths that were tried with both parts alike, in order."""
        return sorted(cell for cell in self.measured if cell.step == self.best.step and cell.together)

    @property
    def apart(self) -> list[Cell]:
        """The best snapshot with its parts at strengths of their own; empty where that was not asked for."""
        cells = [cell for cell in self.measured if cell.step == self.best.step]
        return sorted(cells) if any(not cell.together for cell in cells) else []


# -------------------------------------------------------------------------------------------------------------- grid


def tables(found: Found) -> list[Table]:
    """The grid: snapshots, then strengths, then the parts' strengths against each other."""
    best, gallery = found.best, found.gallery
    steps = [Column("base"), *(Column(f"step {cell.step}", marked=cell == best) for cell in found.row)]
    made = [Table("Snapshots", f"at strength {best.strength:g}", tuple(steps), _rows(gallery, [BASE, *found.row]))]
    if len(found.strengths) > 1:
        titles = [Column("0", "the base"), *(Column(f"{c.strength:g}", marked=c == best) for c in found.strengths)]
        rows = _rows(gallery, [BASE, *found.strengths])
        made.append(Table("Strengths", f"of step {best.step}", tuple(titles), rows))
    if found.apart:
        made.append(_parts_table(found))
    return made


def _rows(gallery: Gallery, cells: Sequence[Cell]) -> tuple[Row, ...]:
    pictures = [gallery.pictures(cell) for cell in cells]
    count = gallery.count
    return tuple(
        Row(prompt, tuple(tuple(each[place * count : (place + 1) * count]) for each in pictures))
        for place, prompt in enumerate(gallery.prompts)
    )


def _parts_table(found: Found) -> Table:
    best, gallery = found.best, found.gallery
    across = sorted({cell.strength for cell in found.apart if not cell.together})
    down = sorted({cell.text_encoder for cell in found.apart if not cell.together})
    rows = tuple(
        Row(
            f"text encoder {theirs:g}",
            tuple(tuple(gallery.pictures(Cell(best.step, ours, theirs))[: gallery.count]) for ours in across),
        )
        for theirs in down
    )
    columns = tuple(Column(f"U-Net {ours:g}") for ours in across)
    return Table("Parts apart", f"of step {best.step}: {gallery.prompts[0]}", columns, rows)


# ------------------------------------------------------------------------------------------------------------- charts


def charts(found: Found) -> list[Chart]:
    """How likeness, following and losses went over the training; those without data are left empty."""
    evidence, chosen = found.evidence, found.best.step
    scored = [(cell.step, evidence.scores[cell]) for cell in found.row if cell in evidence.scores]
    likeness = tuple((step, fmean(scores.likeness)) for step, scores in scored)
    following = tuple((step, fmean(scores.following)) for step, scores in scored if scores.following is not None)
    lines = [Line("likeness", ((0, 0.0), *likeness))] if likeness else []
    lines += [Line("following", ((0, 1.0), *following), "second")] if following else []
    probes = sorted({0: evidence.probe, **evidence.probes}.items())
    losses = [Line("training", tuple((step, fmean(probe.training)) for step, probe in probes))]
    if evidence.probe.held_out:
        losses.append(Line("held out", tuple((step, fmean(probe.held_out)) for step, probe in probes), "second"))
    detail = f"At strength {found.best.strength:g}. Best is where the one has come and the other not yet gone."
    return [
        Chart("Likeness and following", detail, tuple(lines), chosen, percent=True),
        Chart(
            "Loss on fixed noise", "As a share of the base's. Held out rising: memorising.", tuple(losses), chosen, True
        ),
        Chart(
            "Training loss",
            "As the training saw it, smoothed.",
            (Line("loss", smooth(found.log), "third", False),),
            chosen,
        ),
    ]


# --------------------------------------------------------------------------------------------------------------- page


def story(found: Found, grid: Image) -> Story:
    """The page's contents."""
    return Story(
        verdict=found.verdict,
        figures=_figures(found),
        training=found.training,
        pairs=_pairs(found),
        grid=grid,
        charts=charts(found),
        columns=("likeness", "following", "merit", "CLIP-I", "CLIP-T", "loss", "held-out loss"),
        rows=[_table_row(found, cell, measured) for cell, measured in sorted(found.measured.items())],
        settings=found.about,
        notes=NOTES,
    )


def _figures(found: Found) -> dict[str, str]:
    scores = found.evidence.scores.get(found.best)
    figures = {}
    if scores is not None:
        figures["likeness"] = _percent(fmean(scores.likeness))
        if scores.following is not None:
            figures["following the prompt"] = _percent(fmean(scores.following))
    return {**figures, "snapshot": f"step {found.best.step}", "strength": f"{found.best.strength:g}"}


def _pairs(found: Found) -> list[Pair]:
    gallery = found.gallery
    before, after = gallery.pictures(BASE), gallery.pictures(found.best)
    places = range(0, len(before), gallery.count)
    pairs = zip(gallery.prompts, places, strict=True)
    return [Pair(prompt, before[place], after[place]) for prompt, place in list(pairs)[:PAIRS]]


def _table_row(found: Found, cell: Cell, measured: Measured) -> TableRow:
    scores = measured.scores
    probes = {BASE: found.evidence.probe} | {Cell(step, 1, 1): probe for step, probe in found.evidence.probes.items()}
    probe = probes.get(cell)
    figures = (
        _percent(fmean(scores.likeness)) if scores else "",
        _percent(fmean(scores.following)) if scores and scores.following else "",
        _percent(merit(scores)) if scores else "",
        _bare(measured.image_similarity),
        _bare(measured.text_similarity),
        _percent(fmean(probe.training)) if probe else "",
        _percent(fmean(probe.held_out)) if probe and probe.held_out else "",
    )
    return TableRow(str(cell), figures, cell == found.best)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if math.isfinite(share) else "not a number"


def _bare(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


# --------------------------------------------------------------------------------------------------------------- data


def data(found: Found) -> dict[str, Any]:
    """Everything as JSON types, for programs."""
    evidence = found.evidence
    return {
        "version": 1,
        "verdict": {**asdict(found.verdict), "best": asdict(found.best)},
        "cells": [_cell_data(cell, measured) for cell, measured in sorted(found.measured.items())],
        "probe": {
            str(step): {
                "training": fmean(probe.training),
                "held_out": fmean(probe.held_out) if probe.held_out else None,
            }
            for step, probe in sorted({0: evidence.probe, **evidence.probes}.items())
        },
        "prompts": found.gallery.prompts,
        "about": dict(found.about),
    }


def _cell_data(cell: Cell, measured: Measured) -> dict[str, Any]:
    scores = measured.scores
    return {
        **asdict(cell),
        "likeness": fmean(scores.likeness) if scores else None,
        "following": fmean(scores.following) if scores and scores.following else None,
        "merit": merit(scores) if scores else None,
        "clip_i": measured.image_similarity,
        "clip_t": measured.text_similarity,
        **asdict(measured.look),
        "broken": measured.broken,
    }
