"""Initial weights of a training from a LoRA file (`start_from`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.errors import InputError
from lorapipe.formats.algorithms import Algorithm, numbers

if TYPE_CHECKING:
    from lorapipe.formats import ModuleWeights
    from lorapipe.models import Model
    from lorapipe.training.adapters import Attached

ALIKE = "It must be of the same base, parts (text_encoder_lr: 0 leaves the text encoder out) and kind of adapter."


def initialise_from(file: Path, adapter: Attached, model: Model) -> None:
    """Load a LoRA file into the adapter. `InputError` if its modules or ranks differ from the adapter's."""
    from lorapipe import formats

    learnt = formats.open(file, model.kohya_names())
    mine = adapter.learned()
    ours = mine.modules
    if len(mine.embeddings) != len(learnt.embeddings):
        what = f"has {len(learnt.embeddings)} embeddings, but {len(mine.embeddings)} are trained."
        raise InputError(
            what, where=str(file), cure="It must be of the same kind: with an embedding if one is trained."
        )
    if (mine.hypernetwork is None) != (learnt.hypernetwork is None):
        raise InputError("is of another kind than the adapter.", where=str(file), cure=ALIKE)
    if ours.keys() != learnt.modules.keys():
        odd = sorted(ours.keys() ^ learnt.modules.keys())
        where = "the file" if odd[0] in learnt.modules else "the adapter"
        what = (
            f"has other modules than the adapter: only {where} has {' '.join(odd[0])}, and {len(odd) - 1} more differ."
        )
        raise InputError(what, where=str(file), cure=ALIKE)
    for place, module in learnt.modules.items():
        _must_fit(" ".join(place), module, ours[place], str(file))
    try:
        adapter.load(learnt)
    except InputError as error:
        raise InputError(replace(each, where=str(file)) for each in error.problems) from None


def _must_fit(name: str, theirs: ModuleWeights, mine: ModuleWeights, file: str) -> None:
    """Raise `InputError` if the names or shapes of a module's tensors differ from the adapter's."""
    if theirs.algorithm != mine.algorithm:
        what = f"{name} is {theirs.algorithm} in the file and {mine.algorithm} in the adapter."
        raise InputError(what, where=file, cure=ALIKE)
    if "mid" in theirs.tensors:
        cure = "Save it without Tucker form (LyCORIS: use_tucker), or train from scratch."
        raise InputError(f"{name} is in Tucker form (lora_mid), but the adapter is not.", where=file, cure=cure)
    algorithm = Algorithm.of(mine.algorithm)
    given, trained = algorithm.trained(theirs.tensors), algorithm.trained(mine.tensors)
    if given.keys() != trained.keys():
        what = f"{name} has {', '.join(given)} in the file and {', '.join(trained)} in the adapter."
        raise InputError(what, where=file, cure="Give the adapter the settings that the file was trained with.")
    rank, wanted = theirs.rank, mine.rank
    if rank != wanted:
        what = f"{name} has rank {rank} in the file and {wanted} in the adapter."
        raise InputError(what, where=file, cure=f"Give the adapter the file's ranks: rank: {rank}.")
    for short, tensor in trained.items():
        found = given[short]
        if numbers(found) != numbers(tensor):
            what = f"{name} is {tuple(found.shape)} in the file ({short}) and {tuple(tensor.shape)} in this base."
            raise InputError(what, where=file, cure="Is it of another base model?")
