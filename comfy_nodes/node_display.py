"""Displays a node's progress and results on ComfyUI's page.

It uses `comfy.utils`, `folder_paths` and `server.PromptServer` of ComfyUI, imported inside functions.
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
from lorapipe.pipeline.events import Asked, Event, Failed, Finished, Log, Planned, Preview, Progress, Started
from lorapipe.pipeline.run_state import RunState

from .node import Prompt
from .results import curve, losses

AS_TEXT = str.maketrans("<>&", "‹›＆")
"""Look-alikes of HTML's special characters, since some releases of the page show escapes such as &lt; literally."""
PREVIEW_SIZE = 512
CURVE_EVENT, CURVE_SECONDS = "lorapipe.curve", 1.0
"""The event with the loss so far, and how often it is sent."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def say(text: str, unique_id: str, client: str | None = None) -> None:
    """Show a text below a node of a client's graph, or of all clients' graphs.

    The page would read it as HTML and as links, so these characters are replaced.
    """
    from server import PromptServer

    PromptServer.instance.send_progress_text(text.translate(AS_TEXT).replace("[[", "[ ["), unique_id, client)


def running_client() -> str | None:
    """Return the id of the client (a tab of the page) whose graph is executed; None if it gave none."""
    from server import PromptServer

    client = PromptServer.instance.client_id
    return None if client is None else str(client)


def running_prompts() -> list[Prompt]:
    """Return the graphs that ComfyUI executes at present; none if it does not tell."""
    from server import PromptServer

    with suppress(Exception):
        running, _ = PromptServer.instance.prompt_queue.get_current_queue()
        return [item[2] for item in running]
    return []


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
        self._unique_id = unique_id
        self._client = running_client()
        self._curve: list[tuple[float, float]] = []
        self._curve_sent = 0.0
        self._bar = ProgressBar(100, node_id=unique_id)

    def say(self, text: str) -> None:
        """Show a line below the node."""
        say(text, self._unique_id, self._client)

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
                if event.stage == self.stage and "loss" in event.values:
                    self._show_curve(event)
            case Preview():
                self._preview(Path(event.path), PREVIEW_SIZE)
            case Log():
                self.told += [f"{head}{event.text}"] if event.stage else []
                if event.level == "warning":
                    self.say(f"{head}{event.text}")
            case Started() | Asked() | Finished() | Failed():
                self.say(f"{head}{words(event)}")

    def _show_curve(self, event: Progress) -> None:
        from server import PromptServer

        self._curve.append((event.step, event.values["loss"]))
        now = time.monotonic()
        if now - self._curve_sent >= CURVE_SECONDS:
            self._curve_sent = now
            shown = {"node": self._unique_id, **curve(self._curve, figures(event))}
            PromptServer.instance.send_sync(CURVE_EVENT, shown, self._client)

    def close(self, artifact: Artifact, listed: str, files: list[Path]) -> None:
        """Show the final text below the node, the most important first, since only two lines may be visible."""
        self._listed = listed
        self.say("\n".join(self.lines(files)))
        for picture in pictures_of(artifact) if self._has_previews else []:
            self._preview(picture, None)  # else the last preview would stay

    def lines(self, files: list[Path]) -> list[str]:
        """Return the final text: the name in ComfyUI's list, what the stage told, its end, and its files."""
        return [each for each in (self._listed, *self.told, self._end, *map(str, files)) if each]

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


def pictures_of(artifact: Artifact) -> list[Path]:
    """Return the picture files of an artifact."""
    return [file for file in to_open(artifact) if file.suffix in PICTURES]


def shown_when_done(artifact: Artifact, display: NodeDisplay, files: list[Path]) -> dict[str, list[Any]]:
    """Return a finished node's output for the page: its pictures, its text, and the loss of a training."""
    shown: dict[str, list[Any]] = {
        "images": [_image(file) for file in pictures_of(artifact)],
        "text": display.lines(files),
    }
    points = losses(artifact)["average"] if isinstance(artifact, Weights) else []
    return {**shown, "lorapipe_curve": [curve(points, f"loss {number(points[-1][1])}")]} if points else shown


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
