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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lorapipe.errors import InputError, Problem, Problems, near_miss
from lorapipe.limits import MOST_SETTINGS, MOST_STAGES
from lorapipe.pipeline.addresses import address_in
from lorapipe.pipeline.expansion_limits import Allowance, size
from lorapipe.pipeline.matrix_cells import cells_of
from lorapipe.pipeline.matrix_samples import KEEP
from lorapipe.pipeline.overrides import put
from lorapipe.pipeline.variables import Variables
from lorapipe.spec import Address
from lorapipe.spec.reference import REFERENCE

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
    cells = cells_of(matrix, at, found.problems)
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
