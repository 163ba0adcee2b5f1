"""The pipeline of a dropped folder, as a file that its user can read, change and run: `outputs/penny/pipeline.yaml`.

It extends the pipeline that the watcher was given, or the built-in one of its kind of base, then the folder's own
`lorapipe.yaml`, whose settings count most; mistakes are reported where they were written.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorapipe.aside import write_text
from lorapipe.errors import InputError, Problem
from lorapipe.pipeline.document import open_document
from lorapipe.pipeline.language import Pipeline
from lorapipe.pipeline.layers import EXTENDS, open_layers
from lorapipe.pipeline.overrides import put, split
from lorapipe.spec import Address, Destination, Spec, knobs
from lorapipe.watch.look import REGULARISATION, is_ours, is_picture
from lorapipe.watch.names import is_kohyas, repeats_of, trigger_of

BUILT_IN = Path(__file__).parent / "pipelines"
OVERRIDES = "lorapipe.yaml"
FILE = "pipeline.yaml"
CAPTIONS = (".txt", ".caption")
MANY = 100
"""Pictures of a character; a set of more is a style or a concept, and takes more steps."""


@dataclass(frozen=True)
class Recipe:
    """What every job of an inbox is made after: a pipeline (None: the built-in one), settings in it, the least pictures."""

    pipeline: Path | None
    sets: tuple[str, ...]
    least: int


@dataclass(frozen=True)
class Order:
    """One dropped folder: its pictures, its name, where everything goes, and the name of its LoRA (with its version)."""

    images: Path
    name: str
    folder: Path
    file: str


def built_in(variables: Mapping[str, Any]) -> Path:
    """The pipeline for a base: the pocket base where none is named."""
    known = {file.stem: file for file in BUILT_IN.glob("*.yaml") if file.stem != "easy"}
    if variables.get("checkpoint", "pocket") == "pocket":
        return known["pocket"]
    family = str(variables.get("family", "sd15"))
    return known.get(family, BUILT_IN / "easy.yaml")


def write(recipe: Recipe, order: Order) -> Pipeline:
    """Write the pipeline of a folder, and read it. Raises `InputError` with all that is wrong, in its user's words."""
    own = order.images / OVERRIDES
    changes = _overrides(own) if own.exists() else {}
    sets = [text for text in recipe.sets if not _is_in(split(text)[0], changes)]
    given = {str(address[1]): value for address, value in map(split, sets) if address[0] == "vars"}
    wanted = {**given, **_mapping(changes.get("vars"))}
    base = recipe.pipeline or built_in(wanted)
    layers = [base]
    variables = {**given, **_variables(recipe, order, base, wanted)}
    if (reg := _regularisation(order.images)) is not None:
        if recipe.pipeline is None:
            layers.append(BUILT_IN.parent / "layers" / "reg.yaml")
        elif "reg" not in _mapping(open_layers(base).value.get("vars")):
            what = f"has a folder {REGULARISATION}, for which {base.name} has no variable."
            raise InputError(what, where=order.name, cure="Add `vars: {reg: …}` to it, or take the folder away.")
        variables["reg"] = str(reg)
    path = order.folder / FILE
    if own.exists():
        write_text(_text(order, layers, variables, _stages(base, sets)), path)
        trusted = Pipeline.load(path)
        layers.append(own)
    write_text(_text(order, layers, variables, _stages(base, sets)), path)
    pipeline = Pipeline.load(path)
    if own.exists():
        _check_places(pipeline, trusted, own, order.folder)
    return pipeline


def check(recipe: Recipe, inbox: Path) -> None:
    """Find the mistakes that any folder would meet, before one is there. `InputError` holds them."""
    variables = {str(address[1]): value for address, value in map(split, recipe.sets) if address[0] == "vars"}
    base = recipe.pipeline or built_in(variables)

    def tried(name: str) -> Pipeline:
        return Pipeline.load(base, [*recipe.sets, f"vars.images={_quoted(str(inbox))}", f"vars.name={name}"])

    first, second = tried("one"), tried("two")
    if recipe.pipeline is not None:
        same = [
            Problem(f"{value} is the same for every folder.", f"{base} {place}", "Write ${name} in it.")
            for place, value in _places(first).items()
            if _places(second).get(place) == value
        ]
        if same:
            raise InputError(same)


