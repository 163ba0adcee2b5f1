"""Sorts a folder's files into pictures, their captions, and others with the reason why they are not used."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lorapipe.picture_files import suffixes
from lorapipe.picture_files.caption_names import USUAL, CaptionNames
from lorapipe.picture_files.ignored_names import ignore_reason
from lorapipe.picture_files.layouts import Found, folder_of, found_in, stem_of

NOT_READ, ORPHAN, UNUSED, OTHER_ENDING, SECOND = (
    "not read",
    "caption without a picture",
    "caption of a picture not used",
    "caption not asked for",
    "second caption",
)
LEFT_BEHIND = "passed over"
HIDDEN = "hidden"
CONFIGURATION = frozenset(
    ("lorapipe.yaml", "lorapipe-status.txt", "pipeline.yaml", "lorapipe.lock", "lorapipe-generated.json")
)


@dataclass(frozen=True)
class LeftOut:
    """A file that is not used; `kind` groups such files in messages, `reason` completes "left out: …"."""

    path: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Contents:
    """Contents of a folder, as sorted relative names. `captions`: picture → its caption files, in order of precedence."""

    pictures: tuple[str, ...] = ()
    captions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


def sort_out(
    files: Iterable[str],
    extensions: Sequence[str] = USUAL,
    is_picture: Callable[[str], bool] = lambda name: False,
) -> Contents:
    """Classify a folder's files by their relative names, with `/` between parts.

    A name that ends with `/` is a folder that was not entered. `is_picture`, which may read a file's first bytes, is called
    only for names whose suffix is unknown.
    """
    kept, left_out = _without_ignored(sorted(set(files)))
    called = [name for name in kept if _calls_itself_a_picture(name, is_picture)]
    left_out |= found_in(called, kept)
    left_out |= _unread(name for name in called if name not in left_out)
    pictures = [name for name in called if name not in left_out]
    captions = CaptionNames(kept, pictures, extensions)
    beside = {picture: found for picture in pictures if (found := captions.of(picture))}
    rest = set(kept).difference(called, *beside.values())
    left_out |= _captions_of_unused([name for name in called if name in left_out], rest, extensions)
    left_out |= _rest(sorted(rest), pictures, left_out, extensions)
    ordered = (LeftOut(path, *found) for path, found in sorted(left_out.items()))
    return Contents(tuple(pictures), beside, tuple(ordered))


def _unread(names: Iterable[str]) -> dict[str, Found]:
    """Return pictures of unsupported formats, with advice for the user."""
    reasons = ((name, suffixes.NOT_READ.get(suffixes.suffix_of(name), "")) for name in names)
    return {name: (NOT_READ, reason) for name, reason in reasons if reason}


def _without_ignored(names: Iterable[str]) -> tuple[list[str], dict[str, Found]]:
    """Split names into those to look at and ignored ones; an ignored folder counts as one, whatever it contains."""
    kept, left_out, folders = list[str](), dict[str, Found](), dict[str, Found]()
    for name in names:
        folder = name[: name.rfind("/") + 1]
        if folder not in folders:
            folders[folder] = _entered(folder)
        place, reason = folders[folder]
        if not reason:
            place, reason = name, ignore_reason(name[len(folder) :], False)
        if reason:
            left_out[place] = (HIDDEN if reason == "hidden" else LEFT_BEHIND, reason)
        else:
            kept.append(name)
    return kept, left_out


def _calls_itself_a_picture(name: str, is_picture: Callable[[str], bool]) -> bool:
    """Return whether a file is a picture by its suffix, or by `is_picture` where the suffix is unknown."""
    suffix = suffixes.suffix_of(name)
    if suffix in suffixes.READ or suffix in suffixes.NOT_READ:
        return True
    return suffix not in suffixes.NO_PICTURES and is_picture(name)


def _captions_of_unused(unused: Sequence[str], rest: Collection[str], extensions: Sequence[str]) -> dict[str, Found]:
    """Return captions of pictures that are left out."""
    names = CaptionNames(rest, unused, extensions)
    return {caption: (UNUSED, f"{name} is left out") for name in unused for caption in names.of(name)}


def _entered(folder: str) -> tuple[str, str]:
    """Return the first ignored part of a folder's name (which ends with `/`), and why."""
    parts = folder.split("/")[:-1]
    for depth, part in enumerate(parts, start=1):
        if reason := ignore_reason(part, True):
            return f"{'/'.join(parts[:depth])}/", reason
    return "", ""


def _rest(
    names: Sequence[str], pictures: Sequence[str], left_out: Mapping[str, object], extensions: Sequence[str]
) -> dict[str, Found]:
    """Classify the files that are neither pictures nor captions of pictures."""
    lower = tuple(extension.lower() for extension in extensions)
    stems = {(folder_of(picture), stem_of(picture)) for picture in pictures}
    found: dict[str, Found] = {}
    for name in names:
        if name in left_out:
            continue
        ending, base = suffixes.suffix_of(name), name[name.rfind("/") + 1 :]
        if base.casefold() in CONFIGURATION:
            found[name] = ("other", "a file of lorapipe's")
        elif base.lower().endswith(lower):
            found[name] = (ORPHAN, "no picture of that name lies beside it")
        elif (ending in USUAL or ending == ".tags") and (folder_of(name), stem_of(name)) in stems:
            found[name] = (OTHER_ENDING, f"{ending} is not among caption_extensions")
        else:
            found[name] = _by_ending(name, ending)
    return found


def _by_ending(name: str, ending: str) -> tuple[str, str]:
    kind = suffixes.NO_PICTURES.get(ending, suffixes.OTHER)
    if kind == suffixes.TABLE:
        return kind, "seen and not read; captions are read from text files beside the pictures"
    if kind == suffixes.FILM:
        return kind, "a film; save frames of it as png or jpg"
    if kind == suffixes.ARCHIVE:
        return kind, "packed; unpack it"
    return kind, f"not a picture ({ending})" if ending else "not a picture"
