"""Matches caption files with pictures, by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from unicodedata import normalize

from lorapipe.picture_files.layouts import folder_of, stem_of

USUAL = (".txt", ".caption")


def same_name(stem: str) -> str:
    """Normalise a stem (Unicode NFC): macOS writes 한 as ᄒ + ᅡ + ᆫ, other systems as one character."""
    return stem if stem.isascii() else normalize("NFC", stem)


class CaptionNames:
    """Finds the caption files of pictures among a folder's files.

    The caption of `cat.png` is `cat.txt`, else `cat.png.txt`, else `CAT.txt` unless another picture has that name. Where
    files with several extensions exist, the first of `extensions` counts; case is ignored.
    """

    def __init__(self, files: Iterable[str], pictures: Collection[str], extensions: Sequence[str] = USUAL) -> None:
        self._extensions = [extension.lower() for extension in extensions]
        self._exact: dict[tuple[str, str, str], str] = {}
        self._folded: dict[tuple[str, str, str], list[str]] = {}
        self._claimed: dict[tuple[str, str], int] = {}
        for file in files:
            lower = file.lower()
            for extension in self._extensions:
                if lower.endswith(extension) and not lower.endswith(f"/{extension}"):
                    folder = folder_of(file)
                    stem = same_name(file[len(folder) + 1 if folder else 0 : -len(extension)])
                    key = (folder, stem, extension)
                    self._exact[key] = min(self._exact.get(key, file), file)
                    self._folded.setdefault((folder, stem.casefold(), extension), []).append(file)
                    break
        if self._exact:
            stems = {(folder_of(each), same_name(stem)) for each in pictures for stem in (stem_of(each), _name(each))}
            for folder, stem in stems:
                folded = folder, stem.casefold()
                self._claimed[folded] = self._claimed.get(folded, 0) + 1

    def of(self, picture: str) -> list[str]:
        """Return a picture's caption files, in order of precedence."""
        if not self._exact:
            return []
        folder = folder_of(picture)
        stem, name = same_name(stem_of(picture)), same_name(_name(picture))
        stems = (stem, name) if name != stem else (stem,)
        exact = [
            self._exact[key] for each in stems for e in self._extensions if (key := (folder, each, e)) in self._exact
        ]
        return exact or [file for each in stems for file in self._alike(folder, each)]

    def _alike(self, folder: str, stem: str) -> list[str]:
        folded = stem.casefold()
        if self._claimed.get((folder, folded), 0) > 1:  # `A.png` and `a.png`: whose is it?
            return []
        found = (self._folded.get((folder, folded, extension), []) for extension in self._extensions)
        return [files[0] for files in found if len(files) == 1]


def _name(picture: str) -> str:
    return picture[picture.rfind("/") + 1 :]
