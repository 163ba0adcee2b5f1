"""The only file that knows ComfyUI: descriptions → nodes of its API, events → what its page shows.

Of ComfyUI it uses `comfy_api.latest` (io, ComfyExtension), `folder_paths`, `comfy.model_management`, `comfy.utils` and
`server.PromptServer`, each where it is needed, so that this can be imported without them. A stage runs in lorapipe's own
worker processes; here a coroutine passes on what they tell, ten times a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from lorapipe.atomic import replacing
from lorapipe.errors import InputError
from lorapipe.pipeline.artifacts import Artifact, File, to_open
from lorapipe.pipeline.delivery_log import Delivered
from lorapipe.pipeline.events import Event, Failed, Finished, Log, Planned, Preview, Progress, Reused, Started
from lorapipe.pipeline.ledger import Ledger
from lorapipe.spec import canonical
from lorapipe.terminal import duration, figures

from . import describe, links
from .describe import LORA_NAME, RUNNING, Input, Node
from .graph_runner import GraphRun, Workers, read_pipeline, read_running
from .paths import EXAMPLES, GraphPaths
from .paths import PICTURES as SHELF
from .validation import Made, check, fingerprint, more_follows, readable, with_old_names
from .yaml_writer import yaml_text

POLL_SECONDS = 0.1
AS_TEXT = str.maketrans("<>&", "‹›＆")
"""Letters that look alike and mean nothing: some releases of the page would show the escaped ones as they are written."""
PREVIEW_SIZE = 512
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
CHECKPOINTS = "checkpoints"
PICTURE_FOLDERS, PROJECT_FOLDER = "lorapipe_pictures", "lorapipe_project"
"""What a user may name in ComfyUI's extra_model_paths.yaml: more folders to read, and the project's own."""


def extension() -> Any:
    """The pack, as ComfyUI asks for it."""
    from comfy_api.latest import ComfyExtension

    workers, made = Workers(), Made()
    classes = [_node_class(node, workers, made) for node in describe.nodes().values()]

    class Lorapipe(ComfyExtension):
        async def get_node_list(self) -> list[Any]:
            return classes

    return Lorapipe()


def _node_class(node: Node, workers: Workers, made: Made) -> Any:
    """A class of ComfyUI's API for a description."""
    from comfy_api.latest import io

    def define_schema(cls: Any) -> Any:
        return schema(node, comfy_paths())

    async def execute(cls: Any, **given: Any) -> Any:
        given = with_old_names(node, given, cls.hidden.prompt, cls.hidden.unique_id)
        with readable():
            if node.role == "stage":
                return await _run_stage(node, given, cls.hidden.unique_id, cls.hidden.prompt or {}, workers, made)
            if node.role == "pipeline":
                return _write_pipeline(given)
            return io.NodeOutput(*_in_order(node, links.link_values(node, given, "", comfy_paths().found)))

    def validate_inputs(cls: Any, **given: Any) -> bool:
        try:
            with readable():
                check(node, given, comfy_paths())
        except InputError as error:
            if cls.hidden is not None:  # the page marks the node red, but says why only if nothing else could run
                say(str(error), cls.hidden.unique_id)
            raise
        return True

    def fingerprint_inputs(cls: Any, **given: Any) -> Any:
        return fingerprint(node, given, comfy_paths(), made)

    methods = {"define_schema": define_schema, "execute": execute, "validate_inputs": validate_inputs}
    if node.role == "stage" or any(each.path == "read" for each in node.inputs):
        methods["fingerprint_inputs"] = fingerprint_inputs
    return type(node.id, (io.ComfyNode,), {name: classmethod(method) for name, method in methods.items()})


# --------------------------------------------------------------------------------------------------------------- schema


