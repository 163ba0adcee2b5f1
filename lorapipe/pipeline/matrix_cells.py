"""The cells of one `matrix:`: each combination of its values, or samples of them, without `exclude` and with `include`."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lorapipe.errors import Problem, Problems, listed
from lorapipe.limits import MOST_CELLS
from lorapipe.pipeline.matrix_samples import KEEP, SAMPLE, asked, axis_of, samples
from lorapipe.spec import Address, canonical, show

NAME_LENGTH = 60
VERY_MANY = 10**12
NO_AXES = ("include", "exclude", SAMPLE, KEEP)
"""Keys of a matrix that are no settings."""


class Cell(NamedTuple):
    """One combination: knob → value, and the address of each value below `matrix`."""

    values: dict[str, object]
    places: dict[str, Address]

    @property
    def suffix(self) -> str:
        """The suffix of its name, `8-prodigy`: unique, and independent of the other cells."""
        text = "-".join(_slug(value) for value in self.values.values())
        if len(text) <= NAME_LENGTH and text:
            return text
        return f"{text[: NAME_LENGTH - 9]}-{hashlib.sha256(canonical(self.values)).hexdigest()[:8]}"


def cells_of(matrix: object, at: Address, problems: Problems) -> list[Cell]:
    """Return the combinations of a matrix, without `exclude` and with `include`."""
    if not isinstance(matrix, dict) or not matrix:
        cure = "Write `matrix: {adapter.rank: [8, 32]}`, or `matrix: $stage` to follow another one."
        problems.add(Problem("is not a mapping of settings to lists of values.", cure=cure, path=at))
        return []
    axes = {key: value for key, value in matrix.items() if key not in NO_AXES}
    drawn = _drawn(matrix, axes, at) if SAMPLE in matrix else None
    problem = drawn if isinstance(drawn, Problem) else None if drawn else _problem_of_axes(axes, at)
    if problem is None:
        cells = _selected(matrix, axes, at, problems, drawn if isinstance(drawn, list) else None)
        problem = _problem_of_cells(cells, at, problems)
    if problem is not None:
        problems.add(problem)
        return []
    return cells


def _drawn(matrix: dict[str, object], axes: Mapping[str, object], at: Address) -> list[Cell] | Problem:
    """Return the cells of a matrix with `sample`."""
    found, axes_found = asked(matrix, at), {key: axis_of(value, (*at, key)) for key, value in axes.items()}
    for each in (found, *axes_found.values()):
        if isinstance(each, Problem):
            return each
    if not axes_found:
        return Problem("has no settings to sample.", path=at)
    assert isinstance(found, tuple)
    axes_to_sample = {key: axis for key, axis in axes_found.items() if not isinstance(axis, Problem)}
    return [Cell(each, {key: (*at, key) for key in each}) for each in samples(axes_to_sample, *found)]


def _selected(
    matrix: dict[str, object],
    axes: Mapping[str, list[object]],
    at: Address,
    problems: Problems,
    drawn: list[Cell] | None = None,
) -> list[Cell]:
    cells = _combinations(axes, at) if drawn is None else drawn
    for number, pattern in enumerate(_patterns(matrix, "exclude", at, problems)):
        before, cells = len(cells), [cell for cell in cells if not _matches(cell, pattern)]
        if len(cells) == before:
            cure = f"Its settings are {listed(axes)}."
            problems.add(Problem("matches no combination.", cure=cure, path=(*at, "exclude", number)))
    for number, more in enumerate(_patterns(matrix, "include", at, problems)):
        cells = _included(cells, more, axes, (*at, "include", number))
    return cells


def _problem_of_cells(cells: Sequence[Cell], at: Address, problems: Problems) -> Problem | None:
    if len(cells) > MOST_CELLS:
        return Problem(f"has {len(cells)} cells; {MOST_CELLS} is the most.", path=at)
    return None if cells or problems else Problem("leaves no combination.", path=at)


def _problem_of_axes(axes: Mapping[str, object], at: Address) -> Problem | None:
    """Return why these settings cannot be combined, or None."""
    count = 1
    for key, values in axes.items():
        if isinstance(values, dict) and {"from", "to"} <= {*values}:
            cure = "Add `sample: 12` to the matrix, or write a list of values."
            return Problem("is a range, of which a number of samples is taken.", cure=cure, path=(*at, key))
        if not isinstance(values, list) or not values:
            return Problem("is not a list of values.", cure=f"Write [{show(values)}, …].", path=(*at, key))
        count = min(count * len(values), VERY_MANY)
    if count > MOST_CELLS:
        counted = count if count < VERY_MANY else "very many"
        return Problem(f"has {counted} combinations; {MOST_CELLS} is the most.", path=at)
    return None


def _combinations(axes: Mapping[str, list[object]], at: Address) -> list[Cell]:
    """Return a cell for each combination of the values; none if there are no settings."""
    if not axes:
        return []
    return [
        Cell(
            {key: axes[key][number] for key, number in zip(axes, each, strict=True)},
            {key: (*at, key, number) for key, number in zip(axes, each, strict=True)},
        )
        for each in itertools.product(*(range(len(values)) for values in axes.values()))
    ]


def _patterns(matrix: dict[str, object], word: str, at: Address, problems: Problems) -> list[dict[str, object]]:
    given = matrix.get(word) or []
    if not isinstance(given, list) or not all(isinstance(each, dict) and each for each in given):
        problems.add(Problem("is not a list of mappings.", cure="Write [{adapter.rank: 8}].", path=(*at, word)))
        return []
    if len(given) > MOST_CELLS:
        problems.add(Problem(f"has {len(given)} entries; {MOST_CELLS} is the most.", path=(*at, word)))
        return []
    return given


def _matches(cell: Cell, pattern: Mapping[str, object]) -> bool:
    return all(key in cell.values and cell.values[key] == value for key, value in pattern.items())


def _included(cells: list[Cell], more: dict[str, object], axes: Mapping[str, object], at: Address) -> list[Cell]:
    """Add `more` to the cells that agree with it in all common axes; if there are none, add it as a new cell."""
    known = {key: value for key, value in more.items() if key in axes}
    places = {key: (*at, key) for key in more}
    if known and any(_matches(cell, known) for cell in cells) and len(known) < len(more):
        return [
            Cell({**cell.values, **more}, {**places, **cell.places}) if _matches(cell, known) else cell
            for cell in cells
        ]
    return [*cells, Cell(dict(more), places)]


def _slug(value: object) -> str:
    if isinstance(value, dict):
        return "-".join(_slug(item) for item in value.values())
    if isinstance(value, list):
        return "-".join(map(_slug, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^\w-]+", "_", text).strip("_-") or "none"
