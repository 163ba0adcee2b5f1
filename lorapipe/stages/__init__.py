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

    @abstractmethod
    def run(self, context: Context) -> Artifact:
        """Make the artifact; every path in it lies in `context.out`, in an input, or is a `Source`."""

    def problems_among(self, stages: Mapping[str, Stage]) -> Iterator[Problem]:
        """What is wrong with its settings for what other stages make, as far as that is known before they run.

        `stages` are the pipeline's, for references. Light and quick, as `problems`, which is asked first.
        """
        return iter(())

    def notices(self) -> Iterator[Problem]:
        """What works and is seldom meant: told, and no mistake. Light and quick, as `problems`, after which it is asked."""
        return iter(())

    def cautions(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        """What works and is seldom meant, as far as only the user's files show it: told by `plan` and before a run.

        `stages` are the pipeline's, for references to stages that have not run yet. Light, and may read many small files.
        """
        return iter(())

    def outlook(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        """What its work will be, in lines for the plan: how much, how long, how large. Light and quick; reads only heads.

        `stages` are the pipeline's, for references to stages that have not run yet.
        """
        return iter(())

    def demand(self, stages: Mapping[str, Stage], pictures: int) -> Demand:
        """How much work it is at the most, where its folder has so many pictures, each as often as it is shown.

        Light and quick; reads nothing. It bounds what strangers may ask for.
        """
        return Demand()

    def deliveries(self) -> Iterable[Delivery]:
        """The files of its artifact that the user wants elsewhere.

        The engine puts copies there, after a run and after a reuse alike; before anything runs it looks whether it can.
        """
        return ()
