"""What the report shows: the tables of the grid image, the charts, and the contents of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from lorapipe.evaluation.evaluation_result import EvaluationResult
from lorapipe.evaluation.grid_image import Column, Row, Table
from lorapipe.evaluation.grid_plan import BASE, PART_PROMPTS, Cell
from lorapipe.evaluation.image_store import ImageStore
from lorapipe.evaluation.measures import Measure
from lorapipe.evaluation.scorer import COPIES, IDENTITY, CellScores
from lorapipe.evaluation.selection import following, identity, merit
from lorapipe.evaluation.svg_chart import Chart, Line, Point, smooth
from lorapipe.evaluation.verdict import Verdict
from lorapipe.percent import percent

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.evaluation.base_comparison import BaseComparison
    from lorapipe.models import Role

PAIRS = 6
"""Prompts shown before and after, at the head of the page."""
LARGEST_PLACE = 120
"""Pixels of a place of the subject at most."""
NOTES = (
    "Identity is how much of the subject, or of the style, the pictures show, by features of the base's own "
    "denoiser: 100 % is as the training pictures show it.",
    "Following is how much of the prompts the pictures show, by tags that the captions taught: 100 % is as much as "
    "the training pictures show of their captions.",
    "Merit is identity × following × the share without artefacts. The verdict compares it among cells that show the "
    "subject, pooled with the snapshots before and after, and takes, of those that differ from the highest by no more "
    "than chance, the one with the lowest loss on held-out pictures.",
    "The loss is the training's own at fixed noise and timesteps, as a share of the base's.",
)


@dataclass(frozen=True)
class Pair:
    """A prompt's picture without and with the LoRA, from the same noise."""

    prompt: str
    base: Image
    best: Image


@dataclass(frozen=True)
class NearestPair:
    """A training picture beside the painted picture that comes nearest to it; `note` says how near."""

    training: Image
    painted: Image
    note: str


@dataclass(frozen=True)
class PartRow:
    """A part of the subject: its share of the figure, as text, and places of training pictures side by side."""

    share: str
    picture: Image


@dataclass(frozen=True)
class TableRow:
    """A row of scores, as text; the best is marked."""

    title: str
    values: tuple[str, ...]
    best: bool = False


@dataclass(frozen=True)
class ReportModel:
    """What the page shows, from top to bottom. Texts are plain: the template escapes them.

    `columns` are the titles of `rows`; `notes` explain them. `apart` are rows of the first three columns, `parts` what is
    taken for the subject.
    """

    verdict: Verdict
    figures: Mapping[str, str]
    training: Sequence[Image]
    pairs: Sequence[Pair]
    grid: Image
    charts: Sequence[Chart]
    columns: Sequence[str]
    rows: Sequence[TableRow]
    settings: Mapping[str, str]
    notes: Sequence[str] = ()
    nearest: Sequence[NearestPair] = ()
    apart: Sequence[TableRow] = ()
    parts: Sequence[PartRow] = ()


# -------------------------------------------------------------------------------------------------------------- grid


def tables(result: EvaluationResult) -> list[Table]:
    """The grid: snapshots, then strengths, then the parts' strengths against each other."""
    best, images = result.best, result.images
    steps = [Column("base"), *(Column(f"step {cell.step}", marked=cell == best) for cell in result.row)]
    made = [Table("Snapshots", f"at strength {best.strength:g}", tuple(steps), _rows(images, [BASE, *result.row]))]
    if len(result.strengths) > 1:
        titles = [Column("0", "the base"), *(Column(f"{c.strength:g}", marked=c == best) for c in result.strengths)]
        rows = _rows(images, [BASE, *result.strengths])
        made.append(Table("Strengths", f"of step {best.step}", tuple(titles), rows))
    if result.low_guidance:
        made.append(_guidance_table(result, result.low_guidance))
    if result.apart:
        made.append(_parts_table(result))
    return made


