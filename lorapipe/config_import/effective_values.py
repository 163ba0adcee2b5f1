"""Values that result from several options: steps from pictures, repeats, epochs and batch."""

from __future__ import annotations

import math

from lorapipe.config_import.mapping import TRAIN, Translation
from lorapipe.errors import counted


def add_steps(made: Translation) -> None:
    """Say how many steps the training has: pictures × repeats × epochs / batch."""
    steps, per_step = made.draft.get(f"{TRAIN}.steps"), _whole(made, "batch") * _whole(made, "accumulation")
    known = [(count, repeats) for _, count, repeats in made.pictures if count]
    if not known or len(known) < len(made.pictures):
        made.effective["steps"] = f"{steps}; pictures × repeats × epochs / {per_step}, once the pictures are here"
        return
    regularised = made.draft.get(f"{TRAIN}.regularisation") is not None
    showings = sum(count * repeats for count, repeats in known) * (2 if regularised else 1)
    per_epoch = math.ceil(showings / per_step)
    terms = " + ".join(f"{count} × {repeats}" for count, repeats in known[:6])
    terms += f" + {counted(len(known) - 6, 'more folder')}" if len(known) > 6 else ""
    doubled = " × 2 with regularisation pictures" if regularised else ""
    told = f"({terms}) pictures{doubled} / {per_step} = {per_epoch} steps an epoch"
    if isinstance(steps, str):
        epochs = int(steps.split()[0])
        total = f"× {counted(epochs, 'epoch')} = {per_epoch * epochs} steps (more where buckets are not full)"
        made.effective["steps"] = f"{told}, {total}"
    else:
        made.effective["steps"] = f"{steps}; {told}, so about {float(str(steps)) / max(1, per_epoch):.3g} epochs"


def _whole(made: Translation, name: str) -> int:
    value = made.draft.get(f"{TRAIN}.{name}")
    return value if isinstance(value, int) else 1