def schema(node: Node, where: GraphPaths) -> Any:
    """The node in ComfyUI's terms. Every knob with a default is optional, so that graphs of older releases still run."""
    from comfy_api.latest import io

    def kind(socket: str) -> Any:
        stock = {"COMBO": io.AnyType, "*": io.AnyType, "STRING": io.String}  # a COMBO would fit its own choices alone
        return stock.get(socket) or io.Custom(socket)

    return io.Schema(
        node_id=node.id,
        display_name=node.title,
        category=node.category,
        description=node.help,
        inputs=[made for each in node.inputs for made in _inputs(each, kind(each.socket), where)],
        outputs=[
            kind(each.socket).Output(f"out_{each.name}", display_name=each.name, tooltip=each.help)
            for each in node.outputs
        ],
        hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        is_output_node=node.role in ("stage", "pipeline"),
        is_deprecated=node.deprecated,
    )


def _inputs(each: Input, kind: Any, where: GraphPaths) -> Iterator[Any]:
    from comfy_api.latest import io

    common: dict[str, Any] = {"tooltip": each.help, "optional": not each.required or bool(each.aliases)}
    widget = each.widget
    if widget is None:
        yield kind.Input(each.name, **common)
        for alias in each.aliases:  # a link of an older graph still finds its end
            yield kind.Input(alias, tooltip=f"The old name of {each.name}.", optional=True)
        return
    common["default"] = widget.default
    match widget.coding:
        case "switch":
            yield _named(io.Boolean.Input(each.name, **common), each)
        case "whole":
            low, high = int(widget.low), int(widget.high)
            yield _named(io.Int.Input(each.name, **common, min=low, max=high, control_after_generate=False), each)
        case "number":
            limits = {"min": widget.low, "max": widget.high}
            yield _named(io.Float.Input(each.name, **common, **limits, step=widget.step, round=1e-6), each)
        case "choice" | "shelf":
            options = list(dict.fromkeys([*widget.words, *(where.options(widget.shelf) if widget.shelf else [])]))
            if each.required:
                common["default"] = EXAMPLES[0] if widget.shelf == SHELF else options[0]
            yield _named(io.Combo.Input(each.name, options=options, **common), each)
        case _:
            text = io.String.Input(each.name, **common, multiline=widget.multiline, dynamic_prompts=False)
            yield _named(text, each)


def _named(made: Any, each: Input) -> Any:
    """An input that tells the page its old names, under which a saved graph may have its value."""
    if each.aliases:
        made.extra_dict = {"lorapipe_aliases": list(each.aliases)}
    return made


def comfy_paths() -> GraphPaths:
    """ComfyUI's folders, and those that its user has named for lorapipe."""
    import folder_paths

    named = folder_paths.folder_names_and_paths
    own = [Path(path) for path in named.get(PICTURE_FOLDERS, ((), ()))[0]]
    output, given = Path(folder_paths.get_output_directory()), Path(folder_paths.get_input_directory())
    project = Path(next(iter(named.get(PROJECT_FOLDER, ((), ()))[0]), output / "lorapipe"))
    kinds = [kind for kind in named if kind not in ("custom_nodes", "configs", PICTURE_FOLDERS, PROJECT_FOLDER)]
    models = [Path(path) for kind in kinds for path in named[kind][0]]
    return GraphPaths(
        project=project,
        input=given,
        pictures=tuple(own),
        readable=(given, output, project, *own, *models),
        writable=(project, output, *map(Path, named["loras"][0])),
        models={kind: partial(_models, kind) for kind in kinds},
        model=_model,
    )


def _models(kind: str) -> list[str]:
    """ComfyUI's models of a kind; of checkpoints, those in diffusers folders too."""
    import folder_paths

    files = list(folder_paths.get_filename_list(kind))
    return [*files, *_diffusers()] if kind == CHECKPOINTS else files


def _model(kind: str, name: str) -> str | None:
    """Where a model of that list lies."""
    import folder_paths

    found = folder_paths.get_full_path(kind, name)
    return str(found) if found else _diffusers().get(name) if kind == CHECKPOINTS else None


