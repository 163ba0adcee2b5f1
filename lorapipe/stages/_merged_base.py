"""Where the merge stages write a base: a file, or a folder where the first base is one."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from lorapipe.errors import Problem
from lorapipe.models import Family
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.delivery import Delivery
from lorapipe.spec import Destination


class MergedBase:
    """The part of a merge stage that is about its result."""

    base: Family
    to: Destination | None
    overwrite: bool

    @property
    def _is_folder(self) -> bool:
        return not self.base.is_pending and self.base.checkpoint.path.is_dir()

    def _problems_of_place(self) -> Iterator[Problem]:
        if self.to is None:
            return
        if self._is_folder and self.to.path.suffix.lower() == ".safetensors":
            what = f"{self.to.path.name} has the ending of a file; of a base in a folder the result is a folder too."
            yield Problem(what, cure=f"Write {self.to.path.stem}.", path=("to",))
        elif not self._is_folder and (told := self.to.complaint(".safetensors")) is not None:
            yield Problem(told[0], cure=told[1], path=("to",))

    def deliveries(self) -> Iterator[Delivery]:
        if self.to is not None:
            ending = "" if self._is_folder else ".safetensors"
            yield Delivery("to", self.to, attrgetter("path"), ending, self.overwrite, is_folder=self._is_folder)

    def _path(self, context: Context) -> Path:
        return context.out / ("merged" if self._is_folder else "merged.safetensors")
