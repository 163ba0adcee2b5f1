"""Stages: the steps of a pipeline.

A stage is a frozen spec. Its fields are its inputs (typed as artifacts, or as `Source` for the user's own files) and
its knobs; `run()` makes one artifact. A stage is independent of the pipeline, of other stages, and of the readers of its
events. Its result is a function of its content (fields with `content=True`, the bytes of inputs, `version`, `libraries`),
so the planner can reuse it.

To add one, create a file here. Import only light modules at the top (menus are made from specs); import torch, diffusers
and transformers inside `run()`. Increase `version` when the same knobs give a different result.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.errors import Problem
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.delivery import Delivery
from lorapipe.pipeline.demand import Demand
from lorapipe.spec import Spec


@dataclass(frozen=True)
class Stage(Spec, contract="uses"):
    """One step of a pipeline."""

    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version changes the result (`diffusers`); part of the content key."""
    needs_device: ClassVar[bool] = False
    """Whether the stage computes on a GPU or its substitute: such stages run one at a time on each device."""
    trains: ClassVar[bool] = False
    """Whether the stage computes for hours: such stages run one at a time on the CPU, too."""
    makes: ClassVar[type[Artifact]]
    """The class of artifact that `run` returns, for checking references before a run."""
    menu_title: ClassVar[str] = ""
    """Its name in menus, where the registered name alone says too little."""

    @classmethod
    def makes_with(cls, settings: Mapping[str, object]) -> type[Artifact]:
        """Return the artifact class of a stage with these settings (in document form): `makes`, or a subclass."""
        return cls.makes

    @abstractmethod
    def run(self, context: Context) -> Artifact:
        """Make the artifact. Every path in it is inside `context.out`, inside an input, or a `Source`."""

    def problems_among(self, stages: Mapping[str, Stage]) -> Iterator[Problem]:
        """Yield problems of the settings that depend on other stages, as far as they are known before a run.

        `stages` are the pipeline's, for references. It must be quick, like `problems`, which is called first.
        """
        return iter(())

    def notices(self) -> Iterator[Problem]:
        """Yield settings that are valid but probably not intended. Quick, like `problems`; called after it."""
        return iter(())

    def cautions(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        """Yield warnings that depend on the user's files, for `plan` and before a run.

        `stages` are the pipeline's, for references to stages that have not run yet. It may read many small files.
        """
        return iter(())

    def findings(self, stages: Mapping[str, Stage]) -> Iterator[Problem]:
        """Yield what the rules (`lorapipe.rules`) say of a valid stage and its pictures, for `check`, `plan` and a run.

        The path of each problem begins with the name of the stage to change. It may read the headers of many files.
        """
        return iter(())

    def outlook(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        """Yield lines for the plan: the amount of work, time and memory. Quick: it reads only file headers.

        `stages` are the pipeline's, for references to stages that have not run yet.
        """
        return iter(())

    def demand(self, stages: Mapping[str, Stage], pictures: int) -> Demand:
        """Return an upper bound of the stage's work for a folder of so many pictures, repeats included.

        It reads nothing. It limits the work that strangers can request through an inbox.
        """
        return Demand()

    def deliveries(self) -> Iterable[Delivery]:
        """Return the files of the artifact that the user wants outside the store.

        The engine copies them there, after a run and after a reuse; before a run it checks that it can.
        """
        return ()