def _diffusers() -> dict[str, str]:
    """Folders of the diffusers library below ComfyUI's folder for them, by their names."""
    import folder_paths

    roots = folder_paths.folder_names_and_paths.get("diffusers", ((), ()))[0]
    walks = ((root, folder, below) for root in roots for folder, below, _ in os.walk(root, followlinks=True))
    return {Path(folder).relative_to(root).as_posix(): folder for root, folder, below in walks if "unet" in below}


# ------------------------------------------------------------------------------------------------------------- running it


async def _run_stage(
    node: Node, given: Mapping[str, Any], unique_id: str, prompt: Mapping[str, Any], workers: Workers, made: Made
) -> Any:
    """Make what a stage's node stands for, with all that it needs; what has a result is reused."""
    from comfy_api.latest import io

    where, name = comfy_paths(), links.stage_name(node, given, unique_id)
    values_out = links.link_values(node, given, name, where.found)
    stages = values_out[node.outputs[0].name]["stages"]
    if any((where.project / example).as_posix() in canonical(stages).decode() for example in EXAMPLES):
        await asyncio.to_thread(where.draw_examples)
    where.project.mkdir(parents=True, exist_ok=True)
    pipeline = read_pipeline(stages, where.project)
    running = read_running(given[RUNNING]["value"] if given.get(RUNNING) else {})
    display = NodeDisplay(unique_id, name)
    make_room = _unload if running.unload_models else lambda: None
    run = GraphRun(pipeline, running, workers, keep=more_follows(prompt, unique_id), make_room=make_room)
    artifacts = await _with_display(run, display)
    artifact = artifacts[name]
    files: list[Path] = to_open(artifact)
    values: dict[str, Any] = dict(values_out)
    if isinstance(artifact, File):
        values[LORA_NAME], lora = publish(artifact.path)
        files.append(lora)
    made.note(node, given, files)
    display.close(artifact, values.get(LORA_NAME), files)
    return io.NodeOutput(*_in_order(node, values), ui=_shown(artifact, display, files))


async def _with_display(run: GraphRun, display: NodeDisplay) -> dict[str, Artifact]:
    """Pass on what the run tells until it is over. Cancelling lets the stage save its work; a second time ends it."""
    from comfy.model_management import InterruptProcessingException, throw_exception_if_processing_interrupted

    cancelled: BaseException | None = None
    while not run.is_over or not run.events.empty():
        try:
            if run.events.empty():
                await asyncio.sleep(POLL_SECONDS)
            else:
                display.show(run.events.get())
            throw_exception_if_processing_interrupted()
        except (InterruptProcessingException, asyncio.CancelledError) as error:
            cancelled = cancelled or error
            run.stop()
            with suppress(Exception):
                display.say("stopping as soon as the stage has saved its work; cancel again to stop at once")
        except Exception:  # what cannot be shown is no reason to lose a training
            logging.getLogger(__name__).exception("lorapipe: an event could not be shown")
    if cancelled is not None:
        raise cancelled
    return run.artifacts()


def _unload() -> None:
    from comfy import model_management

    model_management.unload_all_models()
    model_management.soft_empty_cache()


def publish(file: Path) -> tuple[str, Path]:
    """Put a LoRA file among ComfyUI's, at once and whole; its name in their list.

    The name has a digest of the file: loaders keep what they have read under a name, so none is used twice.
    """
    import folder_paths

    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    name = os.path.join("lorapipe", f"{file.stem}-{digest}{file.suffix or '.safetensors'}")  # noqa: PTH118 (spelled as in ComfyUI's list)
    target = Path(folder_paths.get_folder_paths("loras")[0]) / name
    if not target.exists():
        with replacing(target) as part:
            shutil.copyfile(file, part)
    return name, target


def _write_pipeline(given: Mapping[str, Any]) -> Any:
    from comfy_api.latest import io

    where = comfy_paths()
    ends = [value for name, value in given.items() if name != "file" and value is not None]
    if not all(map(links.is_link_value, ends)):
        raise InputError("last: link it to what a stage of lorapipe makes.")
    stages = links.merged(ends)
    read_pipeline(stages, where.project)
    text = yaml_text(stages)
    path = Path(where.found(describe.PIPELINE.input("file"), str(given.get("file") or "") or "pipeline.yaml"))
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"file: {path.name} does not end in .yaml.", cure="Name a pipeline file, such as cat.yaml.")
    Delivered(Ledger(where.project)).put_text(text, path, "a graph")
    return io.NodeOutput(text, ui={"text": [text, f"written to {path}"]})


