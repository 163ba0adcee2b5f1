"""The results of stages: datasets, weights, reports, files.

An artifact is a frozen dataclass of plain values, paths, specs and other artifacts. In a pipeline it is written
`$stage`, or `$stage.field` for an artifact inside an artifact. On disk it is JSON, see `artifact_json`.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

from lorapipe.spec import Ref, Spec, Value, ValueKind


class Artifact(Value):
    """Base class of the results of stages. Subclasses are frozen dataclasses."""

    value_kind: ClassVar[ValueKind] = "reference"
    stored_name: ClassVar[str] = "Artifact"
    """The class's name in stored results, content keys and saved graphs. It stays when the class is renamed."""

    def __init_subclass__(cls, stored_name: str = "", **keywords: object) -> None:
        """Set the stored name: `class Weights(Artifact, stored_name="Weights")`; the default is the class's name."""
        cls.stored_name = stored_name or cls.__name__
        super().__init_subclass__(**keywords)

    @property
    def as_source(self) -> Path | None:
        """The file that it is, where a knob takes a file or `$stage`; None where it is no single file."""
        return None

    @classmethod
    def parse(cls, value: object, folder: Path) -> object:
        """Parse a `Ref`, which the run replaces by the artifact."""
        return Ref.parse(value, folder)

    def plain(self) -> object:
        """Raise `TypeError`: documents contain references, not artifacts."""
        raise TypeError(f"a {type(self).__name__} has no place in a document")

    @classmethod
    def schema(cls) -> dict[str, object]:
        return Ref.schema()


LOCATION = "location"
"""Marks a field with the location of something, which is not part of the content digest."""
OPEN = "open"
"""Marks a path that users will want to open when the stage has finished."""


class StoredName(NamedTuple):
    """Marks a field that has its earlier name in stored results and content keys."""

    name: str


@dataclass(frozen=True)
class Dataset(Artifact, stored_name="Dataset"):
    """Pictures, captions and buckets that are ready to train on.

    `manifest` is the JSON of `lorapipe.training.data.manifest`; it names pictures relative to `images`, and masks
    relative to `masks`, by digest. `page` shows the dataset in a browser; results of earlier releases have none.
    """

    manifest: Path
    base: Spec
    images: Annotated[Path, LOCATION]
    contact_sheet: Annotated[Path, LOCATION, OPEN]
    masks: Annotated[Path | None, LOCATION] = None
    page: Annotated[Path | None, LOCATION, OPEN] = None


@dataclass(frozen=True)
class Captions(Artifact, stored_name="Captions"):
    """Captions of the pictures in a folder: one file for each below `folder`, named like the picture.

    `data` is a JSON file that says where each caption comes from.
    """

    folder: Annotated[Path, OPEN]
    data: Annotated[Path, LOCATION]
    images: Annotated[Path, LOCATION]

    @property
    def as_source(self) -> Path:
        """The folder of caption files."""
        return self.folder


@dataclass(frozen=True)
class Snapshot(Artifact, stored_name="Snapshot"):
    """The adapter after `step` updates: a kohya-format fp32 safetensors file.

    Of adapters that were not trained here, `step` counts them from 1, since 0 is the base.
    """

    step: int
    epoch: int
    path: Path


@dataclass(frozen=True)
class Weights(Artifact, stored_name="Weights"):
    """An adapter: its snapshots in the order of their steps, and its origin.

    `dataset` is the training set, `training` a JSON file of the training's settings and counts (the source of `ss_*`
    metadata), `log` a JSON-lines file of metrics per step; all three are None if the adapter was not trained here. `base`
    is its base model, if that is not the dataset's. `strength` is the recommended strength, `usage` what an evaluation on
    several bases says of it. `state` is the folder from which a longer training goes on, where this one ended before its
    last step.
    """

    snapshots: tuple[Snapshot, ...]
    dataset: Dataset | None = None
    training: Path | None = None
    log: Annotated[Path | None, LOCATION] = None
    strength: float = 1.0
    base: Spec | None = None
    usage: str | None = None
    state: Annotated[Path | None, LOCATION] = None

    @property
    def as_source(self) -> Path:
        """Its last snapshot."""
        return self.snapshots[-1].path

    @property
    def model(self) -> Spec:
        """The adapter's base model. `TypeError` if neither `base` nor `dataset` gives one."""
        found = self.base or (self.dataset and self.dataset.base)
        if not found:
            raise TypeError("weights have a base, or a dataset that has one")
        return found