def bases_table(result: EvaluationResult, others: Mapping[str, EvaluationResult], compared: BaseComparison) -> Table:
    """The snapshot to use on each base, at the strength that it needs there."""
    first, *rest = compared.bases
    of_each = [(first, result), *((each, others[each.name]) for each in rest)]
    columns, pictures = [], []
    for each, found in of_each:
        columns.append(Column(each.name, f"at {each.strength:g}", marked=each is compared.best))
        pictures.append(_rows(found.images, [Cell(compared.step, each.strength, each.strength)]))
    rows = tuple(Row(same[0].title, tuple(row.cells[0] for row in same)) for same in zip(*pictures, strict=True))
    return Table("Bases", f"of step {compared.step}", tuple(columns), rows)


def _guidance_table(result: EvaluationResult, low: ImageStore) -> Table:
    """The best cell with little guidance beside the grid's."""
    both = zip(_rows(low, [result.best]), _rows(result.images, [result.best]), strict=True)
    rows = tuple(Row(less.title, less.cells + usual.cells) for less, usual in both)
    scored = result.results.low_guidance
    titles = (f"CFG {scored.low_cfg:g}", f"CFG {scored.cfg:g}") if scored else ("low CFG", "as above")
    return Table("Guidance", f"of {result.best}", (Column(titles[0]), Column(titles[1])), rows)


def _rows(images: ImageStore, cells: Sequence[Cell]) -> tuple[Row, ...]:
    pictures = [images.pictures(cell) for cell in cells]
    count = images.count
    return tuple(
        Row(prompt, tuple(tuple(each[place * count : (place + 1) * count]) for each in pictures))
        for place, prompt in enumerate(images.prompts)
    )


def _parts_table(result: EvaluationResult) -> Table:
    """The last sound snapshot with one part at another strength, the denoiser first, beside both at 1."""
    cells = [*_of_part(result, "denoiser"), *_of_part(result, "text_encoder")]
    both = next(cell for cell in result.apart if cell.uniform)
    columns = (Column("both 1"), *(Column(_part_title(result, cell)) for cell in cells))
    rows = _rows(result.images.of_prompts(PART_PROMPTS), [both, *cells])
    return Table("Parts apart", f"of step {both.step}", columns, rows)


def _of_part(result: EvaluationResult, role: Role) -> list[Cell]:
    """The cells with this part alone at another strength, in order."""
    cells = sorted(cell for cell in result.apart if not cell.uniform)
    return [cell for cell in cells if (cell.text_encoder == 1) == (role == "denoiser")]


def _part_title(result: EvaluationResult, cell: Cell) -> str:
    if cell.uniform:
        return "both 1"
    denoiser = cell.text_encoder == 1
    return f"{result.results.denoiser} {cell.strength:g}" if denoiser else f"text encoder {cell.text_encoder:g}"


# ------------------------------------------------------------------------------------------------------------- charts


def charts(result: EvaluationResult, log: Sequence[Point]) -> list[Chart]:
    """How identity, following and losses went over the training; those without data are left empty."""
    results, chosen = result.results, result.best.step
    scored = [(cell.step, results.pooled[cell]) for cell in result.row if cell in results.pooled]
    shown = tuple((step, identity(scores)) for step, scores in scored)
    followed = tuple((step, asked) for step, scores in scored if (asked := following(scores)) is not None)
    lines = [Line("identity", shown)] if shown else []
    lines += [Line("following", ((0, 1.0), *followed), "second")] if followed else []
    probes = sorted({0: results.probe, **results.probes}.items())
    losses = [Line("training", tuple((step, fmean(probe.training)) for step, probe in probes))]
    if results.probe.held_out:
        losses.append(Line("held out", tuple((step, fmean(probe.held_out)) for step, probe in probes), "second"))
    detail = (
        f"At strength {result.best.strength:g}. The best is where identity is high and following has not fallen yet."
    )
    return [
        Chart("Identity and following", detail, tuple(lines), chosen, percent=True),
        Chart(
            "Loss on fixed noise",
            "As a share of the base's. A held-out loss that rises means memorising.",
            tuple(losses),
            chosen,
            True,
        ),
        Chart(
            "Training loss",
            "Of the training itself, smoothed.",
            (Line("loss", smooth(log), "third", False),),
            chosen,
        ),
    ]


# --------------------------------------------------------------------------------------------------------------- page