def _in_order(node: Node, values: Mapping[str, Any]) -> list[Any]:
    return [values[each.name] for each in node.outputs]


# ------------------------------------------------------------------------------------------------------------- the page


def say(text: str, unique_id: str) -> None:
    """Show a text below a node. The page takes it for HTML and for links of its own: names and captions must be neither."""
    from server import PromptServer

    PromptServer.instance.send_progress_text(text.translate(AS_TEXT).replace("[[", "[ ["), unique_id)


class NodeDisplay:
    """What a node shows while it is executed: a bar, a line of text, preview pictures."""

    def __init__(self, unique_id: str, stage: str) -> None:
        from comfy.utils import ProgressBar

        self.stage = stage
        self.told: list[str] = []
        self._end = ""
        self._has_previews = False
        self._unique_id = unique_id
        self._bar = ProgressBar(100, node_id=unique_id)

    def say(self, text: str) -> None:
        """A line below the node."""
        say(text, self._unique_id)

    def show(self, event: Event) -> None:
        """Show one event; those of other stages with their name before them."""
        head = "" if event.stage in (self.stage, "") else f"{event.stage}: "
        match event:
            case Planned(action="run"):
                self.say(f"{head}{event.reason}")
            case Started():
                self.say(f"{head}started")
            case Progress():
                self._bar.update_absolute(event.step, event.total)
                self.say(f"{head}{event.step}/{event.total} {event.unit}  {figures(event)}")
            case Preview():
                self._preview(Path(event.path), PREVIEW_SIZE)
            case Log():
                self.told += [f"{head}{event.text}"] if event.stage else []
                if event.level == "warning":
                    self.say(f"{head}{event.text}")
            case Reused():
                self._end = "reused: nothing has changed"
            case Finished():
                self._end = f"done in {duration(event.seconds)}"
                self.say(f"{head}{self._end}")
            case Failed():
                self.say(f"{head}{event.message} {event.hint}".strip())

    def close(self, artifact: Artifact, lora: str | None, files: list[Path]) -> None:
        """What stays below the node, the most telling first: two lines of it are in sight."""
        self.say("\n".join([*filter(None, [lora]), *self.told, self._end, *map(str, files)]))
        for picture in _pictures(artifact) if self._has_previews else []:
            self._preview(picture, None)  # or the last preview would hide it

    def _preview(self, file: Path, size: int | None) -> None:
        from PIL import Image

        with suppress(OSError), Image.open(file) as picture:
            bar, self._has_previews = self._bar, True
            bar.update_absolute(bar.current, bar.total, ("JPEG", picture.convert("RGB"), size))


def _pictures(artifact: Artifact) -> list[Path]:
    return [file for file in to_open(artifact) if file.suffix in PICTURES]


def _shown(artifact: Artifact, display: NodeDisplay, files: list[Path]) -> dict[str, list[Any]]:
    """What a node shows when it is done: the pictures that it made, what it told, and the files to open."""
    return {"images": [_image(file) for file in _pictures(artifact)], "text": [*display.told, *map(str, files)]}


def _image(file: Path) -> dict[str, str]:
    """A picture as the page asks for it: where it lies if that is below the output folder, else a copy."""
    import folder_paths

    output, temp = Path(folder_paths.get_output_directory()), Path(folder_paths.get_temp_directory())
    if file.is_relative_to(output):
        return {"filename": file.name, "subfolder": file.parent.relative_to(output).as_posix(), "type": "output"}
    name = f"lorapipe-{hashlib.sha256(str(file).encode()).hexdigest()[:12]}{file.suffix}"
    temp.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, temp / name)
    return {"filename": name, "subfolder": "", "type": "temp"}
