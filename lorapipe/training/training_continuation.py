"""A training that ends before its last step (`until`), and a longer one that goes on from it (`resume_from`).

The shorter one is the beginning of the longer: same settings, same schedule. It keeps its resume state in its result. The
longer one resumes from that state, and so ends with the same files as if it had trained from the start.
"""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.errors import InputError
from lorapipe.pipeline.events import Log
from lorapipe.training.publish import link_or_copy
from lorapipe.training_record import TrainingRecord

if TYPE_CHECKING:
    from lorapipe.pipeline.artifacts import Weights
    from lorapipe.pipeline.context import Context
    from lorapipe.spec import Duration
    from lorapipe.training.data_loader import TrainingLength

CHECKPOINTS = "checkpoints"
OF_THE_END = ("steps", "stopped")
"""Fields of a record in which a shorter training differs from the longer one."""
SNAPSHOTS = "snapshots"
SHOWN = ("tensorboard", "previews")
"""Folders of a result that the longer training goes on with."""


def end_of(until: Duration | None, length: TrainingLength) -> int | None:
    """Return the step after which a training with `until` ends; None without it."""
    return None if until is None else min(replace(length, duration=until).total, length.total)


def keep_state(context: Context) -> Path:
    """Copy the newest resume state of a training into its result, and return its folder there."""
    newest = max((context.resume / CHECKPOINTS).glob("step-*.pt"))
    folder = context.out / "state"
    link_or_copy(newest, folder / CHECKPOINTS / newest.name)
    link_or_copy(context.resume / SNAPSHOTS, folder / SNAPSHOTS)  # with those of a still shorter training
    return folder


def adopt_state(shorter: Weights | None, record: TrainingRecord, context: Context) -> None:
    """Copy the state of a shorter training into this attempt, unless the attempt has one of its own.

    `record` is this training's. Does nothing if `shorter` is None. Raises `InputError` if `shorter` was trained with
    other settings.
    """
    if shorter is None:
        return
    if shorter.state is None or shorter.training is None:
        cure = "Give it `until`, the step after which it ends: then it keeps its state."
        raise InputError("it has kept no state to go on from.", where="resume_from", cure=cure)
    _require_beginning(TrainingRecord.load(shorter.training), record)
    own = context.resume / CHECKPOINTS
    if own.is_dir() and any(own.glob("step-*.pt")):
        return
    result = shorter.training.parent
    for name in SHOWN:
        if (result / name).exists():
            link_or_copy(result / name, context.resume / name)
    for name in (SNAPSHOTS, CHECKPOINTS):  # the state last: with it, the others count
        link_or_copy(shorter.state / name, context.resume / name)
    context.emit(Log(text=f"Goes on from the first {shorter.snapshots[-1].step} steps, which are trained already."))


def _require_beginning(shorter: TrainingRecord, longer: TrainingRecord) -> None:
    """Raise `InputError` if two records are of different trainings."""
    names = [each.name for each in dataclasses.fields(TrainingRecord) if each.name not in OF_THE_END]
    other = next((name for name in names if getattr(shorter, name) != getattr(longer, name)), None)
    if other == "settings":
        mine, theirs = longer.settings, shorter.settings
        other = next(name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name))
    if other is not None:
        cure = "Give both the same settings, except for `until`."
        raise InputError(f"it is another training: its {other} differs.", where="resume_from", cure=cure)
