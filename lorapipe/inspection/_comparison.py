"""What a reader makes of a file, beside what the file means: modules counted, and ΔW compared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lorapipe.formats._reader import NamedModule
from lorapipe.inspection._report import InspectedFile
from lorapipe.inspection.readers import MAGNITUDE, Reader, ReadModule, is_of_outputs

if TYPE_CHECKING:
    from torch import Tensor

MOST_COMPARED = 4
"""Modules of a kind of which ΔW is computed: they are read by the same rule, and a large file has hundreds."""
ROUNDING = 1e-4
"""A relative error of ΔW that is none."""
SIDE = 64
"""The side of a stand-in weight that the tensors do not tell."""


@dataclass(frozen=True)
class Difference:
    """Modules of one kind of which a reader makes another ΔW than the file means."""

    kind: str
    modules: int
    error: float
    """‖ΔW of the reader − ΔW‖ / ‖ΔW‖ (Frobenius) at strength 1: the largest of those that were compared."""
    half: float
    """How much of the reader's ΔW there is at strength ½; 0.5 where strengths mean what they say."""
    is_estimate: bool
    """Whether ΔW depends on the base's weight, in whose place random numbers were put."""


@dataclass(frozen=True)
class Reading:
    """What a reader makes of a file."""

    reader: str
    title: str
    loaded: int
    """Modules."""
    ignored: Mapping[str, int]
    """Why → modules."""
    refused: str
    """Why the whole file is not loaded; empty where it is."""
    differences: tuple[Difference, ...]
    words: str
    """What becomes of embeddings in it; empty where there are none."""

    def as_data(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def readings(inspected: InspectedFile, names: Sequence[str]) -> list[Reading]:
    """What each reader makes of a file; `InputError` for a reader that is not known."""
    readers = [Reader.registry.get(name)() for name in names]
    return [_reading(inspected, reader) for reader in readers]


def _reading(inspected: InspectedFile, reader: Reader) -> Reading:
    modules = [(module, _read(inspected, module)) for module in inspected.contents.modules]
    keys = [*inspected.file.headers]
    refused = reader.refusal([each for _, each in modules], keys)
    reasons = {module.name: reader.ignores(each) for module, each in modules}
    taken = [] if refused else [pair for pair in modules if not reasons[pair[0].name]]
    ignored = {} if refused else dict(Counter(why for why in reasons.values() if why).most_common())
    said = "" if refused else _words(inspected, reader)
    return Reading(
        reader.name, reader.title, len(taken), ignored, refused, tuple(_differences(inspected, reader, taken)), said
    )


def _words(inspected: InspectedFile, reader: Reader) -> str:
    """What becomes of embeddings in a file; empty where there are none."""
    found = inspected.contents
    encoders = {word: [*of_word] for word, of_word in found.words.items()}
    return reader.words(encoders, bool(found.modules), [*inspected.file.headers]) if encoders else ""


def read_modules(inspected: InspectedFile) -> list[ReadModule]:
    """The modules of a file as readers ask for them."""
    return [_read(inspected, module) for module in inspected.contents.modules]


def _read(inspected: InspectedFile, module: NamedModule) -> ReadModule:
    name = inspected.names[module.name]
    keys = tuple(filter(None, [*module.keys.values(), module.alpha_key]))
    of_outputs = MAGNITUDE in module.tensors and module.tensors[MAGNITUDE].shape[0] != 1
    shorts = frozenset(module.tensors)
    return ReadModule(name, module.algorithm, shorts, keys, inspected.alpha(module), of_outputs)


def _differences(
    inspected: InspectedFile, reader: Reader, modules: Iterable[tuple[NamedModule, ReadModule]]
) -> Iterable[Difference]:
    kinds: dict[str, list[tuple[NamedModule, ReadModule]]] = {}
    for module, read in modules:
        kinds.setdefault(_kind(module), []).append((module, read))
    for kind, members in kinds.items():
        step = math.ceil(len(members) / MOST_COMPARED)
        found = [_compared(inspected, reader, module, read) for module, read in members[::step]]
        error, half = (
            max(error for error, _ in found),
            max((half for _, half in found), key=lambda each: abs(each - 0.5)),
        )
        if error > ROUNDING or abs(half - 0.5) > ROUNDING:
            needs = members[0][0].algorithm.needs_weight(members[0][0].tensors)
            yield Difference(kind, len(members), error, half, needs)


def _kind(module: NamedModule) -> str:
    """Modules of the same kind are read by the same rules: `lora (dora_scale of outputs)`."""
    told = [short for short in module.tensors if short in module.algorithm.optional]
    axis = "outputs" if is_of_outputs(module.tensors) else "inputs"
    told = [f"{short} of {axis}" if short == MAGNITUDE else short for short in told]
    return f"{module.algorithm.name} ({', '.join(told)})" if told else module.algorithm.name


def _compared(inspected: InspectedFile, reader: Reader, module: NamedModule, read: ReadModule) -> tuple[float, float]:
    """(relative error at strength 1, share of the reader's ΔW at strength ½) of a module."""
    tensors = {short: _tensor(inspected, key) for short, key in module.keys.items()}
    weight = _stand_in(module, tensors) if module.algorithm.needs_weight(tensors) else None
    alpha = inspected.alpha(module)
    meant = module.algorithm.delta(
        tensors, module.usual_alpha(inspected.file.stored) if alpha is None else alpha, weight
    )
    made, half = (reader.change(read, tensors, weight, strength).reshape(meant.shape) for strength in (1.0, 0.5))
    size, made_size = float(meant.norm()), float(made.norm())
    error = float((made - meant).norm()) / size if size else float(made_size > 0)
    return error, float(half.norm()) / made_size if made_size else 0.5


def _tensor(inspected: InspectedFile, key: str) -> Tensor:
    import torch

    numbers = inspected.file.numbers(key)
    assert numbers is not None
    return torch.from_numpy(numbers.copy()).float()


def _stand_in(module: NamedModule, tensors: Mapping[str, Tensor]) -> Tensor:
    """Random numbers in place of the base's weight, the same each time; of a DoRA with the norms of its magnitudes."""
    import torch

    shape = _shape(module, tensors)
    inputs = math.prod(shape[1:])
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)) / math.sqrt(inputs)
    if (magnitude := tensors.get(MAGNITUDE)) is None:
        return weight
    axis = 0 if is_of_outputs(tensors) else 1
    others = [each for each in range(weight.dim()) if each != axis]
    norms = torch.linalg.vector_norm(weight, dim=others, keepdim=True)
    return weight * (magnitude.reshape(*magnitude.shape, *[1] * (weight.dim() - magnitude.dim())) / norms)


