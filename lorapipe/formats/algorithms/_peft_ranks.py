"""Ranks and other sizes in PEFT's `adapter_config.json`: one for all modules, and patterns for exceptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import mode
from typing import TYPE_CHECKING, TypeVar

from lorapipe.errors import InputError

if TYPE_CHECKING:
    from lorapipe.formats.algorithms import Algorithm, Tensors

T = TypeVar("T")


def with_patterns(algorithm: Algorithm, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, object]:
    """Return `r`, alpha and patterns: the most frequent rank and alpha are the defaults, other modules have patterns."""
    ranks = {path: algorithm.rank(tensors) for path, (tensors, _) in modules.items()}
    alphas = {path: alpha for path, (_, alpha) in modules.items()}
    rank, alpha = mode(ranks.values()), mode(alphas.values())
    return {
        "r": rank,
        algorithm.peft_alpha: plain(alpha),
        "rank_pattern": {path: value for path, value in ranks.items() if value != rank},
        "alpha_pattern": {path: plain(value) for path, value in alphas.items() if value != alpha},
    }


def only(setting: str, values: Iterable[T]) -> T:
    """Return the value that all modules have; `InputError` where they differ, since PEFT has one `setting` for all."""
    found = [*dict.fromkeys(values)]
    if len(found) > 1:
        what = f"PEFT has one {setting} for all modules, and these have {', '.join(map(str, sorted(map(str, found))))}."
        raise InputError(what, cure="Take module_ranks away, or export with convert: lora or convert: diff.")
    return found[0]


def plain(number: float) -> float:
    """Return a whole number as an integer."""
    return int(number) if number == int(number) else number
