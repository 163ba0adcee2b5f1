"""Initial weights: a training that starts from a LoRA file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.errors import InputError

if TYPE_CHECKING:
    import torch

    from lorapipe.formats import ModuleWeights
    from lorapipe.models import Model
    from lorapipe.training.adapters import Attached

ALIKE = (
    "It must be of the same base, the same parts (text_encoder_lr: 0 leaves the text encoder out) and kind of adapter."
)


def initialise_from(file: Path, adapter: Attached, model: Model) -> None:
    """Load a LoRA file into the adapter. `InputError` where its modules or ranks are not the adapter's."""
    from lorapipe import formats

    learnt = formats.open(file, model.kohya_names())
    mine = adapter.learned()
    ours = mine.modules
    if len(mine.embeddings) != len(learnt.embeddings):
        what = f"has {len(learnt.embeddings)} embeddings, and {len(mine.embeddings)} are trained."
        raise InputError(what, where=str(file), cure="It must be of the same kind: with a word if one is learnt.")
    if ours.keys() != learnt.modules.keys():
        odd = sorted(ours.keys() ^ learnt.modules.keys())
        where = "the file" if odd[0] in learnt.modules else "the adapter"
        what = f"has other modules than the adapter: {' '.join(odd[0])} is in {where} alone, and {len(odd) - 1} more."
        raise InputError(what, where=str(file), cure=ALIKE)
    for place, module in learnt.modules.items():
        _must_fit(" ".join(place), module, ours[place], str(file))
    try:
        adapter.load(learnt)
    except InputError as error:
        raise InputError(replace(each, where=str(file)) for each in error.problems) from None


def _must_fit(name: str, theirs: ModuleWeights, mine: ModuleWeights, file: str) -> None:
    """`InputError` where the tensors of a module are of other shapes than the adapter's."""
    if "mid" in theirs.tensors:
        cure = "Save it without (LyCORIS: use_tucker), or begin anew."
        raise InputError(f"{name} is in Tucker form (lora_mid), which the adapter is not.", where=file, cure=cure)
    rank, wanted = (each.tensors["down"].shape[0] for each in (theirs, mine))
    if rank != wanted:
        what = f"{name} has rank {rank} in the file and {wanted} in the adapter."
        raise InputError(what, where=file, cure=f"Give the adapter the file's ranks: rank: {rank}.")
    for short, tensor in mine.tensors.items():
        found = theirs.tensors[short]
        if _sides(found) != _sides(tensor):
            what = f"{name} is {tuple(found.shape)} in the file ({short}) and {tuple(tensor.shape)} in this base."
            raise InputError(what, where=file, cure="Is it of another base model?")


def _sides(tensor: torch.Tensor) -> list[int]:
    """The shape of a factor, whether it is written as a layer's or as a 1x1 convolution's."""
    sides = list(tensor.shape)
    return sides[:2] if all(side == 1 for side in sides[2:]) else sides
