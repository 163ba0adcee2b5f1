"""Translate sd-scripts' and LyCORIS' network settings in metadata (`ss_network_*`) to an adapter.

A knob is found by kohya's name for it (`param(kohya=…)`), so that a new adapter needs nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorapipe.formats.algorithms import Algorithm
from lorapipe.inspection._metadata_values import Metadata, as_number, as_value
from lorapipe.spec import Knob, Spec, knobs, plain
from lorapipe.training.adapters import Adapter

LORA = "lora"


def adapter_document(
    told: Metadata,
    algorithms: Sequence[str],
    rank: int,
    alpha: float,
    words: Mapping[str, int],
    remarks: list[str],
) -> object:
    """Return the adapter in document form. `algorithms`, `rank`, `alpha`, `words` are facts of the tensors."""
    module = told.text("ss_network_module")
    if words and not module and not algorithms:
        return _embedding(words, remarks)
    args = _arguments(told)
    algorithm = _algorithm(module, args.pop("algo", ""), algorithms, remarks)
    kind = _adapter_of(algorithm, is_wide=module.startswith("lycoris") or "conv_dim" in args, remarks=remarks)
    cls = _adapters()[kind]
    given = {**_sizes(told, rank, alpha), **dict(zip(args, map(as_value, args.values()), strict=True))}
    found = _by_kohya_names(cls, given, remarks)
    if module.startswith("lycoris") and any(knob.name == "conv_rank" for knob in knobs(cls)):
        found = {**_lycoris_sizes(given, found), **found}
    found |= _forced(found.get("rank"), found.get("alpha", 0))
    return {"type": kind, **found} if found else kind


def _forced(rank: object, alpha: object) -> dict[str, object]:
    """Return the knob without which an alpha above the rank is refused."""
    is_above = isinstance(rank, int) and isinstance(alpha, (int, float)) and alpha > rank
    return {"force_alpha": True} if is_above else {}


def _arguments(told: Metadata) -> dict[str, str]:
    return {str(key): str(value) for key, value in (told.mapping("ss_network_args") or {}).items()}


def _embedding(words: Mapping[str, int], remarks: list[str]) -> dict[str, object]:
    (word, vectors), *others = words.items()
    if others:
        remarks.append(f"It holds more words: {', '.join(each for each, _ in others)}; each is a training.")
    return {"type": "embedding", "trigger": word, "vectors": vectors}


def _sizes(told: Metadata, rank: int, alpha: float) -> dict[str, object]:
    """Return rank, alpha and dropout, by kohya's names: from the metadata, else from the tensors."""
    of_alpha = told.number("ss_network_alpha")
    return {
        "network_dim": told.number("ss_network_dim") or rank or None,
        "network_alpha": as_number(str(alpha)) if of_alpha is None else of_alpha,
        "network_dropout": told.number("ss_network_dropout") or None,
    }


def _lycoris_sizes(given: Mapping[str, object], found: Mapping[str, object]) -> dict[str, object]:
    """Return LyCORIS' defaults for convolutions: as for the other layers."""
    alpha = {"conv_alpha": found["alpha"]} if "alpha" in found else {}
    return {"conv_rank": given["network_dim"], **alpha} if given["network_dim"] else {}


def _algorithm(module: str, algo: str, algorithms: Sequence[str], remarks: list[str]) -> str:
    """Return the registered algorithm that trained a file, by its network module and LyCORIS' `algo`."""
    names = Algorithm.registry.names()
    by_algo = {Algorithm.of(name).algo or name: name for name in names}
    last = module.rsplit(".", 1)[-1].removeprefix("lora_")
    if algo and algo not in ("lora", "locon", *by_algo):
        remarks.append(f"It was trained with LyCORIS' {algo}, which is not trained here: lora stands in its place.")
    told = by_algo.get(algo) or (last if last in names else "")
    return told or ("lora" if module or not algorithms else algorithms[0])


def _adapters() -> dict[str, type[Adapter]]:
    contract: type[Adapter] = Adapter  # type: ignore[type-abstract]  # the registry finds the files
    assert contract.registry is not None
    return {name: contract.registry.get(name) for name in contract.registry.names()}


def _adapter_of(algorithm: str, is_wide: bool, remarks: list[str]) -> str:
    """Return the adapter that trains an algorithm; with several, one that has convolutions if `is_wide`."""
    fitting = [name for name, cls in _adapters().items() if getattr(cls, "algorithm", "") == algorithm]
    if not fitting:
        remarks.append(f"It is {algorithm}, for which there is no adapter here: lora stands in its place.")
        return "lora"
    alike = [name for name in fitting if bool(getattr(_adapters()[name], "convolutions", False)) == is_wide]
    return (alike or fitting)[0]


def _by_kohya_names(cls: type[Spec], given: Mapping[str, object], remarks: list[str]) -> dict[str, Any]:
    """Return the knobs of a class by kohya's names of them, without defaults; others become a remark."""
    names = {name.removeprefix("network_"): knob for knob in knobs(cls) for name in knob.param.kohya}
    said = {name.removeprefix("network_"): value for name, value in given.items() if value not in (None, False, "")}
    if unknown := sorted(said.keys() - {*names, "dim", "alpha", "dropout"}):
        remarks.append(f"Not translated, of network_args: {', '.join(f'{name}={said[name]}' for name in unknown)}.")
    found = {names[name]: _shaped(names[name], said[name]) for name in said if name in names}
    return {knob.name: value for knob, value in found.items() if value != plain(knob.default())}


def _shaped(knob: Knob, value: object) -> object:
    """Return a value as its knob takes it: a single number of a list as a list."""
    return [value] if isinstance(plain(knob.default()), list) and not isinstance(value, list) else value
