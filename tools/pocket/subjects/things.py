"""Vehicles, plants, signs with letters, faces in close-up, objects, and abstract shapes."""

from __future__ import annotations

from PIL import ImageFont

from lorapipe.pocket.pen import DARK, Pen, arc, box, mix, oval, star
from lorapipe.pocket.scenes import WHITE
from tools.pocket.subjects.kit import Drawing, Place, Subject, any_colour
from tools.pocket.subjects.objects import draw_object
from tools.pocket.subjects.plants import draw_plant

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789?!&"


def _wheels(self: Subject, pen: Pen, xs: tuple[float, ...], y: float, radius: float) -> None:
    for x in xs:
        pen.shape(oval(x, y, radius), (70, 68, 78))
        pen.fill(oval(x, y, radius * 0.45), (210, 210, 215))


def _car(self: Subject, pen: Pen, at: Place) -> None:
    who = self.who
    paint, second = self.colour(), self.colour()
    length, high = who.uniform(17, 23), who.uniform(7, 11)
    body = who.choice(("car", "truck", "bus"))
    self.words.append(body)
    floor = 17.0
    if body == "car":
        pen.shape(
            [
                (-length * 0.5, floor - high),
                (-length * 0.3, floor - high * 2),
                (length * 0.35, floor - high * 2),
                (length * 0.6, floor - high),
            ],
            mix(paint, WHITE, 0.3),
        )
        for x in (-length * 0.2, length * 0.18):
            pen.shape(box(x - 4, floor - high * 1.8, x + 4, floor - high * 1.05), (170, 222, 246), 1.1)
        pen.shape(box(-length, floor - high, length, floor), paint)
    elif body == "truck":
        pen.shape(box(-length, floor - high * 2.3, length * 0.35, floor), second)
        self.marks(pen, -length * 0.3, floor - high * 1.2, length * 0.5, high * 0.8, second)
        pen.shape(
            [
                (length * 0.35, floor),
                (length * 0.35, floor - high * 1.7),
                (length * 0.75, floor - high * 1.7),
                (length, floor - high * 0.8),
                (length, floor),
            ],
            paint,
        )
        pen.shape(box(length * 0.45, floor - high * 1.5, length * 0.75, floor - high * 0.9), (170, 222, 246), 1.1)
    else:
        pen.shape(oval(0, floor - high * 1.1, length, high * 1.3, 6), paint)
        for place in (-0.7, -0.25, 0.2, 0.65):
            pen.shape(
                box(place * length - 3, floor - high * 2, place * length + 3, floor - high * 1.2), (170, 222, 246), 1.1
            )
    _wheels(self, pen, (-length * 0.58, length * 0.58), floor + 1, who.uniform(4, 5.5))
    if who.random() < 0.4:
        self.face(pen, at, (0, floor - high * 0.9), at.grow * 0.6, None)


def _boat(self: Subject, pen: Pen, at: Place) -> None:
    who = self.who
    hull, sail = self.colour(), self.colour()
    self.words.append("boat")
    pen.line([(0, 10), (0, -22)], 2)
    pen.shape([(1.5, -21), (16, 4), (1.5, 6)], sail)
    pen.shape([(-1.5, -16), (-11, 5), (-1.5, 6)], mix(sail, WHITE, 0.5))
    pen.shape([(-20, 9), (21, 9), (13, 20), (-14, 20)], hull)
    if who.random() < 0.5:
        pen.fill(box(-17, 11.5, 18, 14), self.colour())
    pen.shape([(0, -22), (-7, -20), (0, -18)], self.colour(), 1.1)


def _rocket(self: Subject, pen: Pen, at: Place) -> None:
    who = self.who
    paint, fins = self.colour(), self.colour()
    wide, tall = who.uniform(6.5, 10), who.uniform(18, 23)
    self.words.append("rocket")
    pen.shape([(-3, tall * 0.7), (0, tall * 0.7 + 9), (3, tall * 0.7)], (255, 190, 60), 1.1)
    for side in (-1, 1):
        pen.shape(
            [(side * wide * 0.8, tall * 0.2), (side * (wide + 6), tall * 0.8), (side * wide * 0.6, tall * 0.7)], fins
        )
    pen.shape(
        [
            (-wide, tall * 0.75),
            (-wide, -tall * 0.3),
            (-wide * 0.5, -tall * 0.8),
            (0, -tall),
            (wide * 0.5, -tall * 0.8),
            (wide, -tall * 0.3),
            (wide, tall * 0.75),
        ],
        paint,
    )
    pen.shape(oval(0, -tall * 0.25, wide * 0.5), (170, 222, 246), 1.3)
    self.marks(pen, 0, tall * 0.3, wide * 0.8, tall * 0.3, paint)


