"""The `inspect` stage: what an adapter's file is, and how other programs read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.atomic import write_text
from lorapipe.errors import Problem, near_miss
from lorapipe.pipeline.artifacts import Artifact, FileReport
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log
from lorapipe.spec import Source, param
from lorapipe.stages import Stage
from lorapipe.stages._merge_inputs import AdapterFile, header_problems


@dataclass(frozen=True)
class Inspect(Stage):
    """Describe an adapter's file: kind, ranks, parts, base, words, training, damage, and how other programs read it."""

    menu_title: ClassVar[str] = "Inspect LoRA"
    search_words: ClassVar[tuple[str, ...]] = ("lora info", "metadata", "lora analysis")
    makes: ClassVar[type[Artifact]] = FileReport

    lora: AdapterFile = param(
        help="a LoRA's file of any kind and format, or a stage's weights: $penny, $grid.best", shelf="loras"
    )
    readers: tuple[str, ...] = param(
        (), "programs to compare with: comfyui, forge, a1111, diffusers; modules that they ignore or read differently"
    )

    def problems(self) -> Iterator[Problem]:
        from lorapipe.inspection.readers import Reader

        for place, name in enumerate(self.readers):
            if name not in Reader.registry.names():
                cure = near_miss(name, Reader.registry.names())
                yield Problem(f"{name!r} is no known program.", cure=cure, path=("readers", place))
        if isinstance(self.lora, Source) and not self.lora.path.is_dir():
            yield from header_problems(self.lora, "lora")

    def run(self, context: Context) -> FileReport:
        from lorapipe.inspection import inspect

        found = inspect(self.lora.path, self.readers)
        text = found.as_text()
        for line in text.splitlines():
            context.emit(Log(text=line))
        for problem in found.report.problems:
            context.emit(Log(text=problem, level="warning"))
        out = context.out
        write_text(text + "\n", out / "report.txt")
        write_text(json.dumps(found.as_data(), ensure_ascii=False, indent=1) + "\n", out / "report.json")
        return FileReport(text=out / "report.txt", data=out / "report.json")
