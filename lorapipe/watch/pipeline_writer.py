"""Write the pipeline of a dropped folder to a file that users can read, change and run: `outputs/penny/pipeline.yaml`.

It extends the watcher's pipeline, or the one that suits the folder (`starting_pipeline`), and then the folder's own
`lorapipe.yaml`, which takes precedence; mistakes are reported where they were written.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lorapipe import kohya_folders
from lorapipe.atomic import write_text
from lorapipe.errors import InputError, Problem
from lorapipe.pipeline import loader
from lorapipe.pipeline.extends import open_layers
from lorapipe.pipeline.overrides import put, split
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.spec import to_dict
from lorapipe.starting_settings.folder_facts import facts_of
from lorapipe.watch import starting_pipeline
from lorapipe.watch.allowed_paths import places_of, targets_of
from lorapipe.watch.captions import captions_in, has_caption_files, lacking
from lorapipe.watch.folder_names import is_kohyas, repeats_of, trigger_of
from lorapipe.watch.folder_settings import OVERRIDES, has_address, load_with_overrides, read_overrides
from lorapipe.watch.folder_state import is_picture
from lorapipe.watch.pipeline_text import meant, pipeline_text, quoted
from lorapipe.watch.resource_limits import asked, too_much
from lorapipe.watch.settings import WatchSettings
from lorapipe.watch.starting_pipeline import InboxSettings, write_starting_pipeline

CAPTIONING = Path(__file__).parent / "layers" / "captioning.yaml"
FILE = "pipeline.yaml"
CAPTIONS = (".txt", ".caption")


@dataclass(frozen=True)
class InboxPipeline:
    """The template of all jobs of an inbox: a pipeline (None: the built-in one), `--set` settings, watch settings."""

    pipeline: Path | None
    sets: tuple[str, ...]
    watching: WatchSettings


@dataclass(frozen=True)
class DroppedFolder:
    """A dropped folder: its pictures, its name, the folder of its results, and the name of its LoRA, with version."""

    images: Path
    name: str
    folder: Path
    file: str


def write(template: InboxPipeline, dropped: DroppedFolder, tell: Callable[[str], None] = lambda text: None) -> Pipeline:
    """Write the pipeline of a folder, and load it; `tell` is called with messages for its user.

    Raises `InputError` with all problems. The folder's own settings are untrusted: see `allowed_paths` and
    `resource_limits`.
    """
    own = dropped.images / OVERRIDES
    overrides = read_overrides(own, dropped.images, template.watching) if own.exists() else None
    changes: Mapping[str, object] = overrides or {}
    sets = [text for text in template.sets if not has_address(split(text)[0], changes)]
    given = _variables_in(sets)
    wanted = {**given, **_mapping(changes.get("vars"))}
    endings = _endings(changes, sets)
    captions = captions_in(dropped.images, endings)
    trigger = _trigger(dropped)
    fixed = {"images": str(dropped.images), "name": dropped.file, "folder": str(dropped.folder)}
    free: dict[str, object] = {} if "trigger" in wanted else {"trigger": trigger}
    variables: dict[str, object] = {**given, **free, **fixed}
    tagging, tagger = _tagging(template, dropped.images, changes, endings)
    base = template.pipeline
    if base is None:
        base = dropped.folder / starting_pipeline.FILE
        settings = _said(template.watching, sets, changes)
        if tagging:
            settings = settings.with_stage(starting_pipeline.DATASET, {"captions_from": "$tags"})
        facts = replace(facts_of(dropped.images, endings), repeats=repeats_of(dropped.name))
        tell(write_starting_pipeline(base, settings, facts, trigger, dropped.file))
    else:
        variables |= _regularisation_variable(dropped, base)
    layers = [base, *tagging]
    path = dropped.folder / FILE
    stages, tune = {**_stages(base, sets), **tagger}, template.watching.tune
    write_text(pipeline_text(dropped.name, layers, variables, stages, tune), path)
    pipeline = owners = loader.load(path)
    if overrides is not None:
        write_text(pipeline_text(dropped.name, [*layers, own], variables, stages, tune), path)
        owners = _tried(base, template.sets, dropped.images, "name")
        pipeline = load_with_overrides(path, own, places_of((pipeline, owners), dropped.images, dropped.folder))
    if said := lacking(str({**wanted, **variables}.get("trigger", "")), captions, pipeline):
        tell(said)
    _require_affordable(pipeline, owners, dropped, len(captions), template.watching)
    return pipeline


def _tagging(
    template: InboxPipeline, images: Path, changes: Mapping[str, object], endings: Sequence[str]
) -> tuple[list[Path], dict[str, dict[str, object]]]:
    """Return the layers and the settings of stages that caption a folder; none if it has captions, or no tagger is set.

    What the folder's own file says of the stage is left out.
    """
    captioning = template.watching.captioning
    if template.pipeline or captioning is None or has_caption_files(images, endings):
        return [], {}
    ours = to_dict(captioning)
    left = {knob: ours[knob] for knob in ours if not has_address(("stages", "tags", knob), changes)}
    return [CAPTIONING], {"tags": left} if left else {}


def _variables_in(sets: Iterable[str]) -> dict[str, object]:
    """Return the variables of `--set vars.NAME=VALUE`."""
    return {str(address[1]): value for address, value in map(split, sets) if address[0] == "vars"}


def _said(watching: WatchSettings, sets: Sequence[str], changes: Mapping[str, object]) -> InboxSettings:
    """Return what `--set` and a folder's own settings say; the latter count."""
    own, stages = _mapping(changes.get("vars")), _mapping(changes.get("stages"))
    of_stages: dict[str, dict[str, object]] = {}
    for address, value in map(split, sets):
        if address[0] == "stages" and len(address) > 1:
            stage = of_stages.setdefault(str(address[1]), {})
            if len(address) == 3:
                stage[str(address[2])] = value
    for name, settings in stages.items():
        of_stages[name] = {**of_stages.get(name, {}), **_mapping(settings)}
    return InboxSettings(watching, {**_variables_in(sets), **own}, of_stages, own)


