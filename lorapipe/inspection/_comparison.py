"""Compare a reader's ΔW with the correct one, and count the modules that it loads."""

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
"""Most modules of a kind that are compared: they are read by the same rule, and a large file has hundreds."""
ROUNDING = 1e-4
"""The relative error of ΔW below which two are equal."""
SIDE = 64
"""The length of an axis of a random weight if the tensors do not determine it."""


@dataclass(frozen=True)
class Difference:
    """Modules of one kind for which a reader's ΔW is wrong."""

    kind: str
    modules: int
    error: float
    """‖ΔW of the reader − ΔW‖ / ‖ΔW‖ (Frobenius) at strength 1: the largest of the compared modules."""
    half: float
    """The norm of the reader's ΔW at strength ½ relative to that at strength 1; 0.5 if it is linear in the strength."""
    is_estimate: bool
    """Whether ΔW depends on the base's weight, for which random numbers were used."""


@dataclass(frozen=True)
class Reading:
    """How a reader reads a file."""

    reader: str
    title: str
    loaded: int
    """The number of loaded modules."""
    ignored: Mapping[str, int]
    """Reason → number of ignored modules."""
    refused: str
    """Why the whole file is not loaded; empty if it is."""
    differences: tuple[Difference, ...]
    words: str
    """How embeddings in it are read; empty if there are none."""

    def as_data(self) -> dict[str, object]:
        """Return JSON types."""
        return asdict(self)


def readings(inspected: InspectedFile, names: Sequence[str]) -> list[Reading]:
    """Return how each reader reads a file. `InputError` for an unknown reader."""
    readers = [Reader.registry.get(name)() for name in names]
    return [_reading(inspected, reader) for reader in readers]


def _reading(inspected: InspectedFile, reader: Reader) -> Reading:
    modules = [(module, _read(inspected, module)) for module in inspected.contents.modules]
    keys = [*inspected.file.headers]
    refused = reader.refusal([each for _, each in modules], keys)
    reasons = {module.name: reader.reason(each) for module, each in modules}
    taken = [] if refused else [pair for pair in modules if not reasons[pair[0].name]]
    ignored = {} if refused else dict(Counter(why for why in reasons.values() if why).most_common())
    said = "" if refused else _words(inspected, reader)
    return Reading(
        reader.name, reader.title, len(taken), ignored, refused, tuple(_differences(inspected, reader, taken)), said
    )


def _words(inspected: InspectedFile, reader: Reader) -> str:
    """Return how a reader reads the embeddings in a file; empty if there are none."""
    found = inspected.contents
    encoders = {word: [*of_word] for word, of_word in found.words.items()}
    return reader.words(encoders, bool(found.modules), [*inspected.file.headers]) if encoders else ""


def read_modules(inspected: InspectedFile) -> list[ReadModule]:
    """Return the modules of a file in the form that readers use."""
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
    """Return the kind of a module, of which all members are read by the same rule: `lora (dora_scale of outputs)`."""
    told = [short for short in module.tensors if short in module.algorithm.optional]
    axis = "outputs" if is_of_outputs(module.tensors) else "inputs"
    told = [f"{short} of {axis}" if short == MAGNITUDE else short for short in told]
    return f"{module.algorithm.name} ({', '.join(told)})" if told else module.algorithm.name


def _compared(inspected: InspectedFile, reader: Reader, module: NamedModule, read: ReadModule) -> tuple[float, float]:
    """Return a module's `Difference.error` and `Difference.half`."""
    tensors = {short: _tensor(inspected, key) for short, key in module.keys.items()}
    weight = _random_weight(module, tensors) if module.algorithm.needs_weight(tensors) else None
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


def _random_weight(module: NamedModule, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return random numbers in place of the base's weight, the same each time; for a DoRA with its magnitudes' norms."""
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
    """Return a shape of the base's weight that fits the tensors."""
    if MAGNITUDE in tensors:
        return _shape_of_dora(module, tensors)
    if (blocks := tensors.get("blocks", tensors.get("diag"))) is not None:
        return (blocks.shape[0] * blocks.shape[1], SIDE)
    if "b1" in tensors:
        return _shape_of_glora(tensors)
    count = tensors["weight"].numel()
    return (SIDE, count) if bool(tensors["on_input"].any()) else (count, SIDE)


def _shape_of_dora(module: NamedModule, tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the shape of the factors' product; the magnitude gives the inputs if the product lacks the kernel's axes."""
    plain = {short: tensor for short, tensor in tensors.items() if short != MAGNITUDE}
    product, magnitude = module.algorithm.delta(plain, 1.0), tensors[MAGNITUDE]
    if product.dim() != 2 or magnitude.dim() != 4:
        return tuple(product.shape)
    rows, columns = product.shape
    inputs = columns if is_of_outputs(tensors) else magnitude.shape[1]
    side = math.isqrt(columns // inputs)
    return (rows, inputs, side, side)


def _shape_of_glora(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return a GLoRA's shape. Before LyCORIS 2.0 each pair of factors was in the opposite order."""
    is_new = tensors["b1"].shape[1] == tensors["b2"].shape[0]
    outer, inner, first = (tensors[name] for name in (("b1", "b2", "a1") if is_new else ("b2", "b1", "a2")))
    return (outer.shape[0], first.shape[0], *inner.shape[2:])
