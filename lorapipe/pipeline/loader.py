"""Load a pipeline from YAML, or report all problems with line and column.

    vars: {images: ./photos}
    stages:
      dataset: {uses: prepare, images: "${images}", base: {family: sd15, checkpoint: pocket}}
      penny:   {uses: train, dataset: $dataset, steps: 1000}

A document is processed in this order: files that it extends, values of `--set vars.…`, conditions (`when`), variables,
values of `--set stage.…`, matrices, each stage by its spec, references between stages. Nothing in YAML is executed or
imported.
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
    """Read a pipeline file and apply `stage.knob=value` settings. `InputError` contains all problems.

    `places` restricts the paths that the file may name, for files that are written in part by strangers.
    """
    path = Path(path)
    return from_document(open_layers(path), path.parent.resolve(), sets, places)


def load_all(files: Sequence[Path], sets: Sequence[str] = ()) -> list[Pipeline]:
    """Read several pipelines. `InputError` contains the problems of all of them."""
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
    """Return the pipeline of a document; relative paths start at `folder`."""
    reader = PipelineReader(document, folder, sets, places)
    stages = reader.stages()
    name, files = Path(document.name).name, tuple(Path(file).absolute() for file in document.lines)
    notices = reader.notices(stages)
    return Pipeline(
        name, reader.folder, stages, reader.options, notices, files, reader.located, reader.tune, reader.halved
    )
