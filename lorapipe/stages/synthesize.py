"""The `synthesize` stage: paints pictures, scores them, and chooses the best that differ, as a folder to train on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from lorapipe.atomic import write_text
from lorapipe.errors import InputError, LorapipeError, Problem
from lorapipe.evaluation import prompts
from lorapipe.evaluation.reference_views import CAPTIONED
from lorapipe.models import Family
from lorapipe.pipeline.artifacts import Artifact, Dataset, Pictures, Weights
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.demand import Demand
from lorapipe.pipeline.events import Log
from lorapipe.spec import Source, param
from lorapipe.stages import Stage
from lorapipe.stages import _sampler_knobs as knobs
from lorapipe.stages._merge_inputs import AdapterWeight
from lorapipe.stages._picture_folder import PictureFolder
from lorapipe.stages._sampler_inputs import READING, asked_prompts, sampling_options, words_added
from lorapipe.stages._synthesis_pictures import (
    TruePictures,
    ask_person,
    earlier_pictures,
    generated_entry,
    painted_over,
)
from lorapipe.stages._training_settings import captioning_of
from lorapipe.training.data.buckets import Resolution
from lorapipe.training.device import Precision

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.evaluation.candidates import Candidate
    from lorapipe.evaluation.picture_synthesis import PictureSynthesis, Style
    from lorapipe.evaluation.sampler import SamplingOptions
    from lorapipe.formats import AdapterWeights
    from lorapipe.models import Model
    from lorapipe.training_record import TrainingRecord

CFG = 6.0
"""Classifier-free guidance of pictures to train on: 5 to 7, since burnt colours are learnt (guide §9)."""


@dataclass(frozen=True)
class Synthesize(knobs.PromptChecks):
    """Paint pictures with weights, score them against true pictures, and choose the best that differ, to train on."""

    menu_title: ClassVar[str] = "Synthesize pictures"
    search_words: ClassVar[tuple[str, ...]] = (
        "generate dataset",
        "regularisation images",
        "regularization images",
        "sample",
    )
    version: ClassVar[int] = 2
    libraries: ClassVar[tuple[str, ...]] = ("diffusers", "transformers")
    needs_device: ClassVar[bool] = True
    makes: ClassVar[type[Artifact]] = Pictures

    weights: Weights | None = param(
        None,
        "the weights to paint with: a train stage, whose last snapshot is taken, or the chosen one, $grid.best; empty: the "
        "base alone",
    )
    base: Family | None = param(
        None, "the base to paint on, if not the weights' own: another checkpoint paints in another style"
    )
    against: Dataset | None = param(
        None,
        "a prepare stage of true pictures, which what is painted is held against: how much of the subject it shows, and "
        "that it copies none. One picture is enough. Empty: the training set",
    )
    prompts: tuple[str, ...] = param(
        (prompts.AUTO,),
        "what is painted, and the pictures' captions: the trigger word in scenes, poses and clothes. auto: four scenes made "
        "from the captions' tags, and the trigger word alone",
        min_items=1,
        word=prompts.AUTO,
    )
    negative_prompt: str = knobs.negative_prompt()
    pictures: int = param(
        4, "pictures for each prompt at each strength and in each style, to choose from", ge=1, le=256
    )
    seed: int = knobs.seed()
    strengths: tuple[float, ...] = param(
        (),
        "strengths at which the weights are applied; empty: what evaluate recommends, 1 for a train stage",
        gt=0,
        le=4,
    )
    styles: tuple[AdapterWeight, ...] = param(
        (),
        "adapters of styles, to vary how the subject is drawn: each prompt is painted with each of them, and none without. "
        "Another style is also another base",
    )
    denoise: float | None = param(
        None,
        "paint over the true pictures instead of from pure noise (img2img): 0.7 keeps their composition, 1 nothing; empty: "
        "from noise",
        gt=0,
        le=1,
    )
    choose: int = param(4, "number of pictures to choose", ge=1, le=10_000)
    ask: bool = param(
        False,
        "let a person choose, on a local page that `lorapipe run` opens for it. The run waits meanwhile without holding the "
        "device, and goes on after a kill; a script writes the pictures' numbers into the file that the run names",
    )
    least_likeness: float = param(
        0.6,
        "a picture with less than this share of the highest likeness is not chosen, however much it differs",
        ge=0,
        le=1,
        rare=True,
    )
    again: tuple[PictureFolder, ...] = param(
        (),
        "pictures of earlier synthesize stages, which are judged again beside the new ones: stand-outs among them are not "
        "chosen again",
        shelf="pictures",
        rare=True,
    )
    after: Pictures | None = param(
        None,
        "an earlier synthesize stage: if the pictures are less like the true ones than its were, the stage fails, so that a "
        "loop of training and painting ends before it collapses",
    )
    most_fall: float = param(
        0.2, "with after: the largest share of its pictures' likeness that may be lost", ge=0, lt=1, rare=True
    )
    steps: int = knobs.steps()
    cfg: float | None = param(
        None,
        "scale of classifier-free guidance. Higher burns the colours, and a training learns that; empty: 6, and 4 for "
        "pocket",
        ge=1,
        le=50,
    )
    sampler: knobs.SolverName = knobs.sampler()
    size: Resolution | None = param(
        None, "size of the pictures in pixels: 512, or 512x768 (width x height); by default that of the training"
    )
    batch: int = knobs.batch()
    kind: Literal["auto", "subject", "style"] = param(
        "auto",
        "what was trained, as in evaluate: a subject, or a style. auto: a subject, if the pictures share a part",
        rare=True,
    )
    embeddings: tuple[Source, ...] = param(
        (),
        "embedding files whose words prompts and negative_prompt may contain, by the files' names",
        shelf="embeddings",
        rare=True,
    )
    precision: Precision = knobs.precision()

    def problems(self) -> Iterator[Problem]:
        if self.weights is None and self.base is None and self.against is None:
            cure = "Name weights, or a base."
            yield Problem("there is nothing to paint with.", cure=cure, path=("weights",))
        if self.weights is None and self.against is None:
            if self.denoise is not None:
                what = "there are no pictures to paint over."
                yield Problem(what, cure="Name a prepare stage as against.", path=("denoise",))
            if prompts.AUTO in self.prompts:
                what = "auto makes prompts from captions, and there are none."
                yield Problem(what, cure="Write the prompts, or name a prepare stage as against.", path=("prompts",))

    def demand(self, stages: Mapping[str, Stage], pictures: int) -> Demand:
        most = (
            self.pictures
            * prompts.most_rows(self.prompts)
            * (1 + max(1, len(self.strengths)) * max(1, len(self.styles)))
        )
        return Demand(painted=(most + CAPTIONED) * -(-self.steps // 100))

    def outlook(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        painted = self.demand(stages, 0).painted // -(-self.steps // 100)
        yield f"at most {painted} pictures of {self.steps} steps, of which {self.choose} are chosen"

    def run(self, context: Context) -> Pictures:
        from lorapipe.evaluation.candidates import best_that_differ, mean_likeness

        if problems := [*self.problems()]:
            raise InputError(problems)
        synthesis = self._synthesis(context)
        with words_added(self.embeddings, synthesis.grid.sampler.model):
            candidates, patches = synthesis.run()
        again = [each for folder in self.again for each in earlier_pictures(folder.path)]
        earlier, their_patches = synthesis.judged_again(again)
        candidates, patches = [*candidates, *earlier], [*patches, *their_patches]
        choice = best_that_differ(candidates, patches, self.choose, self.least_likeness)
        if self.ask:
            choice = choice._replace(chosen=ask_person(choice.chosen, candidates, self.choose, context))
        passed = ", ".join(f"{count} {reason}" for reason, count in choice.passed_over.items())
        told = (
            f"{len(choice.chosen)} of {len(candidates)} pictures chosen{f'; passed over: {passed}' if passed else ''}"
        )
        if not choice.chosen:
            what = f"none of {len(candidates)} pictures is fit to train on: {passed}."
            raise LorapipeError(what, cure="Train longer, write other prompts, or lower least_likeness.")
        likeness = mean_likeness(choice.chosen)
        told += "" if likeness is None else f"; likeness {likeness:.0%}"
        context.emit(Log(text=told))
        self._guard(likeness, synthesis, context)
        return self._published(choice.chosen, candidates, synthesis.true, likeness, context)

    # --------------------------------------------------------------------------------------------------- what it paints

    def _synthesis(self, context: Context) -> PictureSynthesis:
        from lorapipe.evaluation.feature_cache import FeatureCache
        from lorapipe.evaluation.features import FeatureReader
        from lorapipe.evaluation.grid_sampler import GridSampler, PictureCounter
        from lorapipe.evaluation.image_store import ImageStore
        from lorapipe.evaluation.picture_synthesis import PictureSynthesis
        from lorapipe.evaluation.sampler import Sampler
        from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
        from lorapipe.training.device import Compute
        from lorapipe.training_record import TrainingRecord

        record = TrainingRecord.load(self.weights.training) if self.weights and self.weights.training else None
        true = TruePictures.of(self._true_set, record)
        model = Compute.of(context.device, self.precision).model(self._base, context.model_cache)
        learned = self._learned(model)
        sampler = Sampler(model, self._options(record, true), context.emit)
        images = ImageStore(context.resume / "pictures", self._asked(record, true, context), self.pictures, self.seed)
        start = (
            None if self.denoise is None else partial(painted_over, true.pictures, sampler, self.denoise, self.pictures)
        )
        counter = PictureCounter(0, context.emit)
        found = PictureSynthesis(
            grid=GridSampler(sampler, images, self.batch, counter, context.check, start),
            adapter=WeightsAdapter(learned),
            parts=learned.parts,
            strengths=self.strengths or (self.weights.strength if self.weights else 1.0,),
            features=FeatureCache(FeatureReader(model)),
            true=true.pictures,
            captions=true.captions,
            styles=[*self._styles(model)],
            kind=None if self.kind == "auto" else self.kind,
        )
        counter.total = found.pictures()
        return found

    @property
    def _true_set(self) -> Dataset | None:
        return self.against or (self.weights.dataset if self.weights else None)

    @property
    def _base(self) -> Family:
        if self.base is not None:
            return self.base
        given = self.weights.model if self.weights else self.against and self.against.base
        return cast("Family", given)

    def _learned(self, model: Model) -> AdapterWeights:
        """The weights, empty ones for the base alone."""
        from lorapipe import formats
        from lorapipe.formats import AdapterWeights

        return formats.open(self.weights.snapshots[-1].path, model.kohya_names()) if self.weights else AdapterWeights()

    def _options(self, record: TrainingRecord | None, true: TruePictures) -> SamplingOptions:
        base, reading = self._base, record.reading if record else dict(READING)
        trained = record.resolution if record else true.resolution
        native = base.native_size()
        size = self.size.size if self.size else trained or (native, native)
        cfg = min(CFG, base.usual_cfg()) if self.cfg is None else self.cfg
        return sampling_options(base, size, self.steps, cfg, self.sampler, self.negative_prompt, reading)

    def _asked(self, record: TrainingRecord | None, true: TruePictures, context: Context) -> tuple[str, ...]:
        if prompts.AUTO not in self.prompts or true.manifest is None:
            return tuple(dict.fromkeys(self.prompts))
        return asked_prompts(self.prompts, record, true.manifest, captioning_of(record, true.manifest), context)

    def _styles(self, model: Model) -> Iterator[Style]:
        from lorapipe import formats
        from lorapipe.evaluation.picture_synthesis import Style
        from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter

        for number, each in enumerate(self.styles, start=1):
            learned = formats.open(each.file.path, model.kohya_names())
            text = each.strength if each.text_encoder_strength is None else each.text_encoder_strength
            strengths = {part: each.strength if part == model.denoiser else text for part in model.trainable}
            name = f"{number}-{each.file.path.stem}" if len(self.styles) > 1 else each.file.path.stem
            yield Style(name, WeightsAdapter(learned), learned.parts, strengths)

    # --------------------------------------------------------------------------------------------------- what it gives

    def _guard(self, likeness: float | None, synthesis: PictureSynthesis, context: Context) -> None:
        """Fail where the chosen pictures are less like the true ones than the earlier stage's; both are measured here."""
        from lorapipe.evaluation.candidates import mean_likeness

        if self.after is None or likeness is None:
            return
        earlier, _ = synthesis.judged_again(earlier_pictures(self.after.folder))
        before = mean_likeness(earlier)
        if before is None:
            return
        context.emit(Log(text=f"likeness to the true pictures: {likeness:.0%}, and {before:.0%} of the round before"))
        if likeness < before * (1 - self.most_fall):
            what = (
                f"the pictures' likeness to the true ones fell from {before:.0%} to {likeness:.0%}: it goes no further."
            )
            cure = "Use the weights of the round before, or change prompts, strengths or styles."
            raise LorapipeError(what, cure=cure)

    def _published(
        self,
        chosen: Sequence[Candidate],
        candidates: Sequence[Candidate],
        true: Sequence[Image],
        likeness: float | None,
        context: Context,
    ) -> Pictures:
        from lorapipe.evaluation import choice_sheet
        from lorapipe.training.data import generated_pictures
        from lorapipe.training.publish import link_or_copy

        folder, sheet = context.out / "pictures", context.out / "sheet.png"
        entries = []
        for number, each in enumerate(chosen, start=1):
            picture = folder / f"{number:02d}.png"
            link_or_copy(each.path, picture)
            write_text(f"{each.prompt}\n", picture.with_suffix(".txt"))
            entries.append(generated_entry(picture, each))
        generated_pictures.save(entries, likeness, folder)
        choice_sheet.save(true, chosen, candidates, sheet)
        return Pictures(folder=folder, sheet=sheet, likeness=likeness)
