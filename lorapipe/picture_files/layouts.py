"""Folder layouts of other programs: trainers' projects, their samples, masks; and files that lorapipe made.

Each layout needs more than one sign. A folder called `model` or `sample` may hold a user's pictures; it is a trainer's if it
contains weights or lies beside kohya's `img/10_word`. To train on such a folder nevertheless, name it as the folder of
images: folders above that are not considered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set

from lorapipe import kohya_folders
from lorapipe.picture_files.suffixes import WEIGHTS, suffix_of

MASK, CONDITION, REGULARISATION, SAMPLES, PROJECT, OURS = (
    "mask", "conditioning picture", "regularisation", "trainer's sample", "beside a project's img", "made by lorapipe",
)  # fmt: skip
Found = tuple[str, str]
"""(kind, reason that completes `left out: …`)."""

REG = "reg"
_IMG = ("img", "image", "images")
_KOHYAS = frozenset(("reg", "model", "log", "logs"))
_SAMPLE_FOLDERS = frozenset(("sample", "samples", "validation_images", "validation", "previews"))
_WORK_FOLDERS = frozenset(
    ("model", "models", "log", "logs", "output", "outputs", "save", "saves", "backup", "backups", "checkpoint",
     "checkpoints", "tensorboard", "workspace")
)  # fmt: skip
_SAMPLE = re.compile(
    r"(?:.*_)?(?:e\d{6}|\d{6})_\d{2}_\d{14}(?:_\d+)?"  # sd-scripts, kohya_ss, fluxgym, musubi-tuner
    r"|\d{10,13}__\d{9}_\d+"  # ai-toolkit
    r"|.*-training-sample-\d+-\d+-\d+.*",  # OneTrainer
    re.IGNORECASE,
)
"""Names (without suffix) that only trainers give to samples."""
_STEP = re.compile(r".*_\d{6,9}(?:_\d+)*|step_\d+_.*|gs\d{5}-.*|(?:.*_)?(?:step|epoch)[-_]?\d+.*", re.IGNORECASE)
"""Names with a step number, which are samples in a folder of samples."""
_ONETRAINERS = re.compile(r"(.+)-(mask|cond)label")
_MASK = re.compile(r"(.+?)[-_. ]mask", re.IGNORECASE)
_COMPANION_FOLDERS = {
    **dict.fromkeys(("mask", "masks"), MASK),
    **dict.fromkeys(("conditioning", "conditioning_image", "conditioning_images", "conditions"), CONDITION),
    **dict.fromkeys(("control", "controls", "control_images"), CONDITION),
}
"""Folders whose pictures have the names of the pictures that they belong to."""
_OUR_FOLDERS = (
    frozenset(("contact_sheet.jpg", "manifest.json")), frozenset(("contact_sheet.jpg", "left_out.json")),
    frozenset(("report.html", "grid.png")), frozenset(("pictures.jpg", "pipeline.yaml")),
)  # fmt: skip
OUR_NAMES = frozenset(("contact_sheet.jpg", "grid.png", "pictures.jpg"))


def folder_of(name: str) -> str:
    """Return the part before the last `/`; empty for a file in the root."""
    return name[: max(0, name.rfind("/"))]


def stem_of(name: str) -> str:
    """Return a file's name without folder and last suffix."""
    base = name[name.rfind("/") + 1 :]
    dot = base.rfind(".")
    return base[:dot] if dot > 0 else base


def found_in(pictures: Sequence[str], files: Sequence[str]) -> dict[str, Found]:
    """Return the `pictures` not to train on, and why; `files` are all files of the folder."""
    folders = _Folders(pictures, files)
    found: dict[str, Found] = {}
    for rule in (_ours, _projects, _regularisation, _samples, _masks):
        left = [picture for picture in pictures if picture not in found]
        found |= dict(rule(left, folders))
    return found


