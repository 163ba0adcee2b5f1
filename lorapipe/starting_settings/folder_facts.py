"""What is in a folder of pictures, as far as starting settings depend on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from statistics import median
from typing import TYPE_CHECKING

from lorapipe import kohya_folders
from lorapipe.errors import InputError, counted
from lorapipe.kohya_folders import FolderName
from lorapipe.picture_files import is_picture
from lorapipe.picture_files.caption_names import USUAL
from lorapipe.starting_settings.caption_facts import CaptionFacts
from lorapipe.starting_settings.picture_facts import PictureFacts, look, near_duplicates
from lorapipe.training.data.filter import ENOUGH_TO_HOLD_OUT
from lorapipe.watch.folder_names import repeats_of

if TYPE_CHECKING:
    from lorapipe.picture_files import Contents

HELD_OUT = 0.1
"""The share that `prepare` holds out by default."""


@dataclass(frozen=True)
class Group:
    """A subfolder of pictures: its relative name, their number, and whether a folder's name gives repeats (`10_penny`)."""

    name: str
    count: int
    is_named: bool


@dataclass(frozen=True)
class FolderFacts:
    """The pictures of a folder without those for regularisation, their captions, and near-duplicates."""

    root: Path
    pictures: Mapping[str, PictureFacts]
    captions: CaptionFacts
    duplicates: int = 0
    unreadable: int = 0
    groups: tuple[Group, ...] = ()
    regularisation: str = ""
    """The subfolder of regularisation pictures; empty where there is none."""
    repeats: int = 1
    """The repeats in the folder's own name, which hold for pictures in no subfolder that has some."""

    @property
    def usable(self) -> int:
        """Pictures without near-duplicates."""
        return len(self.pictures) - self.duplicates

    @property
    def trained(self) -> int:
        """Pictures to train on, without those that are held out to tell learning from memorising."""
        held_out = round(self.usable * HELD_OUT) if self.usable >= ENOUGH_TO_HOLD_OUT else 0
        return max(1, self.usable - held_out)

    @cached_property
    def shown(self) -> float:
        """How often a picture is shown in an epoch, on average, as the names of subfolders say."""
        said = [named.repeats if (named := _named(name)) else 1 for name in self.pictures]
        return sum(said) / (sum(map(bool, said)) or 1)

    @cached_property
    def unseen(self) -> int:
        """Number of pictures of which only the header was read, since all pixels would have taken too long."""
        return sum(not found.signature for found in self.pictures.values())

    @cached_property
    def side(self) -> int:
        """Side in pixels of a square with as many pixels as a picture in the middle of the set."""
        return int(median(found.size[0] * found.size[1] for found in self.pictures.values()) ** 0.5)

    def smaller_than(self, side: int) -> int:
        """Return how many pictures have fewer pixels than a square of this side."""
        return sum(found.size[0] * found.size[1] < side * side for found in self.pictures.values())

    @cached_property
    def ratios(self) -> tuple[float, float]:
        """The least and the largest width / height."""
        ratios = [found.size[0] / found.size[1] for found in self.pictures.values()]
        return min(ratios), max(ratios)

    @property
    def is_square(self) -> bool:
        """Whether all pictures have about one shape, a square."""
        low, high = self.ratios
        return 0.95 <= low <= high <= 1.05

    @cached_property
    def transparent(self) -> int:
        """Number of pictures with transparent parts."""
        return sum(found.transparent for found in self.pictures.values())

    @cached_property
    def grey(self) -> int:
        """Number of pictures without colours."""
        return sum(found.grey for found in self.pictures.values())

    def summary(self) -> str:
        """Return the sizes and oddities in a line."""
        low, high = (sorted(found.size for found in self.pictures.values())[place] for place in (0, -1))
        sizes = f"{low[0]}x{low[1]}" + (f" to {high[0]}x{high[1]}" if high != low else "")
        odd = [
            f"{count} {what}"
            for count, what in (
                (self.duplicates, "near-duplicates, which are left out"),
                (self.transparent, "transparent"),
                (self.grey, "without colours"),
                (self.unreadable, "unreadable"),
            )
            if count
        ]
        if self.unseen:
            odd.append(f"looked at {len(self.pictures) - self.unseen} of them, as all would take long")
        return "; ".join([f"{counted(len(self.pictures), 'picture')}, {sizes}", *odd])


def facts_of(root: Path, caption_extensions: Sequence[str] = USUAL) -> FolderFacts:
    """Look at a folder. `InputError` if it is none, or has no pictures."""
    from lorapipe.training.data.image_folder import ImageFolder
    from lorapipe.training.data.messages import no_pictures_message

    folder = ImageFolder(root, caption_extensions=tuple(caption_extensions))
    reg = _regularisation(root)
    contents = replace(folder, exclude=(reg,) if reg else ()).contents()
    seen = look(root, contents)
    if not seen:
        text = no_pictures_message((), len(contents.pictures), contents.left_out)
        cure = "Put readable pictures into the folder." if contents.pictures else "Name a folder of pictures."
        raise InputError(text, where=str(root), cure="" if "there are" in text else cure)
    captions = _captions(root, contents, list(seen))
    by_name = dict(zip(seen, captions.texts, strict=True))
    copies = near_duplicates(root, seen, lambda name: by_name[name])
    missing = len(contents.pictures) - len(seen)
    repeats = repeats_of(root.resolve().name)
    return FolderFacts(root, seen, captions, len(copies), missing, _groups(seen), reg, repeats)


def _named(picture: str) -> FolderName | None:
    return _of_folder(picture.rpartition("/")[0])


@lru_cache(1000)
def _of_folder(folder: str) -> FolderName | None:
    """Return what a folder's name, or that of one above it, says of its pictures."""
    from lorapipe.training.data.captions import folder_name

    return folder_name(PurePosixPath(folder, "a picture"))


def _regularisation(root: Path) -> str:
    inside = root.iterdir() if root.is_dir() else ()
    folders = sorted(each for each in inside if kohya_folders.is_regularisation(each.name) and each.is_dir())
    return next((each.name for each in folders if any(is_picture(file.name) for file in each.rglob("*"))), "")


def _captions(root: Path, contents: Contents, names: list[str]) -> CaptionFacts:
    from lorapipe.training.data.captions import CaptionFiles

    files = CaptionFiles(root, contents.captions)
    found = [files.of(name, "") for name in names]
    words = {named.word for name in names if (named := _named(name)) and named.word}
    return CaptionFacts(tuple(each.text for each in found), sum(each.from_file for each in found), tuple(sorted(words)))


def _groups(pictures: Mapping[str, PictureFacts]) -> tuple[Group, ...]:
    """Return the subfolders with pictures, if there are several and no pictures beside them."""
    tops = Counter(PurePosixPath(name).parts[0] if "/" in name else "" for name in pictures)
    if "" in tops or len(tops) < 2:
        return ()
    named = {PurePosixPath(name).parts[0] for name in pictures if _named(name)}
    return tuple(Group(top, tops[top], top in named) for top in sorted(tops))
