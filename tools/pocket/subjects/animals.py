"""Animals outside the world: quadrupeds in side view, birds, fish, snakes, octopuses; and people."""

from __future__ import annotations

import math

from lorapipe.pocket.pen import DARK, Colour, Pen, Point, arc, box, mix, oval
from tools.pocket.subjects.kit import Drawing, Place, Subject


def _quadruped(self: Subject, pen: Pen, at: Place) -> None:
    who, how = self.who, self.how
    hide = self.colour()
    far, other = mix(hide, DARK, 0.25), self.colour(0.5)
    length, thick = who.uniform(9, 16), who.uniform(6, 10)
    legs, wide = who.uniform(6, 15), who.uniform(1.8, 3.6)
    neck, size = who.uniform(0, 14), who.uniform(6.5, 10.5)
    lift = how.random()
    self.words.append("animal")
    if neck > 9:
        self.words.append("long neck")
    floor = 21.0
    y = floor - legs - thick * 0.6
    head = (length * 0.75 + size * 0.5 + neck * 0.4 * (1 - lift), y - size * 0.5 - neck * (0.35 + 0.65 * lift))
    stride = how.uniform(-1, 1)
    self.hold(pen, -length - 7, y - 3)
    for hips, swing, colour in (
        ((-length * 0.55, length * 0.7), -2.5, far),
        ((-length * 0.8, length * 0.4), 2.5, hide),
    ):
        for hip in hips:
            foot = hip + swing * stride
            pen.shape([(hip - wide, y + 1), (hip + wide, y + 1), (foot + wide, floor), (foot - wide, floor)], colour)
    crest = who.choice(("none", "plates", "wings", "none", "saddle", "shell"))
    if crest == "plates":
        _plates(self, pen, length, y - thick, other)
    tail = who.choice(("long", "short", "bushy", "curl"))
    parts: list[list[Point]] = [oval(0, y, length, thick, who.choice((2.0, 2.6)))]
    parts += _tail(pen, tail, length, y)
    parts.append(
        [
            (length * 0.3, y - thick * 0.6),
            (head[0] - size * 0.6, head[1]),
            (head[0] + size * 0.3, head[1] + size * 0.4),
            (length * 0.95, y + thick * 0.2),
        ]
    )
    parts.append(oval(*head, size, size * who.uniform(0.75, 1.0), 2.3))
    for part in parts:
        pen.shape(part, hide)
    for part in parts:
        pen.fill(part, hide)
    self.marks(pen, 0, y, length * 0.8, thick * 0.8, hide)
    _crest(pen, crest, length, y, thick, other)
    if who.random() < 0.4:  # something around the neck
        x, high = head[0] * 0.6 + length * 0.28, head[1] * 0.6 + (y - 2) * 0.4
        pen.shape(box(x - 5, high, x + 4, high + 3.5), self.colour(0.5), 1.2)
    ears = who.choice(("point", "flop", "round", "horns", "none"))
    for place in (-0.5, 0.35):
        _ear(pen, ears, head[0] + place * size, head[1] - size * 0.6, hide, other)
    scale = at.grow * min(1.0, size / 9.5) * who.uniform(0.85, 1.0)
    self.face(pen, at, (head[0], head[1]), scale, -size * 0.85 * at.grow / scale)


def _plates(self: Subject, pen: Pen, length: float, back: float, colour: Colour) -> None:
    for step in range(4):
        x, high = -length * 0.8 + step * length * 0.45, self.who.uniform(3, 6)
        pen.shape([(x - 3.5, back + 4), (x, back - high), (x + 3.5, back + 4)], colour, 1.2)


def _tail(pen: Pen, kind: str, length: float, y: float) -> list[list[Point]]:
    """Return the shapes of a tail that merges into the body; a curling tail is drawn directly."""
    if kind == "long":
        return [[(-length * 0.8, y - 3), (-length - 8, y - 7), (-length - 6, y - 2), (-length * 0.8, y + 4)]]
    if kind == "bushy":
        return [oval(-length - 3, y - 4, 5, 3.4)]
    if kind == "curl":
        pen.line(arc(-length - 2, y - 4, 4, 4, 90, 360), 2.6)
        return []
    return [oval(-length, y - 3, 3)]


def _crest(pen: Pen, kind: str, length: float, y: float, thick: float, colour: Colour) -> None:
    if kind == "wings":
        pen.shape([(-4, y - 2), (-10, y - thick - 9), (5, y - thick - 3), (4, y - 1)], colour)
    elif kind == "saddle":
        pen.shape(box(-4.5, y - thick - 1, 4.5, y - thick + 5), colour)
    elif kind == "shell":
        pen.shape(arc(0, y + 1, length * 0.9, thick + 5, 180, 360), colour)


def _ear(pen: Pen, kind: str, x: float, up: float, hide: Colour, other: Colour) -> None:
    if kind == "point":
        pen.shape([(x - 2.2, up), (x, up - 6), (x + 2.6, up + 1)], hide, 1.2)
    elif kind == "flop":
        pen.shape(oval(x - 1.5, up + 3, 2.2, 4.6), other, 1.2)
    elif kind == "round":
        pen.shape(oval(x, up, 2.8), hide, 1.2)
    elif kind == "horns":
        pen.shape([(x - 1.6, up), (x + 1.5, up - 7), (x + 1.8, up)], (250, 232, 190), 1.2)