@dataclass(frozen=True)
class Pictures(Artifact, stored_name="Pictures"):
    """A folder of pictures that a stage has made, each with its caption in a file beside it, to be used as images.

    `sheet` shows them beside those that were not chosen. `likeness` is how much of the subject they show on average, 1 as
    the pictures that they were held against; None if there were none.
    """

    folder: Path
    sheet: Annotated[Path, LOCATION, OPEN]
    likeness: float | None = None

    @property
    def as_source(self) -> Path:
        """The folder."""
        return self.folder


@dataclass(frozen=True)
class Report(Artifact, stored_name="Report"):
    """The evaluation of weights: a web page, the same as JSON, the grid of pictures, and the best snapshot."""

    page: Annotated[Path, OPEN]
    data: Path
    grid: Annotated[Path, OPEN]
    best: Weights


@dataclass(frozen=True)
class Comparison(Artifact, stored_name="Comparison"):
    """The comparison of several reports: a web page, the same as JSON, and the best weights of all."""

    page: Annotated[Path, OPEN]
    data: Path
    best: Weights


@dataclass(frozen=True)
class File(Artifact, stored_name="File"):
    """A finished file."""

    path: Annotated[Path, OPEN]


@dataclass(frozen=True)
class FileReport(Artifact, stored_name="FileReport"):
    """What a file is: as text, and the same as JSON."""

    text: Annotated[Path, OPEN]
    data: Path


@dataclass(frozen=True)
class Base(File, stored_name="Base"):
    """A base model that a stage has made, to be used as a checkpoint: `checkpoint: $merged`.

    `path` is a checkpoint file or a diffusers folder.
    """

    @property
    def as_source(self) -> Path:
        """The checkpoint."""
        return self.path


@cache
def marks_of(kind: type[Artifact]) -> dict[str, tuple[object, ...]]:
    """Return the fields of an artifact with their marks."""
    assert dataclasses.is_dataclass(kind)
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: getattr(hints[field.name], "__metadata__", ()) for field in dataclasses.fields(kind)}


def inside(value: object) -> Iterator[Artifact]:
    """Yield every artifact in a value of a knob or of an artifact, the value itself included."""
    if isinstance(value, Artifact):
        yield value
        for name in marks_of(type(value)):
            yield from inside(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from inside(item)


def paths(artifact: Artifact, without: Sequence[Artifact] = ()) -> list[Path]:
    """List every path in an artifact and in those inside it, except for the artifacts `without`."""
    found: list[Path] = []

    def look(value: object) -> None:
        if isinstance(value, Path):
            found.append(value)
        elif isinstance(value, tuple):
            for item in value:
                look(item)
        elif isinstance(value, Artifact) and not any(value is each for each in without):
            for name in marks_of(type(value)):
                look(getattr(value, name))

    look(artifact)
    return found


def to_open(artifact: Artifact) -> list[Path]:
    """List the files of this artifact (not of those inside it) that a user will want to open."""
    marked = (getattr(artifact, name) for name, marks in marks_of(type(artifact)).items() if OPEN in marks)
    return [path for path in marked if path is not None]


@cache
def class_of(stored_name: object) -> type[Artifact]:
    """Return the artifact class with a stored name; its module must have been imported."""
    classes = [Artifact]
    for cls in classes:  # grows as it goes: all subclasses, at any depth
        classes += cls.__subclasses__()
    return next(cls for cls in classes if cls.stored_name == stored_name)


def field_kind(kind: type[Artifact], name: str) -> type[Artifact] | None:
    """Return the class of the artifact in the field `name`; None if there is no such artifact."""
    hint = typing.get_type_hints(kind).get(name)
    for found in (hint, *typing.get_args(hint)):
        if isinstance(found, type) and issubclass(found, Artifact) and typing.get_origin(hint) is not tuple:
            return found
    return None


def fields_of_kind(kind: type[Artifact], wanted: type[Artifact]) -> list[str]:
    """Return the fields of an artifact that contain an artifact of the wanted class."""
    hints = typing.get_type_hints(kind)
    return [name for name in hints if (found := field_kind(kind, name)) is not None and issubclass(found, wanted)]
