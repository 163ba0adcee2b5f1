"""Runs a `synthesize` stage: paints and scores pictures, chooses the best that differ, and publishes them as a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, cast

from lorapipe import formats
from lorapipe.atomic import write_text
from lorapipe.errors import LorapipeError
from lorapipe.evaluation import choice_sheet, prompts
from lorapipe.evaluation.candidates import Candidate, best_that_differ, mean_likeness
from lorapipe.evaluation.feature_cache import FeatureCache
from lorapipe.evaluation.features import FeatureReader
from lorapipe.evaluation.grid_sampler import GridSampler, PictureCounter
from lorapipe.evaluation.image_store import ImageStore
from lorapipe.evaluation.picture_synthesis import PictureSynthesis, Style
from lorapipe.evaluation.sampler import Sampler, SamplingOptions
from lorapipe.formats import AdapterWeights
from lorapipe.percent import percent
from lorapipe.pipeline.artifacts import Pictures
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log
from lorapipe.stages._sampler_inputs import READING, asked_prompts, sampling_options, words_added
from lorapipe.stages._synthesis_options import SynthesisOptions
from lorapipe.stages._synthesis_pictures import (
    TruePictures,
    ask_person,
    earlier_pictures,
    generated_entry,
    painted_over,
)
from lorapipe.stages._training_settings import captioning_of
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
from lorapipe.training.data import generated_pictures
from lorapipe.training.device import Compute
from lorapipe.training.publish import link_or_copy
from lorapipe.training_record import TrainingRecord

if TYPE_CHECKING:
    from lorapipe.models import Family, Model

CFG = 6.0
"""Classifier-free guidance of pictures to train on: 5 to 7, since burnt colours are learnt (guide §9)."""


@dataclass(frozen=True)
class Synthesis:
    """One run of the stage."""

    stage: SynthesisOptions
    context: Context

    def run(self) -> Pictures:
        """Paint, choose, and publish."""
        stage, painting = self.stage, self._painting()
        with words_added(stage.embeddings, painting.grid.sampler.model):
            candidates, patches = painting.run()
        again = [each for folder in stage.again for each in earlier_pictures(folder.path)]
        earlier, their_patches = painting.judged_again(again)
        candidates, patches = [*candidates, *earlier], [*patches, *their_patches]
        choice = best_that_differ(candidates, patches, stage.choose, stage.least_likeness)
        if stage.ask:
            choice = choice._replace(chosen=ask_person(choice.chosen, candidates, stage.choose, self.context))
        passed = ", ".join(f"{count} {reason}" for reason, count in choice.passed_over.items())
        told = (
            f"{len(choice.chosen)} of {len(candidates)} pictures chosen{f'; passed over: {passed}' if passed else ''}"
        )
        if not choice.chosen:
            what = f"none of {len(candidates)} pictures is fit to train on: {passed}."
            raise LorapipeError(what, cure="Train longer, write other prompts, or lower least_likeness.")
        likeness = mean_likeness(choice.chosen)
        told += "" if likeness is None else f"; likeness {percent(likeness)}"
        self.context.emit(Log(text=told))
        self._guard(likeness, painting)
        return self._published(choice.chosen, candidates, likeness)

    # --------------------------------------------------------------------------------------------------- what it paints

    @cached_property
    def _record(self) -> TrainingRecord | None:
        """How the weights were trained, where that was here."""
        weights = self.stage.weights
        return TrainingRecord.load(weights.training) if weights and weights.training else None

    @cached_property
    def _true(self) -> TruePictures:
        """The pictures that what is painted is held against."""
        weights = self.stage.weights
        return TruePictures.of(self.stage.against or (weights.dataset if weights else None), self._record)

    @property
    def _base(self) -> Family:
        stage = self.stage
        if stage.base is not None:
            return stage.base
        return cast("Family", stage.weights.model if stage.weights else stage.against and stage.against.base)

    def _painting(self) -> PictureSynthesis:
        stage, context, true = self.stage, self.context, self._true
        model = Compute.of(context.device, stage.precision).model(self._base, context.model_cache)
        learned = self._learned(model)
        sampler = Sampler(model, self._options(), context.emit)
        images = ImageStore(context.resume / "pictures", self._asked(), stage.pictures, stage.seed)
        start = (
            None
            if stage.denoise is None
            else partial(painted_over, true.pictures, sampler, stage.denoise, stage.pictures)
        )
        counter = PictureCounter(0, context.emit)
        found = PictureSynthesis(
            grid=GridSampler(sampler, images, stage.batch, counter, context.check, start),
            adapter=WeightsAdapter(learned),
            parts=learned.parts,
            strengths=stage.strengths or (stage.weights.strength if stage.weights else 1.0,),
            features=FeatureCache(FeatureReader(model)),
            true=true.pictures,
            captions=true.captions,
            styles=[*self._styles(model)],
            kind=None if stage.kind == "auto" else stage.kind,
        )
        counter.total = found.pictures()
        return found

    def _learned(self, model: Model) -> AdapterWeights:
        """The weights, empty ones for the base alone."""
        weights = self.stage.weights
        return formats.open(weights.snapshots[-1].path, model.kohya_names()) if weights else AdapterWeights()

    def _options(self) -> SamplingOptions:
        stage, base, record = self.stage, self._base, self._record
        trained = record.resolution if record else self._true.resolution
        native = base.native_size()
        size = stage.size.size if stage.size else trained or (native, native)
        cfg = min(CFG, base.usual_cfg()) if stage.cfg is None else stage.cfg
        reading = record.reading if record else dict(READING)
        return sampling_options(base, size, stage.steps, cfg, stage.sampler, stage.negative_prompt, reading)

    def _asked(self) -> tuple[str, ...]:
        given, manifest, record = self.stage.prompts, self._true.manifest, self._record
        if prompts.AUTO not in given or manifest is None:
            return tuple(dict.fromkeys(given))
        return asked_prompts(given, record, manifest, captioning_of(record, manifest), self.context)

    def _styles(self, model: Model) -> Iterator[Style]:
        styles = self.stage.styles
        for number, each in enumerate(styles, start=1):
            learned = formats.open(each.file.path, model.kohya_names())
            text = each.strength if each.text_encoder_strength is None else each.text_encoder_strength
            strengths = {part: each.strength if part == model.denoiser else text for part in model.trainable}
            name = f"{number}-{each.file.path.stem}" if len(styles) > 1 else each.file.path.stem
            yield Style(name, WeightsAdapter(learned), learned.parts, strengths)

    # --------------------------------------------------------------------------------------------------- what it gives

    def _guard(self, likeness: float | None, painting: PictureSynthesis) -> None:
        """Fail where the chosen pictures are less like the true ones than the earlier stage's; both are measured here."""
        after = self.stage.after
        if after is None or likeness is None:
            return
        earlier, _ = painting.judged_again(earlier_pictures(after.folder))
        before = mean_likeness(earlier)
        if before is None:
            return
        text = f"likeness to the true pictures: {percent(likeness)}, and {percent(before)} of the round before"
        self.context.emit(Log(text=text))
        if likeness < before * (1 - self.stage.most_fall):
            fall = f"from {percent(before)} to {percent(likeness)}"
            what = f"the pictures' likeness to the true ones fell {fall}: it goes no further."
            cure = "Use the weights of the round before, or change prompts, strengths or styles."
            raise LorapipeError(what, cure=cure)

    def _published(
        self, chosen: Sequence[Candidate], candidates: Sequence[Candidate], likeness: float | None
    ) -> Pictures:
        """Write the folder of pictures and captions, and the sheet of what was chosen and what was not."""
        folder, sheet = self.context.out / "pictures", self.context.out / "sheet.png"
        entries = []
        for number, each in enumerate(chosen, start=1):
            picture = folder / f"{number:02d}.png"
            link_or_copy(each.path, picture)
            write_text(f"{each.prompt}\n", picture.with_suffix(".txt"))
            entries.append(generated_entry(picture, each))
        generated_pictures.save(entries, likeness, folder)
        choice_sheet.save(self._true.pictures, chosen, candidates, sheet)
        return Pictures(folder=folder, sheet=sheet, likeness=likeness)
