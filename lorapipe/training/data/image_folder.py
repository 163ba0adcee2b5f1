"""A folder of images by the names of its files: which are pictures, captions and masks, and which are not used."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorapipe.captioning.edits import Edit
from lorapipe.errors import InputError, Problem, near_miss
from lorapipe.picture_files import Contents, LeftOut, ignore_reason, sort_out
from lorapipe.picture_files.caption_names import USUAL, CaptionNames
from lorapipe.picture_files.captions import Lines
from lorapipe.picture_files.magic import begins_like_a_picture
from lorapipe.pipeline.events import Log
from lorapipe.training.data import messages
from lorapipe.training.data.captions import CaptionFiles

MOST_BESIDE = 200
"""Folders beside one that does not exist, among which the one that is meant is looked for."""


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images, and which of its files are read.

    `captions` is another folder with the caption files, named like the pictures; None: they lie beside the pictures.
    """

    root: Path
    exclude: tuple[str, ...] = ()
    caption_extensions: tuple[str, ...] = (".txt", ".caption")
    caption_lines: Lines = "joined"
    masks: Path | None = None
    captions: Path | None = None
    caption_edits: tuple[Edit, ...] = ()

    def contents(self) -> Contents:
        """Return what the folder contains, by file names. `InputError` if it is not a folder."""
        if problem := no_folder(self.root):
            raise InputError(replace(problem, where=str(self.root)))
        apart = [self.masks] if self.masks and self.masks.resolve() != self.root.resolve() else []
        return look_through(self.root, self.exclude, self.caption_extensions, apart)

    def caption_files(self, found: Contents) -> CaptionFiles:
        """Return the captions of the pictures. `InputError` if another folder has captions, but none of these pictures."""
        if self.captions is None:
            return CaptionFiles(self.root, found.captions, self.caption_lines, self.caption_edits)
        files, _ = find(self.captions)
        names = CaptionNames(files, found.pictures, self.caption_extensions)
        named = {picture: names.of(picture) for picture in found.pictures}
        if found.pictures and not any(named.values()):
            what = f"has no caption of the pictures in {self.root.name}."
            cure = f"A caption is named like its picture: {Path(found.pictures[0]).with_suffix('.txt').as_posix()}."
            raise InputError(what, where=str(self.captions), cure=cure)
        return CaptionFiles(self.captions, named, self.caption_lines, self.caption_edits)

    def unused_files(self, found: Contents) -> Iterator[Log]:
        """Yield messages about files in the folder that are not used."""
        yield from messages.not_used(found, str(self.root))
        if self.captions is not None:
            if found.captions:
                yield Log(text=f"{len(found.captions)} caption files beside the pictures are not read: captions_from")
            return
        folder, count = captions_beside(self.root, found.pictures, self.caption_extensions)
        if folder and not found.captions:
            files = "1 file" if count == 1 else f"{count} files"
            what = f"{files} in the folder {folder} beside {self.root.name} named like pictures, not read"
            cure = f"captions are read from cat.txt beside cat.png, unless captions_from names {folder}"
            yield Log(text=f"{what}: {cure}", level="warning")


def joined(folders: Sequence[ImageFolder]) -> tuple[Path, Contents]:
    """Return the contents of several folders by names that begin at the nearest folder around all of them, and that folder.

    `InputError` if one is no folder, or nothing is around all of them.
    """
    try:
        around = Path(os.path.commonpath([folder.root.absolute() for folder in folders]))
    except ValueError:
        raise InputError("the folders of pictures are on several drives.", where="images") from None
    pictures: list[str] = []
    captions: dict[str, Sequence[str]] = {}
    left_out: list[LeftOut] = []
    for folder in folders:
        found, place = folder.contents(), folder.root.absolute().relative_to(around)
        prefix = "" if place == Path() else f"{place.as_posix()}/"
        pictures += (f"{prefix}{name}" for name in found.pictures)
        captions |= {f"{prefix}{name}": [f"{prefix}{each}" for each in texts] for name, texts in found.captions.items()}
        left_out += (replace(each, path=f"{prefix}{each.path}") for each in found.left_out)
    return around, Contents(tuple(sorted(pictures)), captions, tuple(left_out))