def _plane(self: Subject, pen: Pen, at: Place) -> None:
    paint, wings = self.colour(), self.colour()
    self.words.append("plane")
    pen.shape([(-18, -2), (-24, -13), (-17, -13), (-9, -3)], wings)
    pen.shape(oval(0, 0, 22, 6.5, 2.4), paint)
    pen.shape([(-4, 1), (-12, 15), (-4, 15), (8, 2)], wings)
    for x in (-8, -2, 4):
        pen.fill(oval(x, -2, 1.5), (60, 80, 120))
    pen.shape(arc(14, -1, 6, 4, 200, 340), (170, 222, 246), 1.1)


def _train(self: Subject, pen: Pen, at: Place) -> None:
    paint, second = self.colour(), self.colour()
    self.words.append("train")
    pen.shape(box(8, -12, 14, -2), second)
    pen.shape(oval(5, 4, 17, 8, 5), paint)
    pen.shape(box(-22, -14, -6, 12), second)
    pen.shape(box(-19, -11, -9, -3), (170, 222, 246), 1.1)
    for step in range(3):
        pen.fill(oval(12 + 4 * step, -16 - 4 * step, 2.5 + step), (236, 236, 240))
    _wheels(self, pen, (-16, -4, 6, 16), 15, 4.5)


def _sign(self: Subject, pen: Pen, at: Place) -> None:
    who = self.who
    board, mark = self.colour(), who.choice((WHITE, DARK, any_colour(who)))
    self.words.append("sign")
    pen.line([(0, 21), (0, 4)], 3)
    wide, high = who.uniform(13, 20), who.uniform(9, 13)
    outline = who.choice(
        (box(-wide, -high - 6, wide, high - 6), oval(0, -6, wide * 0.85, high + 2), oval(0, -6, wide, high, 5))
    )
    pen.shape(outline, board)
    if who.random() < 0.75:
        text = "".join(who.choices(LETTERS, k=who.randint(1, 3)))
        scale = pen.pixels * at.grow
        font = ImageFont.load_default(size=round(min(22, 44 / len(text)) * scale * 0.8))
        pen.canvas.text(
            (at.left * pen.pixels, (at.top - 6 * at.grow) * pen.pixels),
            text,
            fill=mark,
            font=font,
            anchor="mm",
            stroke_width=round(0.5 * scale),
            stroke_fill=mark,
        )
    else:
        pen.shape(who.choice((star(0, -6, 8, 3.6), oval(0, -6, 6), [(-7, 0), (0, -13), (7, 0)])), mark, 1.1)


def _face(self: Subject, pen: Pen, at: Place) -> None:
    """Draw a head that fills the picture."""
    who = self.who
    skin, hair = self.colour(), self.colour()
    self.words.append("face")
    wide, high = who.uniform(15, 20), who.uniform(15, 20)
    style = who.choice(("long", "short", "none", "ears"))
    if style == "long":
        pen.shape(oval(0, 2, wide + 5, high + 5), hair)
    if style == "ears":
        for side in (-1, 1):
            pen.shape(oval(side * wide * 0.75, -high * 0.8, 6), skin)
    pen.shape(oval(0, 2, wide, high, who.choice((2.0, 2.6, 4.0))), skin)
    if style in ("long", "short"):
        pen.shape(arc(0, 1, wide, high, 200, 340), hair)
    if who.random() < 0.4:
        for side in (-1, 1):
            pen.fill(oval(side * wide * 0.6, 8, 3, 2), mix(skin, (255, 90, 120), 0.5))
    self.face(pen, at, (0, 2), at.grow * who.uniform(0.8, 1.5), -high * 0.8)


def _shapes(self: Subject, pen: Pen, at: Place) -> None:
    """Draw a handful of shapes in random colours."""
    who = self.who
    palette = [any_colour(who) for _ in range(3)]
    for part in range(who.randint(4, 9)):
        spread = 6 if part == 0 else 17
        x, y = who.uniform(-spread, spread), who.uniform(-spread, spread)
        size, aspect = who.uniform(8, 15) if part == 0 else who.uniform(1.2, 9), who.uniform(0.4, 1.6)
        shape = who.choice((
            oval(x, y, size, size * aspect), oval(x, y, size, size * aspect, 5), star(x, y, size, size * aspect * 0.5),
            box(x - size, y - size * aspect, x + size, y + size * aspect),
            [(x - size, y + size * aspect), (x, y - size * aspect), (x + size, y + size * aspect)],
        ))  # fmt: skip
        pen.shape(shape, who.choice(palette), who.uniform(0.6, 1.8))
    for _ in range(who.randint(0, 3)):
        x, y = who.uniform(-20, 20), who.uniform(-20, 20)
        pen.line(
            [
                (x, y),
                (x + who.uniform(-14, 14), y + who.uniform(-14, 14)),
                (x + who.uniform(-14, 14), y + who.uniform(-14, 14)),
            ],
            who.uniform(0.6, 2.4),
            who.choice(palette),
        )


THINGS: tuple[tuple[float, Drawing], ...] = (
    (1.4, _car), (0.5, _boat), (0.5, _rocket), (0.4, _plane), (0.5, _train), (1.4, draw_plant), (1.2, _sign), (1.2, _face),
    (2.2, draw_object), (1.5, _shapes),
)  # fmt: skip
