"""`matrix:` on a stage: expands it to several stages, a cell for each combination of values.

    penny:
      uses: train
      matrix:
        adapter.rank: [8, 32]
        optimizer.type: [prodigy, adamw]
        exclude: [{adapter.rank: 32, optimizer.type: adamw}]
        include: [{adapter.rank: 64, steps: 3000}]

gives `penny-8-prodigy`, `penny-8-adamw`, `penny-32-prodigy` and `penny-64-3000`. A stage with `matrix: $penny` is expanded
to one stage for each of those, in which `$penny` refers to that cell. In a list, `$penny` stands for all cells.

With `sample: 12` the cells are twelve samples over lists and ranges (see `matrix_samples`); with `keep: 3` only
three of the cells train to the end (see `halved_matrix`).
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lorapipe.errors import InputError, Problem, Problems, listed, near_miss
from lorapipe.limits import MOST_CELLS, MOST_SETTINGS, MOST_STAGES
from lorapipe.pipeline.addresses import address_in
from lorapipe.pipeline.expansion_limits import Allowance, size
from lorapipe.pipeline.matrix_samples import KEEP, SAMPLE, asked, axis_of, samples
from lorapipe.pipeline.overrides import put
from lorapipe.pipeline.variables import Variables
from lorapipe.spec import Address, canonical, show
from lorapipe.spec.reference import REFERENCE

NAME_LENGTH = 60
VERY_MANY = 10**12
NO_AXES = ("include", "exclude", SAMPLE, KEEP)
"""Keys of a matrix that are no settings."""
CELL = "cell"
"""`${cell}` is the part of a cell's name after the stage's name."""


@dataclass
class Expansion:
    """The stages of a document after expansion; `cells` lists the cells of each stage with a matrix.

    `origins` maps addresses of expanded stages to addresses in the document. `spread` has the addresses at which one
    reference was replaced by several. `keeps` has the stages of whose cells only so many train to the end.
    """

    stages: dict[str, object] = field(default_factory=dict)
    cells: dict[str, list[str]] = field(default_factory=dict)
    origins: dict[Address, Address] = field(default_factory=dict)
    spread: dict[Address, str] = field(default_factory=dict)
    keeps: dict[str, int] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)
    allowance: Allowance = field(default_factory=lambda: Allowance("with its matrices expanded"))

    def origin(self, address: Address) -> Address:
        """Return an address in the document, by the longest known prefix."""
        for length in range(len(address), 0, -1):
            source = self.origins.get(address[:length])
            if source is not None:
                return (*source, *address[length:])
        return address


class _Cell(NamedTuple):
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


def expand(stages: Mapping[str, object]) -> Expansion:
    """Expand every matrix, and replace every reference to a stage with a matrix."""
    found = Expansion()
    for name in _in_order(stages):
        if len(found.stages) > MOST_STAGES:
            raise InputError(Problem(f"gives more than {MOST_STAGES} stages.", path=("stages", name)))
        stage = stages[name]
        matrix = stage.get("matrix") if isinstance(stage, dict) else None
        if matrix is None or not isinstance(stage, dict):
            found.stages[name] = stage
            continue
        for suffix, plain, origins in _expanded(name, stage, matrix, found):
            _add_cell(name, f"{name}-{suffix}", plain, origins, stages, found)
    if found.cells:
        for name, stage in found.stages.items():
            found.stages[name] = _spread(stage, ("stages", name), found)
    return found


def _add_cell(
    name: str,
    cell: str,
    plain: object,
    origins: Mapping[Address, Address],
    stages: Mapping[str, object],
    found: Expansion,
) -> None:
    """Add a cell as a stage, whose name must be free."""
    if cell in stages or cell in found.stages:
        what = f"gives {cell!r} twice." if cell in found.stages else f"gives {cell!r}, which already is a stage."
        found.problems.add(Problem(what, path=("stages", name, "matrix")))
        return
    found.cells.setdefault(name, []).append(cell)
    found.stages[cell] = plain
    found.origins[("stages", cell)] = ("stages", name)
    found.origins |= {("stages", cell, *at): source for at, source in origins.items()}


def _in_order(stages: Mapping[str, object]) -> list[str]:
    """Return the stages so that one with `matrix: $other` comes after `other`."""
    order: dict[str, None] = {}
    follows = {name: _followed(stage) for name, stage in stages.items()}
    for name in stages:
        chain: dict[str, None] = {}
        need: str | None = name
        while need is not None and need in stages and need not in chain and need not in order:
            chain[need] = None
            need = follows.get(need)
        order.update(dict.fromkeys(reversed(chain)))
    return list(order)


def _followed(stage: object) -> str | None:
    matrix = stage.get("matrix") if isinstance(stage, dict) else None
    match = REFERENCE.fullmatch(matrix) if isinstance(matrix, str) else None
    return match[1] if match else None


def _expanded(
    name: str, stage: dict[str, object], matrix: object, found: Expansion
) -> Iterator[tuple[str, object, dict[Address, Address]]]:
    """Yield the suffix, plain form and origins of each cell."""
    rest = {key: value for key, value in stage.items() if key != "matrix"}
    at: Address = ("stages", name, "matrix")
    followed = _followed(stage)
    if followed is not None:
        followed_cells = found.cells.get(followed, ())
        found.allowance.take(0, size(rest)[1] * len(followed_cells))
        for cell in followed_cells:
            suffix = cell[len(followed) + 1 :]
            yield suffix, _with_cell(_pointed(rest, followed, cell), suffix, found.allowance), {}
        if followed not in found.cells:
            cure = near_miss(followed, list(found.cells)) if found.cells else "Write a mapping of settings to lists."
            found.problems.add(Problem(f"{matrix!r} is not a stage with a matrix.", cure=cure, path=at))
        return
    cells = _cells(matrix, at, found.problems)
    _note_keep(name, matrix, found)
    letters = size(rest)[1]
    for each in cells:
        if len(each.values) > MOST_SETTINGS:
            what = f"gives a cell {len(each.values)} settings; {MOST_SETTINGS} is the most."
            found.problems.add(Problem(what, path=at))
            return
        found.allowance.take(0, letters + size(each.values)[1])
        plain = {name: dict(rest)}
        origins = {}
        for knob, value in each.values.items():
            address = address_in(name, knob)
            problem = put({"stages": plain}, address, value)
            if problem is not None:
                found.problems.add(Problem(problem.what, cure=problem.cure, path=each.places[knob]))
            origins[address[2:]] = each.places[knob]
        yield each.suffix, _with_cell(plain[name], each.suffix, found.allowance), origins


def _note_keep(name: str, matrix: object, found: Expansion) -> None:
    keep = matrix.get(KEEP) if isinstance(matrix, dict) else None
    if keep is None:
        return
    if type(keep) is int and keep >= 1:
        found.keeps[name] = keep
    else:
        found.problems.add(Problem("is no number of cells.", cure="Write 3.", path=("stages", name, "matrix", KEEP)))


def _cells(matrix: object, at: Address, problems: Problems) -> list[_Cell]:
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


def _drawn(matrix: dict[str, object], axes: Mapping[str, object], at: Address) -> list[_Cell] | Problem:
    """Return the cells of a matrix with `sample`."""
    found, axes_found = asked(matrix, at), {key: axis_of(value, (*at, key)) for key, value in axes.items()}
    for each in (found, *axes_found.values()):
        if isinstance(each, Problem):
            return each
    if not axes_found:
        return Problem("has no settings to sample.", path=at)
    assert isinstance(found, tuple)
    axes_to_sample = {key: axis for key, axis in axes_found.items() if not isinstance(axis, Problem)}
    return [_Cell(each, {key: (*at, key) for key in each}) for each in samples(axes_to_sample, *found)]


def _selected(
    matrix: dict[str, object],
    axes: Mapping[str, list[object]],
    at: Address,
    problems: Problems,
    drawn: list[_Cell] | None = None,
) -> list[_Cell]:
    cells = _combinations(axes, at) if drawn is None else drawn
    for number, pattern in enumerate(_patterns(matrix, "exclude", at, problems)):
        before, cells = len(cells), [cell for cell in cells if not _matches(cell, pattern)]
        if len(cells) == before:
            cure = f"Its settings are {listed(axes)}."
            problems.add(Problem("matches no combination.", cure=cure, path=(*at, "exclude", number)))
    for number, more in enumerate(_patterns(matrix, "include", at, problems)):
        cells = _included(cells, more, axes, (*at, "include", number))
    return cells


def _problem_of_cells(cells: Sequence[_Cell], at: Address, problems: Problems) -> Problem | None:
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


def _combinations(axes: Mapping[str, list[object]], at: Address) -> list[_Cell]:
    """Return a cell for each combination of the values; none if there are no settings."""
    if not axes:
        return []
    return [
        _Cell(
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


def _matches(cell: _Cell, pattern: Mapping[str, object]) -> bool:
    return all(key in cell.values and cell.values[key] == value for key, value in pattern.items())


def _included(cells: list[_Cell], more: dict[str, object], axes: Mapping[str, object], at: Address) -> list[_Cell]:
    """Add `more` to the cells that agree with it in all common axes; if there are none, add it as a new cell."""
    known = {key: value for key, value in more.items() if key in axes}
    places = {key: (*at, key) for key in more}
    if known and any(_matches(cell, known) for cell in cells) and len(known) < len(more):
        return [
            _Cell({**cell.values, **more}, {**places, **cell.places}) if _matches(cell, known) else cell
            for cell in cells
        ]
    return [*cells, _Cell(dict(more), places)]


def _with_cell(plain: object, suffix: str, allowance: Allowance) -> object:
    """Replace `${cell}`."""
    return Variables({CELL: suffix}, None, allowance).fill(plain, ())


def _pointed(plain: object, stage: str, cell: str) -> object:
    """Replace `$stage` by that cell."""
    if isinstance(plain, dict):
        return {key: _pointed(item, stage, cell) for key, item in plain.items()}
    if isinstance(plain, list):
        return [_pointed(item, stage, cell) for item in plain]
    match = REFERENCE.fullmatch(plain) if isinstance(plain, str) else None
    return f"${cell}{match[2]}" if match and match[1] == stage else plain


def _spread(plain: object, at: Address, found: Expansion) -> object:
    """Replace each reference to a stage with a matrix by the list of its cells; inside a list, by its items."""
    if isinstance(plain, dict):
        return {key: _spread(item, (*at, key), found) for key, item in plain.items()}
    if isinstance(plain, list):
        items: list[object] = []
        for index, item in enumerate(plain):
            cells = _all_cells(item, found)
            new: list[object] = [_spread(item, (*at, index), found)] if cells is None else [*cells]
            found.allowance.take(len(new) - 1, sum(map(len, cells or ())))
            found.origins |= {(*at, len(items) + number): found.origin((*at, index)) for number in range(len(new))}
            items += new
        return items
    spread = _all_cells(plain, found)
    if spread is None:
        return plain
    found.spread[at] = str(plain)
    found.allowance.take(len(spread))
    return spread


def _all_cells(plain: object, found: Expansion) -> list[str] | None:
    match = REFERENCE.fullmatch(plain) if isinstance(plain, str) else None
    if match is None or match[1] not in found.cells:
        return None
    return [f"${cell}{match[2]}" for cell in found.cells[match[1]]]


def _slug(value: object) -> str:
    if isinstance(value, dict):
        return "-".join(_slug(item) for item in value.values())
    if isinstance(value, list):
        return "-".join(map(_slug, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^\w-]+", "_", text).strip("_-") or "none"
