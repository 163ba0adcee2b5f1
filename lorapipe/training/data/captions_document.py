"""The JSON file of a folder's captions: where each comes from, and what edits changed."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from lorapipe.spec import JsonDocument, Param

VERSION = 1
"""Version of the file's format; bump when readers must change."""
CaptionSource = Literal["file", "tagger", "both", "none"]


class CaptionedPicture(TypedDict):
    """A picture's caption, and where it comes from."""

    path: Annotated[str, Param("the picture, relative to the folder of images")]
    file: Annotated[str, Param("its caption file, relative to the folder of captions")]
    caption: Annotated[str, Param("the caption after all edits")]
    source: Annotated[CaptionSource, Param("what the caption was made from, before the edits")]
    tagged: Annotated[dict[str, float], Param("the tagger's tags, and how sure it was of each, 0 to 1")]


class CaptionsDocument(TypedDict):
    """The captions of a folder of images, and what each edit changed."""

    version: Annotated[Literal[1], Param("version of the file's format")]
    extensions: Annotated[list[str], Param("endings of the caption files beside the pictures")]
    edits: list[dict[str, Any]]
    pictures: list[CaptionedPicture]


DOCUMENT = JsonDocument("captions", CaptionsDocument, "Run the caption stage again.")