def _regularisation_variable(dropped: DroppedFolder, base: Path) -> dict[str, object]:
    """Return the variable of the folder of regularisation pictures, if there is one. `InputError` if nothing uses it."""
    reg = _regularisation(dropped.images)
    if reg is None:
        return {}
    if "reg" not in _mapping(open_layers(base).value.get("vars")):
        what = f"has a folder {reg.name}, for which {base.name} has no variable."
        raise InputError(what, where=dropped.name, cure="Add `vars: {reg: …}` to it, or remove the folder.")
    return {"reg": str(reg)}


def _require_affordable(
    pipeline: Pipeline, owners: Pipeline, dropped: DroppedFolder, captions: int, watching: WatchSettings
) -> None:
    """Raise `InputError` if a folder exceeds the limits and the demands of the owner's pipeline."""
    named_so, repeats = _shown(dropped.images)
    pictures = max(named_so, captions)
    asked_for, usual = asked(pipeline, pictures * repeats), asked(owners, pictures)
    if problems := [replace(each, where=dropped.name) for each in too_much(asked_for, usual, watching)]:
        raise InputError(problems)


def _tried(base: Path, sets: Sequence[str], images: Path, name: str) -> Pipeline:
    """Load the owner's pipeline for a folder, without the folder's own settings."""
    return loader.load(base, [*sets, f"vars.images={quoted(meant(str(images)))}", f"vars.name={quoted(name)}"])


def check(template: InboxPipeline, inbox: Path) -> None:
    """Raise `InputError` for mistakes that would affect every folder, before one is dropped."""
    if template.pipeline is None:
        with TemporaryDirectory() as folder:
            base = Path(folder) / starting_pipeline.FILE
            said = _said(template.watching, template.sets, {})
            write_starting_pipeline(base, said, replace(starting_pipeline.TYPICAL, root=inbox), "penny")
            _tried(base, template.sets, inbox, "one")
        return
    if template.watching.captioning is not None:
        what = f"is for the pipeline that the inbox writes, not for {template.pipeline.name}."
        cure = "Write a stage in it: {uses: caption, images: ${images}, tagger: …}, and captions_from in prepare."
        raise InputError(what, where="--set watch.captioning", cure=cure)
    first, second = (_tried(template.pipeline, template.sets, inbox, name) for name in ("one", "two"))
    elsewhere = targets_of(second)
    same = [
        Problem(f"{value} is the same for every folder.", f"{template.pipeline} {place}", "Write ${name} in it.")
        for place, value in targets_of(first).items()
        if elsewhere.get(place) == value
    ]
    if same:
        raise InputError(same)


def _trigger(dropped: DroppedFolder) -> str:
    """Return the trigger word: from the name of the folder, or of its only subfolder of kohya's form."""
    subjects = _subjects(dropped.images)
    return trigger_of(subjects[0] if len(subjects) == 1 else dropped.name)


def _regularisation(images: Path) -> Path | None:
    return next(
        (each for each in images.iterdir() if kohya_folders.is_regularisation(each.name) and each.is_dir()), None
    )


def _subjects(images: Path) -> list[str]:
    """Return the names of kohya-style subfolders, down to `img/10_penny woman`."""
    found = [each for pattern in ("*", "*/*") for each in images.glob(pattern) if is_kohyas(each.name)]
    parts = [each.relative_to(images).parts for each in found if each.is_dir()]
    return sorted({each[-1] for each in parts if not kohya_folders.is_regularisation(each[0])})


def _endings(changes: Mapping[str, object], sets: Sequence[str]) -> Sequence[str]:
    """Return the suffixes of caption files in the settings."""
    said = {address[1:]: value for address, value in map(split, sets) if address[0] == "stages"}
    dataset = _mapping(_mapping(changes.get("stages")).get("dataset"))
    endings = dataset.get("caption_extensions", said.get(("dataset", "caption_extensions"), CAPTIONS))
    is_list = isinstance(endings, (list, tuple)) and all(isinstance(each, str) for each in endings)
    return tuple(endings) if is_list else CAPTIONS


def _shown(images: Path) -> tuple[int, int]:
    """Return the number of pictures in a folder, and the largest number of repeats in names of folders below it."""
    files = [file for file in images.rglob("*") if is_picture(file.name)]
    folders = {parent for file in files for parent in file.relative_to(images).parents}
    named = map(kohya_folders.parse, (folder.name for folder in folders))
    return len(files), max((each.repeats for each in named if each), default=1)


def _stages(base: Path, sets: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return the stages' settings that `--set` changes, with the changes and with short forms expanded."""
    document = copy.deepcopy(open_layers(base).value)
    touched: dict[str, dict[str, object]] = {}
    for address, value in map(split, sets):
        if address[0] == "stages" and len(address) > 2:
            if problem := put(document, address, value):
                raise InputError(problem)
            stage, knob = str(address[1]), str(address[2])
            touched.setdefault(stage, {})[knob] = document["stages"][stage][knob]
    return touched


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
