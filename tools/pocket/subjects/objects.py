"""Everyday objects, each in three colours of the subject."""

from __future__ import annotations

from collections.abc import Callable

from lorapipe.pocket.pen import Colour, Pen, box, oval, star
from lorapipe.pocket.scenes import WHITE
from tools.pocket.subjects.kit import Place, Subject

Colours = tuple[Colour, Colour, Colour]


def draw_object(self: Subject, pen: Pen, at: Place) -> None:
    """Draw one of `OBJECTS`."""
    kind = self.who.choice([*OBJECTS])
    self.words.append(kind)
    OBJECTS[kind](self, pen, at, (self.colour(), self.colour(), self.colour()))


def _cup(self: Subject, pen: Pen, at: Place, colours: Colours) -> None:
    first, second, _ = colours
    pen.shape(oval(14, 4, 7, 8), first)
    pen.fill(oval(14, 4, 3.5, 4.5), WHITE)
    pen.shape([(-13, -10), (13, -10), (10, 19), (-10, 19)], first)
    pen.shape(oval(0, -10, 13, 3), second)
    self.marks(pen, 0, 5, 9, 8, first)
    self.face(pen, at, (0, 5), at.grow * 0.7, None)


def _lamp(self: Subject, pen: Pen, at: Place, colours: Colours) -> None:
    first, second, _ = colours
    pen.shape(box(-8, 17, 8, 21), second)
    pen.line([(0, 17), (0, -4)], 3)
    pen.shape([(-8, -20), (8, -20), (16, -2), (-16, -2)], first)
    self.marks(pen, 0, -10, 9, 6, first)


def _book(self: Subject, pen: Pen, at: Place, colours: Colours) -> None:
    first, second, _ = colours
    pen.shape(box(-17, -15, 17, 18), first)
    pen.shape(box(-12, -9, 12, -2), WHITE, 1.1)
    for y in (-7, -4.5):
        pen.line([(-9, y), (9, y)], 0.8)
    pen.shape(self.who.choice((star(0, 8, 7, 3.2), oval(0, 8, 6), box(-6, 3, 6, 13))), second, 1.2)


def _ball(self: Subject, pen: Pen, at: Place, colours: Colours) -> None:
    first, second, _ = colours
    pen.shape(oval(0, 4, 17), first)
    for side in (-1, 1):
        pen.fill(oval(side * 9, 4, 5, 13), second)
    pen.outline(oval(0, 4, 17))


def _house(self: Subject, pen: Pen, at: Place, colours: Colours) -> None:
    first, second, third = colours
    pen.shape(box(-15, -2, 15, 21), first)
    pen.shape([(-19, -1), (0, -21), (19, -1)], second)
    pen.shape(box(-4, 8, 4, 21), third)
    for x in (-10, 10):
        pen.shape(box(x - 3, 3, x + 3, 9), (170, 222, 246), 1.1)


def _gift(self: Subject, pen: Pen, at: Place, colours: Colours) -> None:
    first, second, _ = colours
    pen.shape(box(-15, -6, 15, 20), first)
    pen.fill(box(-3, -6, 3, 20), second)
    pen.fill(box(-15, 4, 15, 9), second)
    for side in (-1, 1):
        pen.shape(oval(side * 6, -11, 6, 4.5), second)


def _key(self: Subject, pen: Pen, at: Place, colours: Colours) -> None:
    first, _, _ = colours
    pen.line([(-2, 0), (20, 0), (20, 7)], 4.6)
    pen.line([(-2, 0), (20, 0), (20, 7)], 2, first)
    pen.shape(oval(-10, 0, 10), first)
    pen.fill(oval(-10, 0, 4), WHITE)


def _robot(self: Subject, pen: Pen, at: Place, colours: Colours) -> None:
    first, second, third = colours
    for x in (-7, 7):
        pen.shape(box(x - 3, 10, x + 3, 21), second)
    self.hold(pen, 17, 6)
    for side in (-1, 1):
        pen.line([(10 * side, 0), (16 * side, 7)], 4.4)
    pen.shape(box(-10, -4, 10, 13), first)
    self.marks(pen, 0, 5, 7, 6, first)
    pen.shape(box(-11, -21, 11, -5), third)
    self.face(pen, at, (0, -13), at.grow * 0.75, -10)


def _cake(self: Subject, pen: Pen, at: Place, colours: Colours) -> None:
    first, second, third = colours
    pen.shape(box(-17, 3, 17, 19), first)
    pen.shape(box(-12, -9, 12, 4), second)
    for x in (-7, 0, 7):
        pen.line([(x, -9), (x, -16)], 1.8, third)
        pen.fill(oval(x, -18, 1.6, 2.4), (255, 190, 60))
    for x in range(-15, 16, 6):
        pen.fill(oval(x, 5, 3), WHITE)


def _bottle(self: Subject, pen: Pen, at: Place, colours: Colours) -> None:
    first, second, third = colours
    pen.shape(box(-4, -21, 4, -8), first)
    pen.shape(oval(0, 6, 11, 15, 3), first)
    pen.shape(box(-10, 1, 10, 12), second, 1.1)
    pen.shape(box(-5, -24, 5, -20), third, 1.1)


OBJECTS: dict[str, Callable[[Subject, Pen, Place, Colours], None]] = {
    "cup": _cup,
    "lamp": _lamp,
    "book": _book,
    "ball": _ball,
    "house": _house,
    "gift": _gift,
    "key": _key,
    "robot": _robot,
    "cake": _cake,
    "bottle": _bottle,
}
