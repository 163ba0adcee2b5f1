"""The `train` stage: trains an adapter on a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.errors import Problem
from lorapipe.pipeline.artifacts import Artifact, Weights
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.demand import Demand
from lorapipe.pipeline.events import Log
from lorapipe.stages import Stage, _prompt_syntax, _train_rules
from lorapipe.training.options import TrainingOptions


@dataclass(frozen=True)
class Train(TrainingOptions, Stage):
    """Train an adapter on a dataset, with snapshots, previews and curves; a stopped training resumes where it was."""

    menu_title: ClassVar[str] = "Train LoRA, DreamBooth"
    search_words: ClassVar[tuple[str, ...]] = ("train lora", "training", "dreambooth", "fine-tune", "kohya", "trainer")
    version: ClassVar[int] = 2
    needs_device: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    makes: ClassVar[type[Artifact]] = Weights

    def problems(self) -> Iterator[Problem]:
        return _train_rules.problems(self)

    def problems_among(self, stages: Mapping[str, Stage]) -> Iterator[Problem]:
        return _train_rules.problems_with_bases(self, [*_train_rules.bases_among(self, stages)])

    def notices(self) -> Iterator[Problem]:
        return _prompt_syntax.notices(self.preview_prompts, "preview_prompts")

    def outlook(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        from lorapipe.stages import _train_forecast

        return _train_forecast.outlook(self, stages)

    def cautions(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        from lorapipe.stages._trigger import never_said

        return never_said(self.preview_prompts, "preview_prompts", [self], stages)

    def findings(self, stages: Mapping[str, Stage]) -> Iterator[Problem]:
        from lorapipe.stages import _training_facts

        return _training_facts.findings(self, stages)

    def demand(self, stages: Mapping[str, Stage], pictures: int) -> Demand:
        from lorapipe.stages._train_forecast import demand

        return demand(self, stages, pictures)

    def run(self, context: Context) -> Weights:
        from lorapipe.stages import _training_facts
        from lorapipe.training.trainer import Trainer

        _train_rules.check(self)
        trainer = Trainer.build(self, context)
        for warning in _training_facts.warnings(self, trainer.length.total, trainer.length.per_epoch):
            context.emit(Log(text=warning, level="warning"))
        for _ in trainer.steps():
            pass
        return trainer.publish()