class _Folders:
    """Index of files by folder; the root's name is empty."""

    def __init__(self, pictures: Sequence[str], files: Sequence[str]) -> None:
        self.names: dict[str, set[str]] = {}
        self.weights: set[str] = set()
        self.pictures: dict[str, list[str]] = {}
        for name in files:
            folder, base = folder_of(name), name[name.rfind("/") + 1 :]
            self.names.setdefault(folder, set()).add(base)
            if suffix_of(base) in WEIGHTS or base.startswith("events.out.tfevents"):
                self.weights.add(folder)
        for picture in pictures:
            self.pictures.setdefault(folder_of(picture), []).append(picture)
        self.all = {above for folder in self.names for above in _upward(folder)}
        self.below: dict[str, set[str]] = {}
        for folder in self.all - {""}:
            self.below.setdefault(folder_of(folder), set()).add(folder)

    def holds_weights(self, folder: str) -> bool:
        return any(each == folder or each.startswith(f"{folder}/") for each in self.weights)

    def kohyas(self, folder: str) -> bool:
        """Return whether a folder has subfolders named `10_word` with pictures."""
        inner = self.below.get(folder, ())
        return any(
            (read := kohya_folders.parse(_base(each))) and read.word and self.holds_pictures(each) for each in inner
        )

    def holds_pictures(self, folder: str) -> bool:
        return any(each == folder or each.startswith(f"{folder}/") for each in self.pictures)


def _ours(pictures: Sequence[str], folders: _Folders) -> Iterator[tuple[str, Found]]:
    ours = {folder for folder, names in folders.names.items() if any(sign <= names for sign in _OUR_FOLDERS)}
    for picture in pictures if ours else ():
        for folder in _upward(folder_of(picture)):
            if folder in ours and (folder or picture in OUR_NAMES):
                yield picture, (OURS, "lorapipe made it")
                break


def _projects(pictures: Sequence[str], folders: _Folders) -> Iterator[tuple[str, Found]]:
    """Yield pictures of kohya_ss's `img/10_word`, `reg/`, `model/sample/`, `log/` outside `img`."""
    for project in sorted(folders.all):
        inner = {_base(each).casefold(): each for each in folders.below.get(project, ())}
        img = next((inner[name] for name in _IMG if name in inner and folders.kohyas(inner[name])), None)
        if img is None or not _KOHYAS & inner.keys():
            continue
        reg = inner.get(REG)
        for picture in _below(pictures, project):
            if reg is not None and picture.startswith(f"{reg}/"):
                yield picture, (REGULARISATION, "a picture of the class, in a kohya project")
            elif not picture.startswith(f"{img}/"):
                yield picture, (PROJECT, f"lies beside {img} in a kohya project, which trains on that alone")


def _regularisation(pictures: Sequence[str], folders: _Folders) -> Iterator[tuple[str, Found]]:
    regs = [
        each for each in sorted(folders.all) if kohya_folders.is_regularisation(_base(each)) and _is_reg(each, folders)
    ]
    inside = [picture for picture in pictures if any(picture.startswith(f"{reg}/") for reg in regs)]
    if len(inside) < len(pictures):  # else they are what is meant
        yield from ((picture, (REGULARISATION, "a picture of the class")) for picture in inside)


def _is_reg(folder: str, folders: _Folders) -> bool:
    return _base(folder).casefold() == REG or (folders.kohyas(folder) and folders.kohyas(folder_of(folder)))


def _samples(pictures: Sequence[str], folders: _Folders) -> Iterator[tuple[str, Found]]:
    """Yield trainers' samples: by their names, or in folders with a trainer's weights."""
    places = {folder for folder in folders.pictures if folder and _is_trainers(folder, folders)}
    found = [
        picture
        for picture in sorted(set(pictures))
        if folder_of(picture) in places or _SAMPLE.fullmatch(stem_of(picture)) or _is_preview(picture, folders)
    ]
    at_root = all("/" not in picture for picture in pictures)
    if len(found) == len(pictures) and at_root:  # the user has named the folder of samples itself
        return
    yield from ((picture, (SAMPLES, "a trainer's own sample")) for picture in found)


