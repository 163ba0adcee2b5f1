"""Ranks and other sizes in PEFT's `adapter_config.json`: one for all modules, and patterns for exceptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import mode
from typing import TypeVar

from lorapipe.errors import InputError

T = TypeVar("T")


def with_patterns(name: str, ranks: Mapping[str, int], alphas: Mapping[str, float]) -> dict[str, object]:
    """Return `r`, the alpha called `name`, and patterns, for ranks and alphas by module path.

    The most frequent rank and alpha are the defaults; other modules have patterns.
    """
    rank, alpha = mode(ranks.values()), mode(alphas.values())
    return {
        "r": rank,
        name: plain(alpha),
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