def no_folder(path: Path) -> Problem | None:
    """Return why a path is not a folder; None if it is one."""
    if path.is_dir():
        return None
    if not path.exists():
        beside = [each.name for each in path.absolute().parent.glob("*/")] if path.absolute().parent.is_dir() else []
        return Problem(
            "there is no such folder.", cure=near_miss(path.name, beside) if len(beside) < MOST_BESIDE else ""
        )
    is_archive = path.suffix.lower() in (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".cbz")
    cure = "Unpack it, and name the folder." if is_archive else "Name the folder that contains it."
    return Problem(f"{path.name} is a file, not a folder of pictures.", cure=cure)


def look_through(
    root: Path, exclude: Sequence[str] = (), extensions: Sequence[str] = USUAL, apart: Sequence[Path] = ()
) -> Contents:
    """Return the contents of a folder, by kind of file; see `find` and `sort_out`."""
    names, closed = find(root, exclude, apart)
    found = sort_out(names, extensions, lambda name: begins_like_a_picture(f"{root}/{name}"))
    return replace(found, left_out=tuple(sorted([*found.left_out, *closed], key=lambda file: file.path)))


def captions_beside(root: Path, pictures: Sequence[str], extensions: Sequence[str] = USUAL) -> tuple[str, int]:
    """Return a folder of captions beside the folder of images (`set/images`, `set/captions`), and how many of its files are
    named like pictures; an empty name if there is none.
    """
    if root.name.casefold() not in ("images", "image", "imgs", "img", "pictures", "photos"):
        return "", 0
    stems = {(each[each.rfind("/") + 1 :]).rpartition(".")[0] for each in pictures}
    for name in ("captions", "caption", "tags", "labels", "txt"):
        try:
            files = [Path(each) for each in os.listdir(root.parent / name)]  # noqa: PTH208
        except OSError:
            continue
        if count := sum(file.suffix.lower() in extensions and file.stem in stems for file in files):
            return name, count
    return "", 0


def find(root: Path, exclude: Sequence[str] = (), apart: Sequence[Path] = ()) -> tuple[list[str], list[LeftOut]]:
    """Return all files below a folder by relative name, and the folders that cannot be read.

    Folders of systems and other programs (`.git`, `@eaDir`, `$RECYCLE.BIN`) are not entered; each is one name that ends
    with `/`. Subfolders named in `exclude` (at any depth, ignoring case) and the folders in `apart` are skipped.

    Links to folders are followed, but no folder is entered twice, so cycles end. Links into lorapipe's own store
    (`outputs/dataset`) and the store itself are skipped: its contact sheets are not the user's pictures.
    """
    excluded = set(map(str.casefold, exclude))
    names: list[str] = []
    closed: list[LeftOut] = []
    entered = set(map(os.path.realpath, apart))
    waiting = [("", str(root))]
    while waiting:
        prefix, folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in entered or (prefix and _leads_into_store(folder, real)):
            continue
        entered.add(real)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = f"{prefix}{entry.name}"
                    if not _is_folder(entry):
                        names.append(name)
                    elif ignore_reason(entry.name, True):
                        names += [f"{name}/"] if entry.name != ".lorapipe" else []
                    elif entry.name.casefold() not in excluded:
                        waiting.append((f"{name}/", entry.path))
        except OSError as error:
            closed.append(LeftOut(prefix or ".", "unreadable", f"the folder cannot be read ({error.strerror})"))
    return sorted(names), closed


def _leads_into_store(folder: str, real: str) -> bool:
    """Return whether a folder is a link into a store of lorapipe."""
    return os.path.islink(folder) and ".lorapipe" in Path(real).parts  # noqa: PTH114


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a cyclic link
        return False