def _shape(module: NamedModule, tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The shape of the base's weight, as far as the tensors tell it."""
    if MAGNITUDE in tensors:
        return _shape_of_dora(module, tensors)
    if (blocks := tensors.get("blocks", tensors.get("diag"))) is not None:
        return (blocks.shape[0] * blocks.shape[1], SIDE)
    if "b1" in tensors:
        return _shape_of_glora(tensors)
    count = tensors["weight"].numel()
    return (SIDE, count) if bool(tensors["on_input"].any()) else (count, SIDE)


def _shape_of_dora(module: NamedModule, tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The shape of the factors' product; the magnitude tells the inputs where the product does not know the kernel."""
    plain = {short: tensor for short, tensor in tensors.items() if short != MAGNITUDE}
    product, magnitude = module.algorithm.delta(plain, 1.0), tensors[MAGNITUDE]
    if product.dim() != 2 or magnitude.dim() != 4:
        return tuple(product.shape)
    rows, columns = product.shape
    inputs = columns if is_of_outputs(tensors) else magnitude.shape[1]
    side = math.isqrt(columns // inputs)
    return (rows, inputs, side, side)


def _shape_of_glora(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """As it is written now, or before LyCORIS 2.0 with each pair the other way round."""
    is_new = tensors["b1"].shape[1] == tensors["b2"].shape[0]
    outer, inner, first = (tensors[name] for name in (("b1", "b2", "a1") if is_new else ("b2", "b1", "a2")))
    return (outer.shape[0], first.shape[0], *inner.shape[2:])
