"""Stages: the steps of a pipeline.

A stage is a frozen spec. Its fields are its inputs (typed as artifacts, or as `Source` for the user's own files) and
its knobs; `run()` makes one artifact. A stage knows nothing of the pipeline, of other stages, or of who reads its
events. Its result is a function of its content (fields declared `content=True`, inputs by their bytes, `version`,
`libraries`): that is what lets the planner reuse it.

To add one, create a file here. Import only light modules at the top (a spec is read to draw a menu); import torch and
its friends inside `run()`. Raise `version` when the same knobs come to mean another result.
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
    """Whether it computes on the GPU (or what stands in for one): such stages run one at a time on each device."""
    trains: ClassVar[bool] = False
    """Whether it computes for hours, as a training does: two of these take turns on the CPU, too."""
    makes: ClassVar[type[Artifact]]
    """The kind of artifact that `run` returns, so that references are checked before anything runs."""

    @classmethod
    def makes_with(cls, settings: Mapping[str, object]) -> type[Artifact]:
        """The kind of artifact of a stage with these settings in document form: `makes`, or a kind of it."""
        return cls.makes

    @abstractmethod
    def run(self, context: Context) -> Artifact:
        """Make the artifact; every path in it lies in `context.out`, in an input, or is a `Source`."""

    def problems_among(self, stages: Mapping[str, Stage]) -> Iterator[Problem]:
        """Yield what is wrong with its settings given what the other stages make, as far as that is known before they run.

        `stages` are the pipeline's, for references. Light and quick, as `problems`, which is asked first.
        """
        return iter(())

    def notices(self) -> Iterator[Problem]:
        """Yield settings that work but are seldom intended. Light and quick, like `problems`, after which it is called."""
        return iter(())

    def cautions(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        """Yield warnings that depend on the user's files, for `plan` and before a run.

        `stages` are the pipeline's, for references to stages that have not run yet. Light, and may read many small files.
        """
        return iter(())

    def outlook(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        """Yield lines for the plan: how much work, how long, how large. Light and quick; reads only file headers.

        `stages` are the pipeline's, for references to stages that have not run yet.
        """
        return iter(())

    def demand(self, stages: Mapping[str, Stage], pictures: int) -> Demand:
        """Return an upper bound of its work for a folder of so many pictures (each counted as often as it is repeated).

        Light and quick; reads nothing. It bounds what strangers may ask for.
        """
        return Demand()

    def deliveries(self) -> Iterable[Delivery]:
        """Return the files of its artifact that the user wants elsewhere.

        The engine puts copies there, after a run and after a reuse alike; before anything runs it looks whether it can.
        """
        return ()