def _variables(recipe: Recipe, order: Order, base: Path, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a folder, as far as its user does not say it otherwise."""
    subjects = _subjects(order.images)
    trigger = trigger_of(subjects[0] if len(subjects) == 1 else order.name)
    fixed = {"images": str(order.images), "name": order.file, "folder": str(order.folder)}
    free: dict[str, Any] = {"trigger": trigger}
    if recipe.pipeline is None:
        pictures, captions = _contents(order.images)
        said = str(wanted.get("trigger", trigger))
        bare = bool(captions) and not any(said.casefold() in text.casefold() for text in captions)
        usual = int(_mapping(open_layers(base).value.get("vars")).get("steps", 1000))
        free |= {"least": recipe.least, "repeats": repeats_of(order.name), "steps": steps_for(pictures, usual)}
        free |= {"prefix": f"{said}," if bare else "", "class_word": "" if bare else said}
    return {**{name: value for name, value in free.items() if name not in wanted}, **fixed}


def steps_for(pictures: int, usual: int) -> int:
    """Whole rounds through the pictures, about as many steps as are usual; up to three times that for a large set."""
    wanted = usual * max(1.0, min(3.0, pictures / MANY))
    return max(1, round(wanted / max(1, pictures))) * max(1, pictures)


def _regularisation(images: Path) -> Path | None:
    return next((each for each in images.iterdir() if each.name.casefold() == REGULARISATION and each.is_dir()), None)


def _subjects(images: Path) -> list[str]:
    """The names of subfolders in kohya's way, down to `img/10_penny woman`."""
    found = [each for pattern in ("*", "*/*") for each in images.glob(pattern) if is_kohyas(each.name)]
    parts = [each.relative_to(images).parts for each in found if each.is_dir()]
    return sorted({each[-1] for each in parts if each[0].casefold() != REGULARISATION})


def _contents(images: Path) -> tuple[int, list[str]]:
    """How many pictures there are, and what their captions say."""
    pictures, captions = 0, list[str]()
    for file in images.rglob("*"):
        parts = file.relative_to(images).parts
        if not all(map(is_ours, parts)) or any(part.casefold() == REGULARISATION for part in parts[:-1]):
            continue
        pictures += is_picture(file.name)
        if file.suffix.lower() in CAPTIONS and file.is_file():
            with file.open("rb") as opened:
                captions.append(opened.read(10_000).decode("utf-8", "replace"))
    return pictures, [text for text in captions if text.strip()]


def _overrides(path: Path) -> dict[str, Any]:
    """A folder's own settings, as far as they have the shape of some; `Pipeline.load` says what else is wrong."""
    document = open_document(path)
    if not isinstance(document.value, dict):
        raise InputError("is not a mapping.", where=str(path), cure="Write `vars:` or `stages:` in it.")
    if EXTENDS in document.value:
        cure = "Say what to change under `vars:` and `stages:`."
        raise InputError("cannot extend other files.", where=document.where((EXTENDS,)), cure=cure)
    return document.value


def _is_in(address: Address, document: Mapping[str, Any]) -> bool:
    """Whether a document has something at an address, or above it a value of its own."""
    value: Any = document
    for part in address:
        if not isinstance(value, dict):
            return True
        if part not in value:
            return False
        value = value[part]
    return True


def _stages(base: Path, sets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The settings of stages that `--set` changes, as they are then: short forms written out."""
    document = copy.deepcopy(open_layers(base).value)
    touched: dict[str, dict[str, Any]] = {}
    for address, value in map(split, sets):
        if address[0] == "stages" and len(address) > 2:
            if problem := put(document, address, value):
                raise InputError(problem)
            stage, knob = str(address[1]), str(address[2])
            touched.setdefault(stage, {})[knob] = document["stages"][stage][knob]
    return touched


def _text(order: Order, layers: Sequence[Path], variables: Mapping[str, Any], stages: Mapping[str, Any]) -> str:
    lines = [
        f"# What lorapipe does with the folder {_plain(order.name)}. It is written anew for each version of it; to try",
        "# something else, copy this file, change the copy, and `lorapipe run` it: what stays the same is reused.",
        f"{EXTENDS}:",
        *(f"  - {_quoted(layer.absolute().as_posix())}" for layer in layers),
        "vars:",
        *(f"  {name}: {_quoted(_meant(value))}" for name, value in variables.items()),
        *(["stages:"] if stages else []),
    ]
    for stage, settings in stages.items():
        lines += [f"  {_quoted(stage)}:", *(f"    {knob}: {_quoted(value)}" for knob, value in settings.items())]
    return "\n".join(lines) + "\n"


def _meant(value: Any) -> Any:
    """A name may hold `${`, and mean it."""
    return value.replace("${", "$${") if isinstance(value, str) else value


def _plain(text: str) -> str:
    return "".join(
        letter if letter.isprintable() else "?" for letter in text.encode("utf-8", "replace").decode("utf-8")
    )


def _quoted(value: Any) -> str:
    """A value as YAML that is JSON; what cannot be printed is written by its number."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"the name {_plain(text)} is not valid text.", cure="Rename it.") from None
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in text)


def _check_places(pipeline: Pipeline, trusted: Pipeline, own: Path, folder: Path) -> None:
    """What came with pictures may choose settings, but not where on the disk is written."""
    allowed, problems = _places(trusted), []
    for place, path in _places(pipeline).items():
        if allowed.get(place) != path and not _inside(path, folder):
            problems.append(
                Problem("may only write into the folder of the results.", f"{own} {place}", "Take it away.")
            )
    if problems:
        raise InputError(problems)


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _places(pipeline: Pipeline) -> dict[str, Path]:
    """Every path that is no source: where stages write, by stage and setting."""
    found: dict[str, Path] = {}
    for name, stage in pipeline.stages.items():
        _gather(name, stage, found)
    return found


def _gather(place: str, value: Any, found: dict[str, Path]) -> None:
    if isinstance(value, (Path, Destination)):
        found[place] = value if isinstance(value, Path) else value.path
    elif isinstance(value, Spec) and dataclasses.is_dataclass(value):
        for knob in knobs(type(value)):
            _gather(f"{place}.{knob.name}", getattr(value, knob.name), found)
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            _gather(f"{place}[{index}]", item, found)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
