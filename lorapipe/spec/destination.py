"""The value type of a path to write to: a file, or a folder for one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from lorapipe.spec.base import JsonObject, Value, ValueKind
from lorapipe.spec.paths import path_of

OTHER_ENDINGS = frozenset(
    f".{each}"
    for each in """
ckpt pt pth pkl bin safetensor safetensors gguf onnx h5 npz npy msgpack pb tflite
png jpg jpeg jfif webp gif bmp tif tiff avif heic heif jxl svg psd ico mp4 mov webm mkv mp3 wav
txt caption md csv tsv json jsonl yaml yml toml ini cfg log xml html htm pdf doc docx
zip 7z rar tar gz tgz xz bz2 zst py js ts sh bat exe dll so db sqlite bak tmp part crdownload lock
""".split()  # noqa: SIM905 (a list would be a column of words)
)
"""Endings of known file types. Anything else after a dot is part of the name, as in `penny.v1.2`."""


@dataclass(frozen=True)
class Destination(Value):
    """A path to write to: a file, or, if it ends in a slash, a folder for one."""

    value_kind: ClassVar[ValueKind] = "destination"

    path: Path
    is_folder: bool = False

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{value!r} is not a path.")
        path = path_of(value, folder)
        separators = ("/", os.sep)
        ends = value.endswith((*separators, *(f"{each}." for each in separators)))
        return cls(path, ends or Path(value).name in ("", ".."))

    def plain(self) -> str:
        return f"{self.path.as_posix().rstrip('/')}/" if self.is_folder else self.path.as_posix()

    @classmethod
    def schema(cls) -> JsonObject:
        return {"type": "string", "minLength": 1}

    def file(self, name: str, ending: str) -> Path:
        """Return the path of the file: with `ending` added if missing, or `name` inside the folder."""
        if self.is_folder or os.path.isdir(self.path):  # noqa: PTH112 (it never raises)
            return self.path / f"{name}{ending}"
        has_it = not ending or self.path.name.lower().endswith(ending) or self.path.suffix.lower() in OTHER_ENDINGS
        return self.path if has_it else self.path.with_name(f"{self.path.name}{ending}")

    def complaint(self, ending: str) -> tuple[str, str] | None:
        """Return the problem with the ending of the file name, and the cure; None if it is right or can be added."""
        name, given = self.path.name, self.path.suffix
        if self.is_folder or not ending:
            return None
        if name.lower() == ending:
            return f"{name} is an ending without a name.", f"Write penny{ending}."
        if given.lower() == ending:
            return None
        import difflib  # seldom needed

        close = difflib.get_close_matches(given.lower(), [ending], cutoff=0.75)
        if not close and given.lower() not in OTHER_ENDINGS:
            return None
        right = f"{name[: -len(given)]}{ending}"
        return f"{name} does not end in {ending}, by which other programs recognise the file.", f"Write {right}."
