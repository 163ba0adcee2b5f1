"""YAML → Pipeline, or every problem at once with line and column.

    vars: {images: ./photos}
    stages:
      dataset: {uses: prepare, images: "${images}", base: {family: sd15, checkpoint: pocket}}
      penny:   {uses: train, dataset: $dataset, steps: 1000}

A document is read in this order: the files that it extends, values from `--set vars.…`, conditions (`when`), variables,
values from `--set stage.…`, matrices, each stage by its own spec, references between stages. Nothing is executed or
imported from YAML.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorapipe.errors import InputError, Problem
from lorapipe.pipeline.extends import open_layers
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.pipeline_reader import PipelineReader
from lorapipe.pipeline.yaml_document import Document
from lorapipe.spec import PathPolicy


def load(path: Path | str, sets: Sequence[str] = (), places: PathPolicy | None = None) -> Pipeline:
    """Read a pipeline file, changed by `stage.knob=value` settings; `InputError` holds every problem found.

    `places` says which paths the file may name, where a stranger has written a part of it.
    """
    path = Path(path)
    return from_document(open_layers(path), path.parent.resolve(), sets, places)


def load_all(files: Sequence[Path], sets: Sequence[str] = ()) -> list[Pipeline]:
    """Read several pipelines; `InputError` holds the problems of all of them."""
    pipelines, problems = [], list[Problem]()
    for file in files:
        try:
            pipelines.append(load(file, sets))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(dict.fromkeys(problems))
    return pipelines


def from_document(
    document: Document, folder: Path, sets: Sequence[str] = (), places: PathPolicy | None = None
) -> Pipeline:
    """The pipeline of a document; relative paths start at `folder`."""
    reader = PipelineReader(document, folder, sets, places)
    stages = reader.stages()
    name, files = Path(document.name).name, tuple(Path(file).absolute() for file in document.lines)
    notices = reader.notices(stages)
    return Pipeline(name, reader.folder, stages, reader.options, notices, files, reader.located)
