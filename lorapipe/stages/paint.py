"""The `paint` stage: paints pictures of prompts with weights, or with the base alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.atomic import replacing, write_text
from lorapipe.errors import InputError, Problem
from lorapipe.models import Family
from lorapipe.pipeline.artifacts import Artifact, Pictures, Weights
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.demand import Demand
from lorapipe.spec import param
from lorapipe.stages import Stage
from lorapipe.stages import _sampler_knobs as knobs
from lorapipe.stages._sampler_inputs import READING, sampling_options
from lorapipe.training.data.buckets import Resolution
from lorapipe.training.device import Precision
from lorapipe.training.solver_names import SolverName

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from lorapipe.evaluation.grid_sampler import GridSampler
    from lorapipe.evaluation.sampler import SamplingOptions
    from lorapipe.models import Model
    from lorapipe.training_record import TrainingRecord

ACROSS = 4
"""Pictures in a row of the sheet."""


@dataclass(frozen=True)
class Paint(knobs.PromptChecks):
    """Paint pictures of prompts with weights, or with the base alone, as evaluate samples them: no measures, no choice."""

    menu_title: ClassVar[str] = "Paint pictures"
    search_words: ClassVar[tuple[str, ...]] = ("txt2img", "generate images", "sample images", "ksampler", "use lora")
    libraries: ClassVar[tuple[str, ...]] = ("diffusers", "transformers")
    needs_device: ClassVar[bool] = True
    makes: ClassVar[type[Artifact]] = Pictures

    prompts: tuple[str, ...] = param(help="what is painted, one prompt a picture", min_items=1)
    weights: Weights | None = param(
        None,
        "the weights to paint with: a train stage, whose last snapshot is taken, or the chosen one, $grid.best; empty: the "
        "base alone",
    )
    base: Family | None = param(None, "the base to paint on, if not the weights' own")
    strength: float | None = param(
        None, "strength of the weights; empty: what evaluate recommends, 1 for a train stage", gt=0, le=4
    )
    negative_prompt: str = knobs.negative_prompt()
    pictures: int = param(1, "pictures of each prompt", ge=1, le=256)
    seed: int = knobs.seed()
    steps: int = knobs.steps()
    cfg: float | None = param(
        None, "scale of classifier-free guidance; empty: 7 for Stable Diffusion, and 4 for pocket", ge=1, le=50
    )
    sampler: SolverName = knobs.sampler()
    size: Resolution | None = knobs.size("that of the training")
    batch: int = knobs.batch()
    precision: Precision = knobs.precision()

    def problems(self) -> Iterator[Problem]:
        if self.weights is None and self.base is None:
            yield Problem("there is nothing to paint with.", cure="Name weights, or a base.", path=("weights",))

    def demand(self, stages: Mapping[str, Stage], pictures: int) -> Demand:
        return Demand(painted=self.pictures * len(self.prompts) * -(-self.steps // 100))

    def run(self, context: Context) -> Pictures:
        from lorapipe import formats
        from lorapipe.evaluation.grid_plan import BASE, Cell
        from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
        from lorapipe.training.device import Compute
        from lorapipe.training.model_contexts import attached

        if problems := [*self.problems()]:
            raise InputError(problems)
        model = Compute.of(context.device, self.precision).model(self._base, context.model_cache)
        grid = self._grid(model, context)
        if self.weights is None:
            cell = BASE
            grid.sample_base()
        else:
            strength = self.weights.strength if self.strength is None else self.strength
            cell = Cell(1, strength, strength)
            learned = formats.open(self.weights.snapshots[-1].path, model.kohya_names())
            with attached(WeightsAdapter(learned), model, learned.parts) as adapter:
                grid.sample(cell, adapter)
        grid.preview(cell)
        return self._published([grid.images.path(cell, slot) for slot in grid.images.slots], context)

    @property
    def _base(self) -> Family:
        found = self.base or (self.weights and self.weights.model)
        assert isinstance(found, Family)
        return found

    def _grid(self, model: Model, context: Context) -> GridSampler:
        from lorapipe.evaluation.grid_sampler import GridSampler, PictureCounter
        from lorapipe.evaluation.image_store import ImageStore
        from lorapipe.evaluation.sampler import Sampler
        from lorapipe.training_record import TrainingRecord

        record = TrainingRecord.load(self.weights.training) if self.weights and self.weights.training else None
        images = ImageStore(context.resume / "pictures", self.prompts, self.pictures, self.seed)
        counter = PictureCounter(len(images.slots), context.emit)
        return GridSampler(
            Sampler(model, self._options(record), context.emit), images, self.batch, counter, context.check
        )

    def _options(self, record: TrainingRecord | None) -> SamplingOptions:
        native = self._base.native_size()
        size = self.size.size if self.size else (record and record.resolution) or (native, native)
        cfg = self._base.usual_cfg() if self.cfg is None else self.cfg
        reading = record.reading if record else dict(READING)
        return sampling_options(self._base, size, self.steps, cfg, self.sampler, self.negative_prompt, reading)

    def _published(self, painted: list[Path], context: Context) -> Pictures:
        """Publish the pictures, each with its prompt as caption, and a sheet of them."""
        from PIL import Image

        from lorapipe.training.publish import link_or_copy

        folder, sheet = context.out / "pictures", context.out / "sheet.png"
        shown = []
        for number, path in enumerate(painted, start=1):
            picture = folder / f"{number:02d}.png"
            link_or_copy(path, picture)
            write_text(f"{self.prompts[(number - 1) // self.pictures]}\n", picture.with_suffix(".txt"))
            with Image.open(path) as opened:
                shown.append(opened.convert("RGB"))
        with replacing(sheet) as part:
            _sheet(shown).save(part, format="PNG")
        return Pictures(folder=folder, sheet=sheet)


def _sheet(pictures: list[Image]) -> Image:
    """Return the pictures side by side, in rows."""
    from PIL import Image as Pillow

    width, height = pictures[0].size
    rows = -(-len(pictures) // ACROSS)
    sheet = Pillow.new("RGB", (width * min(len(pictures), ACROSS), height * rows), "white")
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (place % ACROSS * width, place // ACROSS * height))
    return sheet