def _bird(self: Subject, pen: Pen, at: Place) -> None:
    who = self.who
    coat, second = self.colour(), self.colour()
    size, tall = who.uniform(10, 14), who.uniform(0.8, 1.35)
    self.words.append("bird")
    y = 18 - size * tall * 0.8
    for x in (-3.5, 3):
        pen.line([(x, y + size * tall * 0.8), (x, 21), (x + 3, 21)], 1.6)
    pen.shape([(-size * 0.7, y), (-size - 7, y - 4), (-size - 6, y + 4)], second)
    pen.shape(oval(0, y, size, size * tall), coat)
    self.marks(pen, 1, y + 3, size * 0.7, size * tall * 0.5, coat)
    pen.shape(oval(-size * 0.45, y + 2, size * 0.5, size * 0.35 * tall), second, 1.3)
    self.hold(pen, size + 2, y + 2)
    self.face(pen, at, (2.5, y - size * tall * 0.35), at.grow * 0.8, -size * tall * 0.72)
    pen.move(at.left, at.top, at.grow, at.mirrored)
    pen.shape([(5, y - size * 0.12), (12, y), (5, y + size * 0.18)], (250, 180, 60), 1.2)


def _fish(self: Subject, pen: Pen, at: Place) -> None:
    who = self.who
    coat, second = self.colour(), self.colour()
    length, high = who.uniform(13, 19), who.uniform(8, 13)
    self.words.append("fish")
    pen.shape([(-length * 0.7, 0), (-length - 9, -high * 0.8), (-length - 6, 0), (-length - 9, high * 0.8)], second)
    pen.shape([(-6, -high * 0.7), (2, -high - 7), (7, -high * 0.7)], second)
    pen.shape(oval(0, 0, length, high, who.choice((1.7, 2.0, 2.5))), coat)
    self.marks(pen, -3, 0, length * 0.6, high * 0.7, coat)
    self.face(pen, at, (length * 0.42, 0), at.grow * 0.72, -high * 1.15)


def _snake(self: Subject, pen: Pen, at: Place) -> None:
    who, how = self.who, self.how
    coat = self.colour()
    self.words.append("snake")
    wave, thick, turns = how.uniform(3, 7), who.uniform(5, 8), who.uniform(0.8, 1.6)
    points = [(-22 + 34 * t / 24, 12 - 8 * t / 24 + wave * math.sin(turns * 2 * math.pi * t / 24)) for t in range(25)]
    pen.line(points, thick + 3)
    pen.line(points, thick, coat)
    if who.random() < 0.6:
        pen.line(points[::2], thick * 0.35, self.colour())
    x, y = points[-1]
    pen.shape(oval(x + 2, y - 4, 8.5, 7.5), coat)
    self.face(pen, at, (x + 2, y - 4), at.grow * 0.75, -7.5)


def _octopus(self: Subject, pen: Pen, at: Place) -> None:
    who = self.who
    coat = self.colour()
    self.words.append("octopus")
    arms, size = who.randint(4, 7), who.uniform(10, 13.5)
    for arm in range(arms):
        x = -size + 2 * size * arm / (arms - 1)
        limb = [(x * 0.8, 4), (x * 1.2, 12), (x * 1.25 + 3 * self.how.uniform(-1, 1), 20)]
        pen.line(limb, 5.6)
        pen.line(limb, 2.8, coat)
    self.hold(pen, size * 1.3, 2)
    pen.shape(oval(0, -4, size, size * who.uniform(0.9, 1.25)), coat)
    self.marks(pen, 0, -9, size * 0.8, size * 0.4, coat)
    self.face(pen, at, (0, -2), at.grow * 0.95, -size)


def _person(self: Subject, pen: Pen, at: Place) -> None:
    """Draw a small person: a big head, clothes, arms and legs."""
    who, how = self.who, self.how
    skin = who.choice(
        ((255, 220, 190), (224, 172, 130), (150, 100, 70), (96, 64, 48), (180, 240, 180), (200, 210, 230))
    )
    self.words.append("person")
    shirt, trousers, hair = self.colour(), self.colour(), self.colour()
    size = who.uniform(8.5, 11)
    for x in (-4, 4):
        pen.shape(box(x - 3, 10, x + 3, 20), trousers, 1.2)
        pen.fill(oval(x, 21, 4, 2), DARK)
    reach = how.choice((-8, 0, 7))
    self.tags["arms"] = {-8: "arms up", 0: "arms out", 7: "arms down"}[reach]
    self.hold(pen, 14, 3 + reach)
    for x in (-1, 1):
        pen.line([(6 * x, 3), (13 * x, 3 + reach)], 5.4)
        pen.line([(6 * x, 3), (13 * x, 3 + reach)], 3, shirt if who.random() < 0.6 else skin)
    pen.shape([(-6, 0), (6, 0), (8, 13), (-8, 13)], shirt)
    self.marks(pen, 0, 7, 5, 5, shirt)
    y = -9.5
    style = who.choice(("long", "short", "buns", "none"))
    if style == "long":
        pen.shape(oval(0, y + 3, size + 2.5, size + 3), hair)
    if style == "buns":
        for x in (-1, 1):
            pen.shape(oval(x * size, y - 5, 4), hair)
    pen.shape(oval(0, y, size, size * 0.95), skin)
    if style != "none":
        pen.shape(arc(0, y - 1, size + 0.4, size, 190, 350), hair, 1.2)
    self.face(pen, at, (0, y + 1), at.grow * 0.8, -size)


ANIMALS: tuple[tuple[float, Drawing], ...] = (
    (4.0, _quadruped), (1.2, _bird), (1.0, _fish), (0.8, _snake), (0.8, _octopus), (1.5, _person),
)  # fmt: skip
