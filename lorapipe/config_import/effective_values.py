"""Values that result from several options: steps from pictures, repeats, epochs and batch."""

from __future__ import annotations

import math

from lorapipe.config_import.mapping import TRAIN, Translation
from lorapipe.errors import counted


def add_steps(made: Translation) -> None:
    """Say how many steps the training has: pictures × repeats × epochs / batch."""
    steps, batch = made.draft.get(f"{TRAIN}.steps"), made.draft.get(f"{TRAIN}.batch") or 1
    accumulation = made.draft.get(f"{TRAIN}.accumulation") or 1
    assert isinstance(batch, int)
    per_step = batch * (accumulation if isinstance(accumulation, int) else 1)
    known = [(name, count, repeats) for name, count, repeats in made.pictures if count]
    showings = sum(count * repeats for _, count, repeats in known if count)
    if not known or len(known) < len(made.pictures):
        made.effective["steps"] = f"{steps}; pictures × repeats × epochs / {per_step}, once the pictures are here"
        return
    regularised = made.draft.get(f"{TRAIN}.regularisation") is not None
    doubled = " × 2 with regularisation pictures" if regularised else ""
    terms = " + ".join(f"{count} × {repeats}" for _, count, repeats in known[:6])
    terms += f" + {counted(len(known) - 6, 'more folder')}" if len(known) > 6 else ""
    per_epoch = math.ceil(showings * (2 if regularised else 1) / per_step)
    told = f"({terms}) pictures{doubled} / {per_step} = {per_epoch} steps an epoch"
    if isinstance(steps, str):
        epochs = int(steps.split()[0])
        made.effective["steps"] = (
            f"{told}, × {counted(epochs, 'epoch')} = {per_epoch * epochs} steps (more where buckets are not full)"
        )
    else:
        made.effective["steps"] = f"{steps}; {told}, so about {float(str(steps)) / max(1, per_epoch):.3g} epochs"