def report_model(result: EvaluationResult, grid: Image, about: Mapping[str, str], log: Sequence[Point]) -> ReportModel:
    """The page's contents. `about` are the settings by name, `log` is the training loss by step."""
    return ReportModel(
        verdict=result.verdict,
        figures=_figures(result),
        training=result.training,
        pairs=_pairs(result),
        grid=grid,
        charts=charts(result, log),
        columns=(
            "identity",
            "following",
            "merit",
            *(each.title for each in _others(result).values()),
            "loss",
            "held-out loss",
        ),
        rows=[_table_row(result, cell, scored) for cell, scored in sorted(result.scored.items())],
        settings=about,
        nearest=_nearest(result),
        apart=_apart(result),
        parts=[PartRow(percent(each.share), _strip(each.pictures(result.training))) for each in result.parts],
        notes=(*NOTES, *(f"{each.title.capitalize()}: {each.meaning}." for each in _others(result).values())),
    )


def _figures(result: EvaluationResult) -> dict[str, str]:
    scores = result.results.pooled.get(result.best)
    figures = {}
    if scores is not None:
        figures["identity"] = percent(identity(scores))
        if (asked := following(scores)) is not None:
            figures["following the prompt"] = percent(asked)
        figures["agreement of other draws"] = percent(result.verdict.agreement)
    return {**figures, "snapshot": f"step {result.best.step}", "strength": f"{result.best.strength:g}"}


def _others(result: EvaluationResult) -> dict[str, Measure]:
    """The measures that are not identity itself; both opinions where identity or following are the mean of two."""
    return {name: each for name, each in result.measures.items() if (name,) != IDENTITY[result.results.kind]}


def _pairs(result: EvaluationResult) -> list[Pair]:
    images = result.images
    before, after = images.pictures(BASE), images.pictures(result.best)
    places = range(0, len(before), images.count)
    pairs = zip(images.prompts, places, strict=True)
    return [Pair(prompt, before[place], after[place]) for prompt, place in list(pairs)[:PAIRS]]


def _nearest(result: EvaluationResult) -> list[NearestPair]:
    """The best cell's pictures beside the training pictures that they come nearest to."""
    if not result.nearest:
        return []
    painted, copied = result.images.pictures(result.best), result.scored[result.best].figures.get(COPIES, ())
    return [
        NearestPair(
            result.training[each.training],
            painted[each.painted],
            f"copy {percent(copied[each.painted])}" if copied else "",
        )
        for each in result.nearest
    ]


def _strip(pictures: Sequence[Image]) -> Image:
    """Pictures side by side, in squares of one size."""
    import PIL.Image

    side = min(LARGEST_PLACE, *(picture.width for picture in pictures))
    strip = PIL.Image.new("RGB", (side * len(pictures), side))
    for place, picture in enumerate(pictures):
        strip.paste(picture.convert("RGB").resize((side, side)), (side * place, 0))
    return strip


def _table_row(result: EvaluationResult, cell: Cell, scored: CellScores) -> TableRow:
    scores = scored.scores
    probes = {BASE: result.results.probe} | {Cell(step, 1, 1): probe for step, probe in result.results.probes.items()}
    probe = probes.get(cell)
    asked = following(scores) if scores else None
    values = (
        percent(identity(scores)) if scores else "",
        "" if asked is None else percent(asked),
        percent(merit(scores)) if scores else "",
        *(percent(scored.means[name]) if name in scored.means else "" for name in _others(result)),
        percent(fmean(probe.training)) if probe else "",
        percent(fmean(probe.held_out)) if probe and probe.held_out else "",
    )
    return TableRow(str(cell), values, cell == result.best)


def _apart(result: EvaluationResult) -> list[TableRow]:
    """What the last sound snapshot shows with one part at another strength: the first three columns."""
    both = [cell for cell in result.apart if cell.uniform]
    cells = [*both, *_of_part(result, "denoiser"), *_of_part(result, "text_encoder")]
    rows = [_table_row(result, cell, result.apart[cell]) for cell in cells]
    return [TableRow(_part_title(result, cell), row.values[:3]) for cell, row in zip(cells, rows, strict=True)]
