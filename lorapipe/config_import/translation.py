"""An import from the files to the pipeline: read, merge, translate, check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorapipe import __version__
from lorapipe.config_import import effective_values
from lorapipe.config_import.configuration import Configuration, Option, Remark
from lorapipe.config_import.linked_files import merged
from lorapipe.config_import.mapping import (
    TRAIN,
    Translation,
    base_model,
    dataset,
    export,
    network,
    objective,
    optimizer,
    schedule,
)
from lorapipe.config_import.option_table import ROWS
from lorapipe.config_import.option_values import Ledger, Options, expanded, layer_of
from lorapipe.config_import.readers import reader_of
from lorapipe.config_import.report import Report, report_of
from lorapipe.config_import.source_file import SourceFile
from lorapipe.config_import.unknown_file import what_it_is
from lorapipe.errors import InputError, Problem, TooManyProblems
from lorapipe.pipeline.loader import from_document
from lorapipe.pipeline.yaml_document import parse


@dataclass(frozen=True)
class Imported:
    """A pipeline as YAML, and the report of its import."""

    pipeline: str
    report: Report


def import_files(paths: Sequence[Path], target: Path) -> Imported:
    """Return the pipeline of a training, for a file in the folder `target`.

    Several files are one training: a script with the files that it names. `InputError` where a file is no configuration,
    with what it is instead.
    """
    configuration, folder = _read(paths)
    if configuration.settings:
        return _of_own(configuration, target)
    made = translated(configuration, folder, target)
    text = made.draft.text()
    return Imported(text, report_of(made, problems_of(text, target)))


def _of_own(configuration: Configuration, target: Path) -> Imported:
    """Return the pipeline that a file of lorapipe's own came from: its metadata holds every setting."""
    from lorapipe.inspection.training_pipeline import pipeline_of

    found = pipeline_of(configuration.settings)
    configuration.remarks += [Remark(text) for text in found.remarks]
    ledger = Ledger()
    layer_of(configuration.options, ledger, is_lenient=True)
    made = Translation(configuration, Options([], {}, ledger), ledger, target, target)
    text = found.as_text()
    return Imported(text, report_of(made, problems_of(text, target)))


def _read(paths: Sequence[Path]) -> tuple[Configuration, Path]:
    """Return the configuration of all files: a script is the first, whatever the order."""
    found: dict[Path, Configuration] = {}
    ranks: dict[Path, int] = {}
    for path in dict.fromkeys(paths):
        source = SourceFile(path)
        reader = reader_of(source)
        if reader is None:
            raise what_it_is(source)
        found[path] = reader.read(source)
        ranks[path] = -reader.place if "script" in reader.title else 0
    first = min(found, key=lambda path: (ranks[path], bool(found[path].subsets and not found[path].options)))
    rest = {path: configuration for path, configuration in found.items() if path != first}
    folder = first.absolute().parent
    return merged(found[first], rest, folder), folder


def translated(configuration: Configuration, folder: Path, target: Path) -> Translation:
    """Translate a configuration, whose relative paths start in `folder`, to a pipeline in `target`."""
    configuration.options = expanded(configuration.options)
    ledger = Ledger()
    layer = layer_of(configuration.options, ledger, is_lenient=_is_lenient(configuration))
    made = Translation(configuration, Options([layer], configuration.implied, ledger), ledger, folder, target)
    layers: dict[int, dict[str, Option]] = {}
    for subset in configuration.subsets:
        parts = [layers.setdefault(id(part), layer_of(part, ledger, is_lenient=False))
                 for part in (subset.own, subset.dataset, subset.general)]  # fmt: skip
        made.views.append(made.options.over(*parts))
    base_model.translate(made)
    made.draft.put(f"{TRAIN}.uses", "train")
    network.translate(made)
    optimizer.translate(made)
    schedule.translate(made)
    objective.translate(made)
    dataset.translate(made)
    made.draft.last(TRAIN, ("uses", "dataset", "more_datasets", "regularisation", "prior_loss_weight"))
    export.translate(made)
    _direct(made)
    _always(made)
    effective_values.add_steps(made)
    _head(made)
    return made


def _is_lenient(configuration: Configuration) -> bool:
    """Whether the original passes over options that it does not know: it does so in files, not on the command line."""
    return not any(option.written.startswith("--") for option in configuration.options)


def _direct(made: Translation) -> None:
    """Write the options that have a setting of the same meaning."""
    options = made.options
    for name, row in ROWS.items():
        if not row.path or not (options.given(name) or name in options.implied):
            continue
        value = options.value(name)
        stage, _, path = row.path.partition(".")
        if row.type == "flag" and value is False:
            made.idle(name, "is off")
        elif name == "scale_weight_norms" and not value:
            made.idle(name, "0 is off")
        elif stage == "train":
            made.use(name, path, value)
        else:
            made.use(name, row.path, value)


def _always(made: Translation) -> None:
    """Settle the options whose outcome does not depend on others."""
    for option in made.configuration.keys:
        row = ROWS.get(option.name)
        if made.ledger.of(option) is None and row is not None:
            if row.type == "flag" and option.value is False:
                made.ledger.settle(option, "no effect", "is off")
            elif not row.path and not row.becomes.startswith("`"):
                made.ledger.settle(option, row.kind, row.becomes)
        elif made.ledger.of(option) is None and option.name.startswith("accelerate."):
            made.ledger.settle(option, "translated", "--device of `lorapipe run` chooses devices")


def _head(made: Translation) -> None:
    trainer, script = made.configuration.trainer, made.configuration.script
    files = dict.fromkeys(option.file for option in made.configuration.keys if option.file)
    made.draft.head = [
        f"Imported from {', '.join(list(files)[:5])} ({trainer}, {script}) by lorapipe {__version__}.",
        "The comments say which option each line comes from. `lorapipe plan` says what the training will take.",
    ]
    notes = [*dict.fromkeys(made.conflicts)]
    if notes:
        made.draft.head += ["", "What could not work together in the original:", *(f"- {note}" for note in notes[:20])]


def problems_of(text: str, target: Path) -> list[Problem]:
    """Return what `lorapipe check` says about the pipeline."""
    try:
        from_document(parse(text, "pipeline"), target)
    except TooManyProblems as error:
        return list(error.found)
    except InputError as error:
        return list(error.problems)
    return []
