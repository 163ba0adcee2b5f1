"""The manifest: the pictures of a dataset with their crops and captions; and the list of files that were left out.

Both are readable JSON files that are byte for byte the same for the same pictures and settings: no absolute paths, no
times, sorted. Sizes are [width, height] in pixels. The left-out files have their own file, since no training depends on it.
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
"""Version of the file's format; bump when readers must change."""


ALPHA = "(alpha)"
"""The path of a mask that is the picture's own alpha channel."""


@dataclass(frozen=True)
class Variant:
    """One augmented version of a picture: scaled to `resized`, cropped at `crop`, then recoloured and mirrored.

    `colour` seeds the recolouring (0: none). `latents` is the cache key of the encoded variant.
    """

    resized: Pair
    crop: Pair
    flip: bool = False
    colour: int = 0
    latents: str = ""


@dataclass(frozen=True)
class Mask:
    """A picture's loss mask: a file below the folder of masks, or `ALPHA`, and its SHA-256."""

    path: str
    digest: str


@dataclass(frozen=True)
class Picture:
    """A picture to train on.

    `path` is relative to the folder of images, `digest` the SHA-256 of the file, `size` that of the upright picture. The
    trainer sees the picture scaled to `resized`, of it the part of size `bucket` at `crop`, `repeats` times an epoch; it
    never sees a `held_out` picture. `caption_from` is a file's name, `folder`, `class_word`, `edits` or `none`. `latents` is
    the cache key of the encoded picture. If there are `variants`, training draws one of them each time. `mask` weights the
    loss by position; None means everywhere 1. `generated` says that a synthesize stage has made the picture.
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
    generated: bool = False

    @property
    def plain(self) -> Variant:
        """The picture without augmentation."""
        return Variant(self.resized, self.crop, latents=self.latents)

    @property
    def fit(self) -> Fit:
        """How the picture fills its bucket."""
        return Fit(self.bucket, self.resized, self.crop)


class DatasetManifest(TypedDict):
    """The pictures of a dataset with their crops and captions. Sizes and offsets are [width, height] in pixels."""

    version: Annotated[Literal[1], Param("version of the manifest's format")]
    resolution: Annotated[Pair, Param("training resolution: the area of the buckets")]
    background: Annotated[str, Param("the colour behind transparent pictures")]
    totals: NotRequired[
        Annotated[dict[str, int], Param("number of pictures to train on, held out, and in an epoch with repeats")]
    ]
    buckets: NotRequired[
        Annotated[dict[str, int], Param("number of pictures to train on by bucket, repeats not counted")]
    ]
    captions: NotRequired[
        Annotated[dict[str, Any], Param("caption augmentation of this dataset; if absent, that of the training")]
    ]
    pictures: list[Picture]


DOCUMENT = JsonDocument("dataset", DatasetManifest, "Run prepare again.")


@dataclass(frozen=True)
class Manifest:
    """Everything that `prepare` decided; see the module.

    `left_out` are pictures, `not_used` other files of the folder; a loaded manifest has neither. `captions` is the caption
    augmentation of this dataset as a plain mapping; None leaves it to the training.
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
        """The pictures that are not trained on; evaluation measures on them whether the adapter generalises or memorises."""
        return tuple(picture for picture in self.pictures if picture.held_out)

    @property
    def pictures_per_epoch(self) -> int:
        """Number of pictures in an epoch, repeats counted."""
        return per_epoch(self.training)

    def buckets(self) -> dict[Pair, int]:
        """Return bucket → number of its pictures to train on (repeats not counted), sorted."""
        return by_bucket(self.training)

    def save(self, path: Path) -> None:
        """Write the JSON file atomically."""
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
        """Write the pictures left out and the other unused files: a list of objects with `path`, `kind` and `reason`."""
        files = sorted([*self.left_out, *self.not_used], key=lambda file: file.path)
        write_text(_lines([{**dataclasses.asdict(file), "path": _text(file.path)} for file in files]) + "\n", path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a dataset's manifest. `InputError` if the file is not a manifest of this version."""
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
    """Return the number of pictures in an epoch, repeats counted."""
    return sum(picture.repeats for picture in pictures)


def by_bucket(pictures: Iterable[Picture]) -> dict[Pair, int]:
    """Return bucket → number of its pictures (repeats not counted), sorted."""
    return dict(sorted(Counter(picture.bucket for picture in pictures).items()))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(value: Any) -> str:
    """Return JSON in which each entry of a list has one line."""
    if isinstance(value, list) and value:
        return "[\n  " + ",\n  ".join(map(_json, value)) + "\n ]"
    return _json(value)


def _text(name: str) -> str:
    """Return a file name with bytes that are not UTF-8 replaced, so that it can be written."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _pair(value: Any) -> Pair:
    width, height = value
    return int(width), int(height)


def _entry(picture: Picture) -> dict[str, Any]:
    """Return a picture as JSON without empty variants and marks, so that older manifests keep their bytes."""
    entry = dataclasses.asdict(picture)
    return {name: value for name, value in entry.items() if name not in ("variants", "mask", "generated") or value}


def _picture(entry: dict[str, Any]) -> Picture:
    pairs = {name: _pair(entry[name]) for name in ("size", "bucket", "resized", "crop")}
    mask = Mask(**entry["mask"]) if "mask" in entry else None
    variants = tuple(map(_variant, entry.get("variants", ())))
    return Picture(**{**entry, **pairs, "mask": mask, "variants": variants})


def _variant(entry: dict[str, Any]) -> Variant:
    return Variant(**{**entry, "resized": _pair(entry["resized"]), "crop": _pair(entry["crop"])})
