"""Line charts as inline SVG: no script, colours from the page's style sheet, a description for screen readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from lorapipe.percent import percent
from lorapipe.series import evenly_spaced, moving_average

WIDTH, HEIGHT = 460, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 92, 14, 30
APART = 15
"""Labels at the ends of lines keep this distance."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A named series; what is not finite is left out. `dots` marks the points, `kind` is a class of the style."""

    name: str
    points: tuple[Point, ...]
    kind: str = "first"
    dots: bool = True

    @property
    def finite(self) -> list[Point]:
        """The points that can be drawn."""
        return [point for point in self.points if math.isfinite(point[1])]


@dataclass(frozen=True)
class Chart:
    """Lines over training steps, with the best step marked. `percent` says how figures are written."""

    title: str
    detail: str
    lines: tuple[Line, ...]
    best: float | None = None
    percent: bool = False


def svg(chart: Chart) -> str:
    """The chart; an empty text where there is nothing to draw."""
    lines = [line for line in chart.lines if line.finite]
    if not lines:
        return ""
    frame = _Frame.around([point for line in lines for point in line.finite])
    parts = [_axes(frame, chart), _best(frame, chart), *(_line(frame, line) for line in lines), _names(frame, lines)]
    label = f"{chart.title}: {'; '.join(_spoken(line, chart) for line in lines)}"
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
    return f"{head}{''.join(parts)}</svg>"


@dataclass(frozen=True)
class _Frame:
    """From data to the drawing's coordinates."""

    low: Point
    high: Point
    ticks: tuple[float, ...]

    @classmethod
    def around(cls, points: Sequence[Point]) -> _Frame:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        ticks = _ticks(min(ys), max(ys))
        low, high = min(xs), max(xs)
        return cls((low, min(ticks[0], min(ys))), (high if high > low else low + 1, max(ticks[-1], max(ys))), ticks)

    def x(self, value: float) -> float:
        return LEFT + (value - self.low[0]) / (self.high[0] - self.low[0]) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.low[1]) / (self.high[1] - self.low[1]) * (HEIGHT - TOP - BOTTOM)


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """Three to six round numbers that span a range."""
    span = high - low or abs(high) or 1.0
    rough = span / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return tuple(round(number * step, 10) for number in range(first, max(last, first + 1) + 1))


def _axes(frame: _Frame, chart: Chart) -> str:
    parts = []
    for tick in frame.ticks:
        y = frame.y(tick)
        text = percent(tick) if chart.percent else f"{tick:g}"
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    steps = sorted({x for line in chart.lines for x, _ in line.finite if line.dots}) or [frame.low[0], frame.high[0]]
    shown = [steps[round(place * (len(steps) - 1) / 5)] for place in range(6)] if len(steps) > 6 else steps
    parts += [
        f'<text class="tick" x="{frame.x(step):.1f}" y="{HEIGHT - 9}" text-anchor="middle">{step:g}</text>'
        for step in dict.fromkeys(shown)
    ]
    return "".join(parts)


def _best(frame: _Frame, chart: Chart) -> str:
    if chart.best is None or not frame.low[0] <= chart.best <= frame.high[0]:
        return ""
    x = frame.x(chart.best)
    return f'<line class="best" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{HEIGHT - BOTTOM}"/>'


def _line(frame: _Frame, line: Line) -> str:
    points = [(frame.x(x), frame.y(y)) for x, y in line.finite]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>' for x, y in points) if line.dots else ""
    return f'<g class="{line.kind}"><polyline points="{path}"/>{dots}</g>'


def _names(frame: _Frame, lines: Sequence[Line]) -> str:
    """Names at the ends of the lines, kept apart: nearer to what they name than any legend."""
    places = sorted((frame.y(line.finite[-1][1]), line.name, line.kind) for line in lines)
    parts, last = [], -math.inf
    for y, name, kind in places:
        last = max(y + 4, last + APART)
        parts.append(f'<text class="name {kind}" x="{WIDTH - RIGHT + 9}" y="{last:.1f}">{escape(name)}</text>')
    return "".join(parts)


def _spoken(line: Line, chart: Chart) -> str:
    (start, first), (end, last) = line.finite[0], line.finite[-1]
    before, after = (percent(y) if chart.percent else f"{y:.3g}" for y in (first, last))
    return f"{line.name} from {before} at step {start:g} to {after} at step {end:g}"


def smooth(points: Sequence[Point], most: int = 160) -> tuple[Point, ...]:
    """A noisy curve as its moving average over a twentieth of it, at `most` points."""
    return tuple(evenly_spaced(moving_average(points), most, with_first=True))
