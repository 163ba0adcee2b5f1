"""A chart of lines over steps, such as a training's loss, as a picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from lorapipe.drawing.text import width, write

INKS = ("#9db7d5", "#1f5fa8", "#c2571a", "#3c8a4e")
"""Colours of the lines, in their order."""
PAPER, AXIS, INK, SIZE = "#ffffff", "#c9ced6", "#30363d", 13
LEFT, RIGHT, TOP, BOTTOM = 70, 18, 34, 30
TICKS = 5
MOST_POINTS = 2000
"""A line of more points is drawn through every second, third … of them."""
Points = Sequence[tuple[float, float]]


def line_chart(lines: Mapping[str, Points], size: tuple[int, int] = (960, 540), title: str = "") -> Image.Image:
    """Draw lines, name → (step, value). The axis of values begins at 0 or at the smallest; values must be finite."""
    picture = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(picture)
    points = [point for line in lines.values() for point in line]
    last = max((step for step, _ in points), default=1.0) or 1.0
    low, high = _range([value for _, value in points])
    wide, tall = size[0] - LEFT - RIGHT, size[1] - TOP - BOTTOM

    def place(step: float, value: float) -> tuple[float, float]:
        return LEFT + wide * step / last, TOP + tall * (1 - (value - low) / (high - low))

    for tick in range(TICKS):
        share = tick / (TICKS - 1)
        _, y = place(0, low + share * (high - low))
        draw.line([(LEFT, y), (LEFT + wide, y)], fill=AXIS)
        label = f"{low + share * (high - low):.3g}"
        write(draw, LEFT - 8 - width(label, SIZE), y - SIZE / 2, label, SIZE, INK)
        step = f"{round(share * last)}"
        write(draw, LEFT + wide * share - width(step, SIZE) / 2, size[1] - BOTTOM + 8, step, SIZE, INK)
    x = float(LEFT)
    if title:
        write(draw, x, 10, title, SIZE, INK)
        x += width(title, SIZE) + 24
    for ink, (name, line) in zip(itertools.cycle(INKS), lines.items(), strict=False):
        _line(draw, [place(*point) for point in line[:: math.ceil(len(line) / MOST_POINTS) or 1]], ink)
        write(draw, x, 10, name, SIZE, ink)
        x += width(name, SIZE) + 18
    return picture


def _line(draw: ImageDraw.ImageDraw, points: Points, ink: str) -> None:
    """Draw a line; a single point as a dot."""
    if len(points) > 1:
        draw.line([*points], fill=ink, width=2, joint="curve")
    for x, y in points if len(points) == 1 else ():
        draw.ellipse([(x - 2, y - 2), (x + 2, y + 2)], fill=ink)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the axis of values: from 0, if none is below, to a little above the highest."""
    if not values:
        return 0.0, 1.0
    low, high = min(0.0, min(values)), max(values)
    return (low, high + 0.05 * (high - low)) if high > low else (low, low + 1.0)