def _is_trainers(folder: str, folders: _Folders) -> bool:
    for each in _upward(folder):
        if not each:
            return False
        name = _base(each).casefold()
        if name in _WORK_FOLDERS and folders.holds_weights(each):
            return True
        if name in _SAMPLE_FOLDERS and _holds_samples(each, folders):
            return True
    return False


def _holds_samples(folder: str, folders: _Folders) -> bool:
    """Return whether a folder has weights in or beside it, or mostly pictures with step numbers."""
    if folder_of(folder) in folders.weights or folder in folders.weights:
        return True
    inside = [picture for place, those in folders.pictures.items() if _within(place, folder) for picture in those]
    return 2 * sum(bool(_STEP.fullmatch(stem_of(picture))) for picture in inside) > len(inside)


def _is_preview(picture: str, folders: _Folders) -> bool:
    """Return whether a picture is the preview of weights beside it: `penny.safetensors`, `penny.preview.png`."""
    folder = folder_of(picture)
    if folder not in folders.weights:
        return False
    stem = stem_of(picture).removesuffix(".preview")
    return any(f"{stem}{suffix}" in folders.names[folder] for suffix in WEIGHTS)


def _masks(pictures: Sequence[str], folders: _Folders) -> Iterator[tuple[str, Found]]:
    stems: dict[str, set[str]] = {}
    for picture in pictures:
        stems.setdefault(folder_of(picture), set()).add(stem_of(picture))
    for folder, inside in stems.items():
        yield from _masks_by_name(folders.pictures[folder], inside)
        kind = _COMPANION_FOLDERS.get(_base(folder).casefold(), "")
        if kind and 2 * len(inside & _around(folder, stems)) >= len(inside):
            found_so = kind, f"a {kind}, in a folder {_base(folder)}"
            yield from ((picture, found_so) for picture in folders.pictures[folder])


def _masks_by_name(pictures: Sequence[str], stems: Set[str]) -> Iterator[tuple[str, Found]]:
    """Yield masks in the folder of their pictures, whose names without suffix are `stems`."""
    named_so = {stem: found[1] for stem in stems if (found := _MASK.fullmatch(stem)) and found[1] in stems}
    usual = len(named_so) >= 2 and 2 * len(named_so) >= len(stems) - len(named_so)
    for picture in pictures:
        stem = stem_of(picture)
        if found := _ONETRAINERS.fullmatch(stem):
            kind = MASK if found[2] == "mask" else CONDITION
            yield picture, (kind, f"OneTrainer's {kind} of {found[1]}")
        elif usual and stem in named_so:
            yield picture, (MASK, f"the mask of {named_so[stem]}")


def _around(folder: str, stems: Mapping[str, Set[str]]) -> set[str]:
    """Return the stems of pictures in the parent folder and in sibling folders."""
    above = folder_of(folder)
    beside = (
        inside for each, inside in stems.items() if each != folder and (each == above or folder_of(each) == above)
    )
    return set().union(*beside)


def mask_stems(stem: str) -> tuple[str, ...]:
    """Return the possible stems of a mask beside its picture."""
    return tuple(f"{stem}{ending}" for ending in ("-masklabel", "-mask", "_mask", ".mask", " mask"))


def _base(folder: str) -> str:
    return folder[folder.rfind("/") + 1 :]


def _upward(folder: str) -> Iterator[str]:
    """Yield a folder and its ancestors, up to the root."""
    while folder:
        yield folder
        folder = folder_of(folder)
    yield ""


def _within(folder: str, above: str) -> bool:
    return folder == above or folder.startswith(f"{above}/")


def _below(pictures: Sequence[str], folder: str) -> Iterator[str]:
    return (picture for picture in pictures if not folder or picture.startswith(f"{folder}/"))
