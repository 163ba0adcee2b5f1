"""Displays a node's progress and results on ComfyUI's page.

It uses `comfy.utils` and `folder_paths` of ComfyUI, imported inside functions.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lorapipe.pipeline.artifacts import Artifact, Weights, to_open
from lorapipe.pipeline.event_text import duration, figures, number, words
from lorapipe.pipeline.events import (
    METRICS,
    Asked,
    Event,
    Failed,
    Finished,
    Log,
    Planned,
    Preview,
    Progress,
    Reused,
    Started,
)
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.run_state import RunState

from .comfy_folders import comfy_paths
from .node_outputs import CURVE, PAGES, Output, ShownNode
from .results import curve, losses, previews

PREVIEW_SIZE = 512
MOST_TOLD = 5
"""Lines of a reused result's log that are shown."""
CURVE_SECONDS = 1.0
"""How often the loss so far is sent."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def blocked() -> Any:
    """Return the value of an output that is not made: nodes that take it do not run."""
    from comfy_execution.graph_utils import ExecutionBlocker

    return ExecutionBlocker(None)


class NodeDisplay:
    """The display of a node while it runs: a progress bar, a line of text, the loss curve, preview pictures."""

    def __init__(self, unique_id: str, stage: str) -> None:
        from comfy.utils import ProgressBar

        self.stage = stage
        self.told: list[str] = []
        self._listed = ""
        self._run = RunState()
        self._has_previews = False
        self._node = ShownNode.running(unique_id)
        self._curve: list[tuple[float, float]] = []
        self._curve_sent = 0.0
        self._bar = ProgressBar(100, node_id=unique_id)

    def say(self, text: str) -> None:
        """Show a text on the node, in place of the one before."""
        self._node.say(text)

    def show(self, event: Event) -> None:
        """Show one event; those of other stages with their stage's name."""
        self._run.apply(event)
        head = "" if event.stage in (self.stage, "") else f"{event.stage}: "
        match event:
            case Planned(action="run"):
                self.say(f"{head}{event.reason}")
            case Progress():
                self._bar.update_absolute(event.step, event.total)
                self.say(f"{head}{words(event)}")
            case Preview():
                self._preview(Path(event.path), PREVIEW_SIZE)
                with suppress(OSError):
                    self._node.show({"images": [_image(Path(event.path))]})
            case Log():
                self.told += [f"{head}{event.text}"] if event.stage else []
                if event.level == "warning":
                    self.say(f"{head}{event.text}")
            case Started() | Asked() | Finished() | Failed():
                self.say(f"{head}{words(event)}")
        if event.stage == self.stage:
            self._follow(event)

    def _follow(self, event: Event) -> None:
        """Follow the node's own stage: what its log told, and the loss, from its beginning where it was stopped before."""
        match event:
            case Started():
                self._curve = losses(Ledger(comfy_paths().project).resume_folder(event.key) / METRICS)["average"]
            case Progress() if "loss" in event.values:
                self._show_curve(event)
            case Reused():
                self.told += Ledger(comfy_paths().project).log_of(event.key)[-MOST_TOLD:]

    def _show_curve(self, event: Progress) -> None:
        """Show the loss so far; steps that are trained again, since they came after the saved state, are replaced."""
        self._curve = [each for each in self._curve if each[0] < event.step]
        self._curve.append((event.step, event.values["loss"]))
        now = time.monotonic()
        if now - self._curve_sent >= CURVE_SECONDS:
            self._curve_sent = now
            self._node.show({CURVE: [curve(self._curve, figures(event))]})

    def stopped(self) -> None:
        """Say that the stage has stopped, and how it goes on."""
        own = self._run.stages.get(self.stage)
        at = f" at {own.progress.step}/{own.progress.total}" if own is not None and own.progress is not None else ""
        self._node.say(f"stopped{at}. Queue it again: it goes on from its last saved state.", is_last=True)

    def close(self, artifact: Artifact, listed: str, published: list[Path], pages: list[str]) -> Output:
        """Show what is left on the node, and return it: pictures, text, the loss of a training, its pages."""
        self._listed = listed
        for picture in pictures_of(artifact) if self._has_previews else []:
            self._preview(picture, None)  # else the last preview would stay
        shown: dict[str, list[Any]] = {
            "images": [_image(file) for file in pictures_of(artifact)],
            "text": self.lines(published),
            PAGES: pages,
        }
        points = losses(artifact.log)["average"] if isinstance(artifact, Weights) else []
        if points:
            shown[CURVE] = [curve(points, f"loss {number(points[-1][1])}")]
        self._node.show(shown, is_last=True)
        return shown

    def lines(self, published: list[Path]) -> list[str]:
        """Return the final text: the name in ComfyUI's list, what the stage told, its end, its files below `outputs/`."""
        own = self._run.stages.get(self.stage)
        files = (*(own.files if own is not None else ()), *map(str, published))
        return [each for each in (self._listed, *self.told, self._end, *map(_in_comfyui, files)) if each]

    @property
    def _end(self) -> str:
        own = self._run.stages.get(self.stage)
        if own is None:
            return ""
        if own.state == "reused":
            return "reused: nothing has changed"
        return own.end if own.seconds is None else f"finished in {duration(own.seconds)}"

    def _preview(self, file: Path, size: int | None) -> None:
        from PIL import Image

        with suppress(OSError), Image.open(file) as picture:
            bar, self._has_previews = self._bar, True
            bar.update_absolute(bar.current, bar.total, ("JPEG", picture.convert("RGB"), size))


def _in_comfyui(file: str) -> str:
    """Return a path as it is seen from ComfyUI's folder, such as `output/lorapipe/outputs/grid/report.html`."""
    import folder_paths

    path, folder = Path(file), Path(folder_paths.get_output_directory()).parent
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def pictures_of(artifact: Artifact) -> list[Path]:
    """Return the picture files of an artifact: those to open, and the previews of a training."""
    own = [file for file in to_open(artifact) if file.suffix in PICTURES]
    return own or (previews(artifact) if isinstance(artifact, Weights) else [])


def _image(file: Path) -> dict[str, str]:
    """Return a picture's location for the page: the file itself if it is below the output folder, else a copy."""
    import folder_paths

    output, temp = Path(folder_paths.get_output_directory()), Path(folder_paths.get_temp_directory())
    if file.is_relative_to(output):
        return {"filename": file.name, "subfolder": file.parent.relative_to(output).as_posix(), "type": "output"}
    name = f"lorapipe-{hashlib.sha256(str(file).encode()).hexdigest()[:12]}{file.suffix}"
    temp.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, temp / name)
    return {"filename": name, "subfolder": "", "type": "temp"}
