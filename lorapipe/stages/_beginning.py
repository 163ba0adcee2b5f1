"""A training that goes on from a LoRA file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.errors import InputError

if TYPE_CHECKING:
    from lorapipe.training.adapters import Injected
    from lorapipe.training.families import Model

ALIKE = (
    "It must be of the same base, the same parts (text_encoder_lr: 0 leaves the text encoder out) and kind of adapter."
)


def put_in(file: Path, adapter: Injected, model: Model) -> None:
    """Begin with what a file has learnt; `InputError` where it is not of this adapter's modules and ranks."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from lorapipe.formats.kohya import Kohya

    try:
        learnt = Kohya().load(load_file(file), model.kohya_names())
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot be read: {error}", where=str(file), cure="Give a .safetensors file.") from None
    except InputError as error:
        raise InputError(error.problems[0].what, where=str(file), cure=ALIKE) from None
    ours = adapter.extract().modules
    if ours.keys() != learnt.modules.keys():
        odd = sorted(ours.keys() ^ learnt.modules.keys())
        where = "the file" if odd[0] in learnt.modules else "the adapter"
        what = f"has other modules than the adapter: {' '.join(odd[0])} is in {where} alone, and {len(odd) - 1} more."
        raise InputError(what, where=str(file), cure=ALIKE)
    for place, module in learnt.modules.items():
        theirs, mine = (each.tensors["down"].shape[0] for each in (module, ours[place]))
        if theirs != mine or "mid" in module.tensors:
            what = f"{' '.join(place)} has rank {theirs} in the file and {mine} in the adapter."
            raise InputError(what, where=str(file), cure=f"Give the adapter the file's ranks: rank: {theirs}.")
    adapter.load(learnt)
