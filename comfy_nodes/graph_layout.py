"""The places of a graph's nodes: stages from left to right, what a stage is given beside it, branches below one another.

    column   a stage is to the right of all stages that it depends on
    lane     a chain of stages is one row; where a chain branches, the second branch is the next row
    small    adapters, optimizers, families, groups of settings: a column to the left of their stage. Those at the stage's
             default are collapsed to their titles

A link between stages that are no neighbours runs above the nodes of its lane, by points that the page calls reroutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .node import Node

GAP, SMALL_GAP = 110, 110
"""Width between columns, and between small nodes and their stage, for links."""
WIDTHS = {"stage": 340, "union": 300, "group": 300, "list": 260, "pipeline": 340, "graph": 300}
HEAD, SLOT, WIDGET, LINES = 40, 20, 24, 76
"""Heights in the page's pixels."""
GROWTH = 480
"""Free height below a stage's node, which grows when it shows a text, a curve and pictures."""
CORRIDOR = 50
"""Height above a lane's nodes, for links that pass them."""
LANE = 110
"""Free height above small nodes, for the link from the stage before."""
COLLAPSED = (230, 30)
TITLE = 30
"""Height of a title, which the page draws above the place of a node."""
Point = tuple[int, int]


@dataclass
class Placed:
    """A node in a graph. `links` maps an input to the id of the node and the index of the output that it comes from.

    `bends` maps an input to the points through which its link goes.
    """

    id: int
    node: Node
    widgets: dict[str, Any] = field(default_factory=dict)
    links: dict[str, tuple[int, int]] = field(default_factory=dict)
    bends: dict[str, tuple[Point, ...]] = field(default_factory=dict)
    name: str = ""
    """The name of its stage, or of the stage that it belongs to."""
    title: str = ""
    at: Point = (0, 0)
    is_collapsed: bool = False

    @property
    def full_size(self) -> Point:
        """Width and height in pixels, approximately as the page would choose them, if it is not collapsed."""
        sockets = sum(1 for each in self.node.inputs if each.widget is None)
        widgets = [each.widget for each in self.node.inputs if each.widget is not None and not each.rare]
        rows = sum(LINES if each.multiline else WIDGET for each in widgets)
        return WIDTHS[self.node.role], HEAD + SLOT * max(sockets, len(self.node.outputs)) + rows

    @property
    def size(self) -> Point:
        """Width and height in pixels as it is shown."""
        return COLLAPSED if self.is_collapsed else self.full_size


@dataclass
class Cell:
    """A stage with its small nodes, and its place: a column and a lane."""

    stage: Placed
    small: Sequence[Placed]
    column: int = 0
    lane: int = 0

    @property
    def nodes(self) -> list[Placed]:
        """All of its nodes."""
        return [*self.small, self.stage]

    @property
    def height(self) -> int:
        """Its height with room to grow."""
        small = sum(each.size[1] + TITLE + SLOT for each in self.small)
        return max(self.stage.size[1] + GROWTH, LANE + small)

    @property
    def small_width(self) -> int:
        """The width of the column of its small nodes."""
        return max((each.size[0] for each in self.small), default=-SMALL_GAP) + SMALL_GAP


def arrange(cells: Sequence[Cell]) -> None:
    """Place the nodes of all stages, which are in the order of their dependencies."""
    _choose_places(cells)
    lefts, tops = _lefts(cells), _tops(cells)
    for each in cells:
        left, top = lefts[each.column], tops[each.lane]
        small_width = max(other.small_width for other in cells if other.column == each.column)
        y = top + LANE
        for small in sorted(each.small, key=lambda one: (not one.is_collapsed, one.size[1])):
            small.at = (left + small_width - SMALL_GAP - small.size[0], y)
            y += small.size[1] + TITLE + SLOT
        each.stage.at = (left + small_width, top)
    _bend(cells, tops)
    _name_alike([one for each in cells for one in each.nodes])


def _choose_places(cells: Sequence[Cell]) -> None:
    taken: set[tuple[int, int]] = set()
    for each in cells:
        before = _before(each, cells)
        each.column = max((other.column + 1 for other in before), default=0)
        each.lane = max(before, key=lambda other: other.column).lane if before else 0
        goes_on = any(each in _before(other, cells) for other in cells)
        while (each.column, each.lane) in taken:
            if goes_on or not before:
                each.lane += 1
            else:
                each.column += 1
        taken.add((each.column, each.lane))


def _before(cell: Cell, cells: Sequence[Cell]) -> list[Cell]:
    """Return the stages that a stage is linked to."""
    sources = {source for each in cell.nodes for source, _ in each.links.values()}
    return [other for other in cells if other is not cell and other.stage.id in sources]


def _lefts(cells: Sequence[Cell]) -> list[int]:
    """Return the left edge of each column."""
    lefts, left = [], 0
    for column in range(max((each.column for each in cells), default=-1) + 1):
        found = [each for each in cells if each.column == column]
        lefts.append(left)
        left += max(each.small_width for each in found) + max(each.stage.size[0] for each in found) + GAP
    return lefts


def _tops(cells: Sequence[Cell]) -> list[int]:
    """Return the upper edge of the nodes of each lane."""
    tops, top = [], 0
    for lane in range(max((each.lane for each in cells), default=-1) + 1):
        tops.append(top)
        top += max((each.height for each in cells if each.lane == lane), default=0) + CORRIDOR + TITLE
    return tops


def _bend(cells: Sequence[Cell], tops: Sequence[int]) -> None:
    """Lead links between stages that are no neighbours through the gaps, and above the nodes of the lane where they end."""
    of_stage = {each.stage.id: each for each in cells}
    for cell in cells:
        for each in cell.nodes:
            for name, (source, slot) in each.links.items():
                other = of_stage.get(source)
                if other is None or other is cell or (other.lane == cell.lane and other.column + 1 == cell.column):
                    continue
                gap = other.stage.at[0] + other.stage.size[0] + GAP // 3
                down = ((gap, other.stage.at[1] + SLOT * (slot + 1)),) if other.lane != cell.lane else ()
                y = tops[cell.lane] - CORRIDOR if each is cell.stage else each.at[1] + SLOT
                over = ((each.at[0] - SMALL_GAP // 3, y),) if each is cell.stage else ()
                each.bends[name] = (*down, (gap, y), *over)


def _name_alike(placed: Sequence[Placed]) -> None:
    """Give nodes of one kind titles of their own, with the names of their stages."""
    kinds = [each.node.id for each in placed]
    for each in placed:
        if kinds.count(each.node.id) > 1:
            each.title = f"{each.node.title.removesuffix(' (lorapipe)')}: {each.name}"
