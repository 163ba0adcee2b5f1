"""How much of each module's update a smaller form keeps, and what a file has no place for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lorapipe.errors import counted, listed
from lorapipe.percent import percent

FILE = "kept.json"
"""The report of all modules, beside a stage's file."""
NOTABLE = 0.5
"""The share of an update's energy below which a module is named in the text."""
MOST_NAMED = 5


class KeptModule(NamedTuple):
    """A module's update in the new file: its rank (0: left out), ‖ΔW‖², and the share of it that is kept, 0 … 1."""

    name: str
    part: str
    rank: int
    energy: float
    kept: float


class LeftOut(NamedTuple):
    """Tensors of one kind that the file does not hold: how many differ, of how many, and ‖difference‖² over all."""

    kind: str
    changed: int
    total: int
    energy: float


class KeptReport(NamedTuple):
    """What a file keeps of an update, by module; what it leaves out, by kind of tensor; and remarks."""

    modules: Sequence[KeptModule]
    left_out: Sequence[LeftOut] = ()
    remarks: Sequence[str] = ()

    @property
    def kept(self) -> float:
        """Share of Σ‖ΔW‖² of the modules that is kept, 0 … 1."""
        whole = sum(module.energy for module in self.modules)
        return sum(module.energy * module.kept for module in self.modules) / whole if whole else 1.0

    @property
    def error(self) -> float:
        """‖ΔW' − ΔW‖ / ‖ΔW‖ over all modules."""
        return math.sqrt(max(0.0, 1 - self.kept))

    def lines(self) -> Iterator[str]:
        """Yield the report as sentences: in all, by part, the modules that lose most, and what is left out."""
        count = sum(module.rank > 0 for module in self.modules)
        keep = f"keep {percent(self.kept, 2)} of the energy (error {self.error:.4f})"
        yield f"{counted(count, 'module')} of {self._ranks()} {keep}"
        yield from self._part_lines()
        worst = sorted((each for each in self.modules if each.kept < NOTABLE), key=lambda each: each.kept)
        if worst:
            named = listed([f"{each.name} {percent(each.kept)}" for each in worst], MOST_NAMED)
            yield f"less than half is kept of {counted(len(worst), 'module')}: {named}"
        yield from self.remarks
        yield from self._left_out_lines()

    def _ranks(self) -> str:
        ranks = sorted({module.rank for module in self.modules if module.rank}) or [0]
        return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}"

    def _part_lines(self) -> Iterator[str]:
        parts = dict.fromkeys(module.part for module in self.modules)
        if len(parts) > 1:
            shares = (KeptReport([each for each in self.modules if each.part == part]).kept for part in parts)
            yield "by part: " + ", ".join(
                f"{part} {percent(share, 2)}" for part, share in zip(parts, shares, strict=True)
            )

    def _left_out_lines(self) -> Iterator[str]:
        whole = sum(each.energy for each in self.modules) + sum(each.energy for each in self.left_out)
        for each in self.left_out:
            if each.changed:
                share = percent(each.energy / whole, 2) if whole else "0 %"
                what = f"left out: {each.kind}, of which {each.changed} of {each.total} tensors differ"
                yield f"{what} ({share} of the whole difference)"

    def as_data(self) -> dict[str, object]:
        """Return JSON types."""
        return {
            "kept": self.kept,
            "error": self.error,
            "modules": [module._asdict() for module in self.modules],
            "left_out": [each._asdict() for each in self.left_out],
            "remarks": [*self.remarks],
        }

    def as_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.as_data(), indent=1, ensure_ascii=False) + "\n"
