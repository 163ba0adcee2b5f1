"""The `evaluate` stage: samples and scores every snapshot, and chooses the one to use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from lorapipe.errors import Problem, shortened
from lorapipe.evaluation import prompts
from lorapipe.evaluation.grid_plan import MOST_CAPTIONS, GridPlan
from lorapipe.pipeline.artifacts import Artifact, Report
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.demand import Demand
from lorapipe.spec import Source
from lorapipe.stages import Stage
from lorapipe.stages import _sampler_knobs as knobs
from lorapipe.stages._evaluation_options import EvaluationOptions
from lorapipe.stages._further_bases import base_name


@dataclass(frozen=True)
class Evaluate(EvaluationOptions, knobs.PromptChecks):
    """Sample every snapshot at several strengths from fixed noise, compare, and say which to use and what to change."""

    menu_title: ClassVar[str] = "Evaluate LoRA"
    search_words: ClassVar[tuple[str, ...]] = ("xy plot", "grid", "compare snapshots", "test lora", "verdict")
    version: ClassVar[int] = 24
    libraries: ClassVar[tuple[str, ...]] = ("diffusers", "transformers")
    needs_device: ClassVar[bool] = True
    makes: ClassVar[type[Artifact]] = Report

    def problems(self) -> Iterator[Problem]:
        seen = set[str]()
        for place, prompt in enumerate(self.prompts):
            if prompt in seen:
                yield Problem(
                    f"{shortened(prompt, 100)!r} is given twice.",
                    cure="Write another prompt.",
                    path=("prompts", place),
                )
            seen.add(prompt)
        known = [each for each in self.bases if isinstance(each, Source)]
        names = [base_name(each) for each in dict.fromkeys(known)]
        if doubled := next((name for name in names if names.count(name) > 1), ""):
            what = f"two checkpoints are called {doubled}, and the report could not tell them apart."
            yield Problem(what, cure="Rename one of the files.", path=("bases",))

    def demand(self, stages: Mapping[str, Stage], pictures: int) -> Demand:
        return Demand(painted=self._most_pictures(stages, self.pictures * 2**self.rounds) * -(-self.steps // 100))

    def _most_pictures(self, stages: Mapping[str, Stage], count: int) -> int:
        """The largest number of pictures, with `count` of each prompt in each cell."""
        apart = self.part_strengths if self._may_train_both(stages) else ()
        plan = GridPlan(tuple(range(1, self.snapshots + 1)), self.strengths, apart, self.low_cfg, MOST_CAPTIONS)
        rows = prompts.most_rows(self.prompts)
        further = replace(plan, part_strengths=(), low_cfg=None)
        return plan.pictures(rows, count) + len({*self.bases}) * further.pictures(rows, count)

    def _may_train_both(self, stages: Mapping[str, Stage]) -> bool:
        """Whether denoiser and text encoder are trained, or may be, as far as the pipeline says."""
        from lorapipe.stages._trigger import behind
        from lorapipe.training.options import RATES, TrainingOptions

        trainings = [each for each in behind(self, stages) if isinstance(each, TrainingOptions)]
        roles = [{RATES[name] for name in each.rates_by_option()} - {"embedding"} for each in trainings]
        return not roles or any(len(each) > 1 for each in roles)

    def outlook(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        usual, most = (self._most_pictures(stages, self.pictures * times) for times in (1, 2**self.rounds))
        more = f"; where that leaves it unsure, up to {most} (surer: auto)" if self.rounds else ""
        yield f"at most {usual} pictures of {self.steps} steps{more}"

    def run(self, context: Context) -> Report:
        from lorapipe.stages._evaluation import Evaluation

        return Evaluation(self, context).run()
