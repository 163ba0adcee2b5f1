"""The files of a tuning, beside the pipeline: its story (`penny-tuned.html`), the pipeline to keep (`penny-tuned.yaml`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.errors import InputError, Problem
from lorapipe.pipeline import loader
from lorapipe.pipeline.delivery_log import CURE, DeliveryLog
from lorapipe.pipeline.extends import EXTENDS, open_layers
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.tune_options import TUNE
from lorapipe.pipeline.yaml_text import flow, stages_text
from lorapipe.spec import to_dict
from lorapipe.tuning.rounds import TuningState, end_text, pipeline_of

if TYPE_CHECKING:
    from lorapipe.pipeline.pipeline import Pipeline

SUFFIX = "-tuned"


def places(pipeline: Pipeline) -> tuple[Path, Path]:
    """The page and the pipeline file of a tuning."""
    stem = Path(pipeline.name).stem or "pipeline"
    return pipeline.folder / f"{stem}{SUFFIX}.html", pipeline.folder / f"{stem}{SUFFIX}.yaml"


def require_free(pipeline: Pipeline) -> None:
    """Raise `InputError` if a file of the user's is where a file of the tuning is to be."""
    with closing(Ledger(pipeline.folder)) as ledger:
        log = DeliveryLog(ledger)
        found = [Problem(why, str(path), CURE) for path in places(pipeline) if (why := log.objection(path))]
    if found:
        raise InputError(found)


def write_page(tuned: TuningState) -> Path:
    """Write the page of the rounds so far, and return its path."""
    from lorapipe.tuning import page

    path, _ = places(tuned.pipeline)
    _put(tuned, page.text(tuned), path)
    return path


def write(tuned: TuningState) -> tuple[Path, Path]:
    """Write both files at the end of a tuning, and return their paths."""
    _, path = places(tuned.pipeline)
    _put(tuned, pipeline_text(tuned), path)
    return write_page(tuned), path


def _put(tuned: TuningState, text: str, path: Path) -> None:
    with closing(Ledger(tuned.pipeline.folder)) as ledger:
        ledger.open()
        DeliveryLog(ledger).put_text(text, path, TUNE)


def pipeline_text(tuned: TuningState) -> str:
    """The pipeline with the best round's settings: what differs from the file that was tuned, which it extends; if there
    is no such file, the whole of it.
    """
    head = [
        f"# {tuned.pipeline.name} with the settings that `lorapipe tune` has found. {end_text(tuned)}",
        f"# Run it as it is, or copy what it sets into {tuned.pipeline.name}.",
    ]
    final = pipeline_of(tuned, tuned.best.change)
    source = tuned.pipeline.folder / tuned.pipeline.name
    changed = _changed(source, final) if source.is_file() else None
    if changed is None:
        return "\n".join([*head, stages_text({name: to_dict(each) for name, each in final.stages.items()})])
    lines = [f"{EXTENDS}: {flow(tuned.pipeline.name)}", f"{TUNE}: null"]
    return "\n".join([*head, *lines, stages_text(changed) if changed else ""]).rstrip() + "\n"


def _changed(source: Path, final: Pipeline) -> dict[str, dict[str, object]] | None:
    """The settings of each stage that differ from the file's; None where the file cannot be extended with them, or is
    none that could be run without the command line's `--set`.
    """
    try:
        before = loader.load(source)
    except InputError:
        return None
    written: Mapping[str, Any] = open_layers(source).value["stages"]
    found = {}
    for name, stage in final.stages.items():
        was = before.stages.get(name)
        if was is None or type(was) is not type(stage):
            return None
        if settings := dict(_differing(to_dict(was), to_dict(stage))):
            if not isinstance(written.get(name), dict):  # a cell of a matrix
                return None
            found[name] = settings
    return found


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the settings that differ; of groups only what differs in them, with their kind."""
    for name, value in after.items():
        was = before.get(name)
        if value == was:
            continue
        if isinstance(value, dict) and isinstance(was, dict) and value.get("type") == was.get("type"):
            kind = {"type": value["type"]} if "type" in value else {}
            yield name, {**kind, **dict(_differing(was, value))}
        else:
            yield name, value
