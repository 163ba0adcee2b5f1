"""The family that adapters are made for, as a base that does not exist: enough for the names of its modules.

Sizes are the published ones, or those of the bundled pocket base.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorapipe import formats
from lorapipe.errors import InputError, Problem
from lorapipe.formats import Place
from lorapipe.inspection import inspect
from lorapipe.inspection.base_family import inputs
from lorapipe.inspection.training_pipeline import family_of
from lorapipe.lora_tools.detected_base import detected_base, families
from lorapipe.models import Family
from lorapipe.spec import Ref

POCKET = "pocket"
NOT_KNOWN = "Merge it in a pipeline (merge_loras), with its base."


def published_base(paths: Sequence[Path]) -> Family:
    """Return the family of adapters' files, by names and shapes of their modules, in its published size or as pocket.

    `InputError` if the files are of several families, or of none that is known here. A published checkpoint is pending.
    """
    found: dict[str, Path] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            found.setdefault(_family(path), path)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    if len(found) > 1:
        told = ", ".join(f"{path.name} for {name}" for name, path in found.items())
        raise InputError(f"the files are of several families: {told}.", cure="Merge adapters of one family.")
    return _pending(next(iter(found)))


def _family(path: Path) -> str:
    """Return the name of an adapter's family. `InputError` with what is wrong with the file."""
    report = inspect(path).report
    if report.kind == "other":
        raise InputError(f"is {report.what}, not an adapter.", where=str(path), cure="Name a LoRA's file.")
    if report.problems:
        raise InputError(Problem(each, str(path)) for each in report.problems)
    if name := family_of(report.base):
        return name
    if report.base:
        raise InputError(f"is made for {report.base}, which is not known here.", where=str(path))
    fitting = [name for name in (*families(), POCKET) if _reads(path, name)]
    if not fitting:
        what = "has modules of no family that is known here."
        raise InputError(what, where=str(path), cure=NOT_KNOWN)
    return fitting[0]


def _reads(path: Path, name: str) -> bool:
    """Return whether the family has a file's modules, with as many inputs."""
    base = _pending(name)
    try:
        found = formats.open(path, base.module_names())
    except InputError:
        return False
    shapes = module_shapes(base)
    pairs = ((inputs(module.tensors), shapes[place][1:2]) for place, module in found.modules.items())
    return all(not told or not wanted or wanted == (told,) for told, wanted in pairs)


def module_shapes(base: Family) -> dict[Place, tuple[int, ...]]:
    """Return (part, path) → the shape of each module's weight."""
    found = base.footprint()
    assert found is not None
    parts = [(part, [*found.modules(part), *found.outer_modules(part)]) for part in base.trainable]
    return {(part, ref.path): ref.shape for part, modules in parts for ref in modules}


def _pending(name: str) -> Family:
    if name == POCKET:
        return detected_base(POCKET)
    return families()[name](checkpoint=Ref("base"))  # type: ignore[arg-type]  # its size is the published one
