"""The manifest: which pictures are trained on, how each is cut and captioned; beside it, which were left out and why.

Both are JSON that a person can read and that is the same, byte for byte, for the same pictures and settings: no absolute
paths, no times, sorted. Sizes are [width, height] in pixels. What was left out has a file of its own, because no training
depends on it.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Self, TypedDict

from lorapipe.atomic import write_text
from lorapipe.errors import InputError
from lorapipe.picture_files import LeftOut
from lorapipe.spec import JsonDocument, Param
from lorapipe.training.data.buckets import Fit, Pair
from lorapipe.training.data.images import Colour

VERSION = 1
"""Of the manifest's form; raised when a reader must change."""


ALPHA = "(alpha)"
"""Stands for a mask's path where the picture's own transparency is the mask."""


@dataclass(frozen=True)
class Variant:
    """One way of showing a picture: scaled, cut at `crop`, then coloured (0: not) and mirrored.

    `latents` is the key of the picture encoded so.
    """

    resized: Pair
    crop: Pair
    flip: bool = False
    colour: int = 0
    latents: str = ""


@dataclass(frozen=True)
class Mask:
    """Which part of a picture the training looks at: a file below the folder of masks, or `ALPHA`; and its SHA-256."""

    path: str
    digest: str


@dataclass(frozen=True)
class Picture:
    """A picture to train on.

    `path` is relative to the dataset's images, `digest` the SHA-256 of the file, `size` that of the upright picture.
    The trainer sees the `bucket`-sized part at `crop` of the picture scaled to `resized`, `repeats` times an epoch; a
    `held_out` picture is never trained on. `caption_from` is a file's name, `folder`, `class_word` or `none`. `latents`
    is the key of the encoded picture in the cache. With `variants`, each showing is one of them; `mask` says where the
    training looks, everywhere if None.
    """

    path: str
    digest: str
    size: Pair
    bucket: Pair
    resized: Pair
    crop: Pair
    repeats: int
    caption: str
    caption_from: str
    held_out: bool = False
    latents: str = ""
    variants: tuple[Variant, ...] = ()
    mask: Mask | None = None

    @property
    def plain(self) -> Variant:
        """The picture as it is."""
        return Variant(self.resized, self.crop, latents=self.latents)

    @property
    def fit(self) -> Fit:
        """How the picture comes to fill its bucket."""
        return Fit(self.bucket, self.resized, self.crop)


class DatasetManifest(TypedDict):
    """Which pictures a dataset has, how each is cut and captioned. Sizes and places are [width, height] in pixels."""

    version: Annotated[Literal[1], Param("of the manifest's form")]
    resolution: Annotated[Pair, Param("about how many pixels a picture has in training")]
    background: Annotated[str, Param("the colour behind transparent pictures")]
    totals: NotRequired[Annotated[dict[str, int], Param("pictures to train on, held out, and shown in an epoch")]]
    buckets: NotRequired[Annotated[dict[str, int], Param("pictures to train on of each size, repeats not counted")]]
    captions: NotRequired[Annotated[dict[str, Any], Param("how captions vary, where the training does not say it")]]
    pictures: list[Picture]


DOCUMENT = JsonDocument("dataset", DatasetManifest, "Run prepare again.")


@dataclass(frozen=True)
class Manifest:
    """Everything that `prepare` decided; see the module. A loaded manifest knows of nothing left out.

    `left_out` are pictures, `not_used` is what else lies in the folder.

    `captions` says how captions of these pictures vary, in document form, where that is not the training's affair.
    """

    resolution: Pair
    background: Colour
    pictures: tuple[Picture, ...]
    left_out: tuple[LeftOut, ...] = ()
    captions: Mapping[str, Any] | None = None
    not_used: tuple[LeftOut, ...] = ()

    @property
    def training(self) -> tuple[Picture, ...]:
        """The pictures to train on, in the order of their paths."""
        return tuple(picture for picture in self.pictures if not picture.held_out)

    @property
    def held_out(self) -> tuple[Picture, ...]:
        """The pictures kept from training, to see whether the adapter has learnt or memorised."""
        return tuple(picture for picture in self.pictures if picture.held_out)

    @property
    def pictures_per_epoch(self) -> int:
        """How many pictures an epoch shows, repeats counted."""
        return per_epoch(self.training)

    def buckets(self) -> dict[Pair, int]:
        """Bucket → pictures of it to train on (repeats not counted), sorted."""
        return by_bucket(self.training)

    def save(self, path: Path) -> None:
        """Write the JSON aside and rename it into place."""
        body = {
            "version": VERSION,
            "resolution": self.resolution,
            "background": self.background.plain(),
            "totals": {
                "training": len(self.training),
                "held_out": len(self.held_out),
                "pictures_per_epoch": self.pictures_per_epoch,
            },
            "buckets": {f"{width}x{height}": count for (width, height), count in self.buckets().items()},
            **({} if self.captions is None else {"captions": self.captions}),
            "pictures": [_entry(picture) for picture in self.pictures],
        }
        text = "{\n" + ",\n".join(f" {_json(name)}: {_lines(value)}" for name, value in body.items()) + "\n}\n"
        write_text(text, path)

    def save_left_out(self, path: Path) -> None:
        """Write what was left out and what else is not used: a list of objects with `path`, `kind` and `reason`."""
        files = sorted([*self.left_out, *self.not_used], key=lambda file: file.path)
        write_text(_lines([{**dataclasses.asdict(file), "path": _text(file.path)} for file in files]) + "\n", path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The manifest of a dataset; `InputError` where the file is none of this version."""
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            if body["version"] != VERSION:
                raise ValueError(f"version {body['version']}, not {VERSION}")
            if not DOCUMENT.fits(body):
                DOCUMENT.require(body, str(path))
            return cls(
                resolution=_pair(body["resolution"]),
                background=Colour.parse(body["background"], Path()),
                pictures=tuple(_picture(entry) for entry in body["pictures"]),
                captions=body.get("captions"),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"not a manifest: {error}.", where=str(path), cure="Run prepare again.") from None


def per_epoch(pictures: Iterable[Picture]) -> int:
    """How many pictures an epoch shows, repeats counted."""
    return sum(picture.repeats for picture in pictures)


def by_bucket(pictures: Iterable[Picture]) -> dict[Pair, int]:
    """Bucket → pictures of it (repeats not counted), sorted."""
    return dict(sorted(Counter(picture.bucket for picture in pictures).items()))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(value: Any) -> str:
    """JSON with a line for each entry of a list of objects: a picture a line."""
    if isinstance(value, list) and value:
        return "[\n  " + ",\n  ".join(map(_json, value)) + "\n ]"
    return _json(value)


def _text(name: str) -> str:
    """A name as text that can be written: one may hold bytes that are no characters."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _pair(value: Any) -> Pair:
    width, height = value
    return int(width), int(height)


def _entry(picture: Picture) -> dict[str, Any]:
    """A picture as JSON; what it does not have is not there, so that a manifest without it is what it always was."""
    entry = dataclasses.asdict(picture)
    return {name: value for name, value in entry.items() if name not in ("variants", "mask") or value}


def _picture(entry: dict[str, Any]) -> Picture:
    pairs = {name: _pair(entry[name]) for name in ("size", "bucket", "resized", "crop")}
    mask = Mask(**entry["mask"]) if "mask" in entry else None
    variants = tuple(map(_variant, entry.get("variants", ())))
    return Picture(**{**entry, **pairs, "mask": mask, "variants": variants})


def _variant(entry: dict[str, Any]) -> Variant:
    return Variant(**{**entry, "resized": _pair(entry["resized"]), "crop": _pair(entry["crop"])})
