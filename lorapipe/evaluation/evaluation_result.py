"""What an evaluation found, with the cells in the order in which a report shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.image_store import ImageStore
from lorapipe.evaluation.measures import Measure
from lorapipe.evaluation.nearest_pictures import NearestPicture
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.scorer import CellScores
from lorapipe.evaluation.subject_parts import SubjectPart
from lorapipe.evaluation.verdict import Verdict

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class EvaluationResult:
    """Everything an evaluation found: metrics, verdict, pictures.

    `scored` has the base (`BASE`) too; `apart` the last sound snapshot with one part at another strength and with both at
    1, of the first prompts; `training` are the training pictures, `measures` what was measured,
    `low_guidance` the pictures of the best cell at a low CFG, `nearest` the best cell's pictures that come nearest to
    training pictures, `parts` what is taken for the subject; empty for a style.
    """

    results: Results
    verdict: Verdict
    scored: Mapping[Cell, CellScores]
    images: ImageStore
    training: Sequence[Image]
    measures: Mapping[str, Measure] = field(default_factory=dict)
    low_guidance: ImageStore | None = None
    nearest: Sequence[NearestPicture] = ()
    apart: Mapping[Cell, CellScores] = field(default_factory=dict)
    parts: Sequence[SubjectPart] = ()

    @property
    def best(self) -> Cell:
        """The cell to use."""
        return self.verdict.best

    @property
    def row(self) -> list[Cell]:
        """The snapshots at the best's strength, in order."""
        return [Cell(step, self.best.strength, self.best.text_encoder) for step in self.results.steps]

    @property
    def strengths(self) -> list[Cell]:
        """The best snapshot at all strengths that were tried with both parts alike, in order."""
        return sorted(cell for cell in self.scored if cell.step == self.best.step)
