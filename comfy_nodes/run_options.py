"""Run options of a graph's stages, which are flags on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorapipe.errors import InputError, Problem
from lorapipe.pipeline.execution.devices import parse_devices
from lorapipe.pipeline.execution.launchers import Launcher
from lorapipe.pipeline.stage_options import StageOptions
from lorapipe.spec import param


@dataclass(frozen=True)
class Running(StageOptions):
    """Run options of a stage: device, launcher, time limit, retries. They do not change the result."""

    device: str = param("auto", "auto, cpu, cuda, cuda:1, mps; one training on two GPUs: cuda:0+cuda:1", content=False)
    launcher: Launcher = param(
        Launcher.default("local"), "where the stage runs: this machine, or a cluster", content=False
    )
    unload_models: bool = param(
        True, "free memory: unload ComfyUI's own models before a stage that needs the device", content=False
    )
    keep_versions: int = param(
        0,
        "how many versions of a finished file stay in ComfyUI's list of LoRAs or checkpoints, the newest; 0: all. Files "
        "that you have renamed or changed, and those that the graph names, always stay",
        ge=0,
        le=1000,
        content=False,
    )

    def problems(self) -> Iterator[Problem]:
        try:
            parse_devices(self.device)
        except InputError as error:
            yield from (Problem(each.what, cure=each.cure, path=("device",)) for each in error.problems)
