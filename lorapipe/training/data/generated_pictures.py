"""`lorapipe-generated.json`: which pictures of a folder a synthesize stage has made, of what, and what was measured.

It lies beside the pictures and is found wherever they are copied with it; a picture is known by its digest, so it may be
renamed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, NotRequired, TypedDict

from lorapipe.atomic import write_text
from lorapipe.errors import InputError
from lorapipe.spec import JsonDocument, Param
from lorapipe.training.data.manifest import Picture

FILE = "lorapipe-generated.json"


class GeneratedPicture(TypedDict):
    """A picture, and what it was made from. Figures are null where nothing could be measured."""

    file: Annotated[str, Param("its name, beside this file")]
    digest: Annotated[str, Param("the SHA-256 of the file")]
    prompt: Annotated[str, Param("what was asked for, which is its caption")]
    seed: Annotated[int, Param("of its noise", ge=0)]
    strength: Annotated[float, Param("of the adapter")]
    style: Annotated[str, Param("the further adapter's file; empty where there is none")]
    likeness: Annotated[float | None, Param("how much of the subject it shows: 1 as the pictures it was held against")]
    following: Annotated[float | None, Param("how much of its prompt it shows: 1 as the base's pictures")]
    sound: Annotated[float | None, Param("1 without artefacts: noise, burnt or washed-out colours, wrong contrast")]
    copied: Annotated[float | None, Param("1 a copy of one of the pictures that it was held against, 0 none")]
    merit: Annotated[float | None, Param("likeness × following × sound × (1 − copied)")]


class GeneratedPictures(TypedDict):
    """The pictures of a folder that a synthesize stage has made."""

    version: Annotated[Literal[1], Param("version of the file's format")]
    likeness: NotRequired[Annotated[float | None, Param("mean of the pictures'")]]
    pictures: list[GeneratedPicture]


DOCUMENT = JsonDocument("generated", GeneratedPictures, "Take it away, or run the pipeline again.")


def save(pictures: Sequence[GeneratedPicture], likeness: float | None, folder: Path) -> None:
    """Write the file into the folder of the pictures."""
    body = GeneratedPictures(version=1, likeness=likeness, pictures=list(pictures))
    write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", folder / FILE)


def load(folder: Path) -> list[GeneratedPicture]:
    """Read the file of a folder; empty where there is none. `InputError` if it is none of ours."""
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        cure = "Take it away, or copy it anew."
        raise InputError(f"it cannot be read: {error}.", where=str(path), cure=cure) from None
    DOCUMENT.require(body, str(path))
    found: list[GeneratedPicture] = body["pictures"]
    return found


def marked(pictures: Sequence[Picture], root: Path) -> tuple[Picture, ...]:
    """Return the pictures of a dataset, those marked that a `lorapipe-generated.json` beside them names."""
    folders = {PurePosixPath(picture.path).parent for picture in pictures}
    digests = {each["digest"] for folder in sorted(folders) for each in load(root / folder)}
    return tuple(replace(picture, generated=picture.digest in digests) for picture in pictures)
