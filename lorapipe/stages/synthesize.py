"""The `synthesize` stage: paints pictures, scores them, and chooses the best that differ, as a folder to train on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.errors import InputError, Problem
from lorapipe.evaluation import prompts
from lorapipe.evaluation.reference_views import CAPTIONED
from lorapipe.pipeline.artifacts import Artifact, Pictures
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.demand import Demand
from lorapipe.stages import Stage
from lorapipe.stages import _sampler_knobs as knobs
from lorapipe.stages._synthesis_options import SynthesisOptions


@dataclass(frozen=True)
class Synthesize(SynthesisOptions, knobs.PromptChecks):
    """Paint pictures with weights, score them against true pictures, and choose the best that differ, to train on."""

    menu_title: ClassVar[str] = "Synthesize pictures"
    search_words: ClassVar[tuple[str, ...]] = (
        "generate dataset",
        "regularisation images",
        "regularization images",
        "sample",
    )
    version: ClassVar[int] = 4
    libraries: ClassVar[tuple[str, ...]] = ("diffusers", "transformers")
    needs_device: ClassVar[bool] = True
    makes: ClassVar[type[Artifact]] = Pictures

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
        from lorapipe.stages._synthesis import Synthesis

        if problems := [*self.problems()]:
            raise InputError(problems)
        return Synthesis(self, context).run()
