"""`lorapipe.lock`: a record for reproducing results elsewhere, and for finding the differences if they do not match.

    pipelines:
      cat.yaml:
        versions   lorapipe, Python and the packages that compute
        stages     of each: type, key, settings (inputs by digest), the files of its sources, the files it made

It is JSON in a stable order without absolute paths, so it can be put under version control.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import lorapipe
from lorapipe.atomic import write_text
from lorapipe.errors import InputError
from lorapipe.pipeline.diff import Described, differences, files_changed
from lorapipe.pipeline.keys import installed
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.manifest import Manifest
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.plan import PlannedStage, plan
from lorapipe.spec import JsonDocument, Param
from lorapipe.spec.paths import trouble

NAME = "lorapipe.lock"
VERSION = 1
CURE = "Remove the file, and run lorapipe lock again."
COMPUTING = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pillow", "prodigyopt")
"""The packages whose version may change results."""


class LockedStage(TypedDict):
    """A locked stage."""

    type: Annotated[str, Param("what the stage does: prepare, train, evaluate, export")]
    key: Annotated[str, Param("the content key of its result")]
    settings: Annotated[dict[str, Any], Param("every setting, inputs by their digests")]
    sources: Annotated[
        dict[str, dict[str, str]], Param("folders that are inputs, by digest: path → digest of each file")
    ]
    made: Annotated[dict[str, str], Param("the files that it made: path → digest")]


class LockedPipeline(TypedDict):
    """A locked pipeline; all its stages have results."""

    versions: Annotated[dict[str, str], Param("of lorapipe, Python and the packages that compute")]
    stages: dict[str, LockedStage]


class LockFile(TypedDict):
    """A record for reproducing results elsewhere, and for finding the differences if they do not match."""

    version: Annotated[Literal[1], Param("version of the file's format")]
    pipelines: Annotated[dict[str, LockedPipeline], Param("locked pipelines, by file name")]


DOCUMENT = JsonDocument("lorapipe.lock", LockFile, CURE)


def locked(pipeline: Pipeline, ledger: Ledger) -> LockedPipeline:
    """Return the entry of a pipeline. `InputError` if a stage has no result."""
    steps = plan(pipeline, ledger).stages
    missing = [step.name for step in steps if step.result is None]
    if missing:
        what = f"{', '.join(missing)} {'has' if len(missing) == 1 else 'have'} no result to lock."
        raise InputError(what, where=pipeline.name, cure="Run the pipeline first.")
    return {
        "versions": versions(),
        "stages": {step.name: _stage(step.result.manifest) for step in steps if step.result is not None},
    }


def write(pipeline: Pipeline, entry: LockedPipeline) -> Path:
    """Write a pipeline's entry to the lock file beside it; other pipelines' entries are unchanged."""
    path = pipeline.folder / NAME
    others = _read(path)["pipelines"] if path.exists() else {}
    text = {"version": VERSION, "pipelines": {**others, pipeline.name: entry}}
    write_text(json.dumps(text, ensure_ascii=False, indent=1, sort_keys=True) + "\n", path)
    return path


def recorded(pipeline: Pipeline) -> LockedPipeline:
    """Return the entry that the lock file has of a pipeline. `InputError` if there is none."""
    path = pipeline.folder / NAME
    if not path.exists():
        raise InputError("there is no lock file.", where=str(path), cure="Make one with `lorapipe lock`.")
    entry = _read(path)["pipelines"].get(pipeline.name)
    if entry is None:
        raise InputError(f"has no entry for {pipeline.name}.", where=str(path), cure="Make one with `lorapipe lock`.")
    return entry


def differing(pipeline: Pipeline, ledger: Ledger) -> list[str]:
    """Return lines that describe differences from the lock file; none if equal. `InputError` if nothing is locked."""
    entry = recorded(pipeline)
    now = versions()
    lines = [f"{name} {old} → {now.get(name)}" for name, old in entry["versions"].items() if old != now.get(name)]
    stages = dict(entry["stages"])
    for step in plan(pipeline, ledger).stages:
        stage = stages.pop(step.name, None)
        lines += [f"{step.name}: {line}" for line in (["is new"] if stage is None else _since(stage, step))]
    return [*lines, *(f"{name}: is no longer there" for name in stages)]


def versions() -> dict[str, str]:
    """Return the versions of lorapipe, Python and the packages that compute."""
    ours = {"lorapipe": lorapipe.__version__, "python": platform.python_version()}
    return {**ours, **{name: installed(name) for name in COMPUTING}}


def _stage(manifest: Manifest) -> LockedStage:
    return {
        "type": manifest["type"],
        "key": manifest["key"],
        "settings": manifest["settings"],
        "sources": manifest["sources"],
        "made": {name: kept["digest"] for name, kept in manifest["files"].items()},
    }


def _since(stage: LockedStage, step: PlannedStage) -> list[str]:
    """Return the differences between a locked stage and the stage as it is now."""
    if step.result is not None:
        return _compared(stage, _stage(step.result.manifest))
    if step.identity is None:
        return ["is not made yet"]
    here: Described = {"settings": step.identity.settings, "sources": step.identity.sources}
    return differences(stage, here) or ["is not made yet"]


def _compared(old: LockedStage, new: LockedStage) -> list[str]:
    lines = differences(old, new)
    if not lines and old["made"] != new["made"]:
        lines.append(f"made other bytes: {files_changed(old['made'], new['made'])}")
    return lines


def _read(path: Path) -> LockFile:
    """Read a lock file. `InputError`, with each wrong field, if it is invalid."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot be read: {trouble(error)}.", where=str(path), cure=CURE) from None
    if isinstance(found, dict) and found.get("version") != VERSION:
        raise InputError("is not a lock file of this version.", where=str(path), cure=CURE)
    DOCUMENT.require(found, str(path))
    lock: LockFile = found
    return lock
