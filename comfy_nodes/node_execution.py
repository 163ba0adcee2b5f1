"""Executes nodes: a stage and what it needs, the small nodes, and those that join lorapipe to the rest of a graph.

It uses `comfy_api.latest` and `comfy.model_management` of ComfyUI, imported inside functions; `comfy_folders` and
`node_display` use the rest. A stage runs in lorapipe's own worker processes; a coroutine here shows their events ten times a
second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lorapipe.errors import InputError
from lorapipe.pipeline.artifacts import Artifact, Base, File, to_open
from lorapipe.pipeline.delivery_log import DeliveryLog
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.tune_options import TuneOptions
from lorapipe.spec import canonical

from . import describe, graph_nodes, links
from .comfy_folders import CHECKPOINTS, LORAS, comfy_paths, publish, tidy
from .describe import NAMES
from .graph_call import GraphCall, Stages, TunedStages
from .graph_runner import GraphRun, Workers, read_pipeline, read_running
from .image_tensors import image_tensor
from .link_values import RUNNING, WAIT_FOR, is_link_value, merged, value_of
from .node import Node, Prompt
from .node_display import NodeDisplay, blocked
from .node_outputs import PAGES, ShownNode, running_prompts
from .paths import EXAMPLES
from .result_pages import page_links
from .results import linked_like, linked_results
from .run_options import Running
from .saving_nodes import wait_until_saved
from .validation import Made, check, leads_to, more_follows, named_files, readable, with_old_names
from .validation import fingerprint as of_files
from .yaml_writer import yaml_text

POLL_SECONDS = 0.1
QUEUE = "LorapipeQueue"
"""The node before which stages do not run: their pipeline goes to the queue."""
WORKERS, MADE = Workers(), Made()
"""The worker processes of this ComfyUI, and the files that its nodes have made."""


async def execute(node: Node, given: Mapping[str, object], unique_id: str, prompt: Prompt) -> Any:
    """Execute a node, and return ComfyUI's output of it."""
    from comfy_api.latest import io

    given = with_old_names(node, given, prompt, unique_id)
    with readable():
        check(node, given, comfy_paths())  # now with the values of links to its widgets
        if node.role == "stage":
            return await _run_stage(node, given, unique_id, prompt)
        if node.role == "pipeline":
            return _write_pipeline(given, ShownNode.running(unique_id))
        if node.role == "graph":
            return await _run_graph_node(node, given, unique_id, prompt)
        return io.NodeOutput(*_in_order(node, links.link_values(node, given, "", comfy_paths().found)))


def fingerprint(node: Node, given: Mapping[str, object]) -> Any:
    """Return a value that changes when a node must run again: because of files, or of what is linked to it."""
    linked = [name for prompt in running_prompts() for name in linked_like(node, given, prompt)]
    queued = any(each.get("class_type") == QUEUE for prompt in running_prompts() for each in prompt.values())
    return [*of_files(node, given, comfy_paths(), MADE), linked, queued]


async def _run_stage(node: Node, given: Mapping[str, object], unique_id: str, prompt: Prompt) -> Any:
    """Run a node's stage and the stages that it needs; existing results are reused."""
    from comfy_api.latest import io

    where, name = comfy_paths(), links.stage_name(node, given, unique_id)
    values_out = links.link_values(node, given, name, where.found)
    if leads_to(prompt, unique_id, QUEUE):
        ShownNode.running(unique_id).say("its pipeline goes to lorapipe's queue")
        return io.NodeOutput(*(values_out.get(each.name, blocked()) for each in node.outputs))
    if given.get(WAIT_FOR) is not None:
        await wait_until_saved(prompt, unique_id)
    stages = values_out[node.outputs[0].name]["stages"]
    running = read_running(value_of(given[RUNNING]) if given.get(RUNNING) else {})
    display = NodeDisplay(unique_id, name)
    artifacts = await _made(stages, running, display, keep=more_follows(prompt, unique_id))
    artifact = artifacts[name]
    values: dict[str, Any] = dict(values_out)
    listed, published = "", list[Path]()
    if isinstance(artifact, File) and artifact.path.is_file():
        listed, copy = publish(artifact.path, CHECKPOINTS if isinstance(artifact, Base) else LORAS)
        published.append(copy)
        for old in tidy(copy, running.keep_versions, named_files(prompt)):
            display.told.append(f"removed the older {old.name} (keep_versions)")
    values |= dict.fromkeys(NAMES, listed) | _tensors(node, linked_results(node, unique_id, prompt, artifact))
    files = [*to_open(artifact), *published]
    MADE.note(node, given, files)
    ui = display.close(artifact, listed, published, page_links(files, where.project))
    return io.NodeOutput(*_in_order(node, values), ui=ui)


def _tensors(node: Node, results: Mapping[str, object]) -> dict[str, object]:
    """Return results for ComfyUI: pictures as tensors."""
    found = dict(results)
    for each in node.outputs:
        value = results.get(each.name)
        if each.socket == "IMAGE" and value is not None:
            found[each.name] = [*map(image_tensor, value)] if isinstance(value, list) else image_tensor(value)
        elif each.is_list and value is None and each.name in results:
            found[each.name] = []
    return found


async def _made(stages: Mapping[str, Any], running: Running, display: NodeDisplay, keep: bool) -> dict[str, Artifact]:
    """Run stages, with what they need; existing results are reused. Return the artifacts by stage name."""
    where = comfy_paths()
    if any((where.project / example).as_posix() in canonical(stages).decode() for example in EXAMPLES):
        await asyncio.to_thread(where.draw_examples)
    where.project.mkdir(parents=True, exist_ok=True)
    make_room = _unload_models() if running.unload_models else lambda: None
    run = GraphRun(read_pipeline(stages, where.project), running, WORKERS, keep=keep, make_room=make_room)
    return await _with_display(run, display)


async def _tuned(stages: Stages, options: TuneOptions, display: NodeDisplay) -> TunedStages:
    """Run stages in rounds, as their verdict says."""
    from lorapipe.tuning.rounds import begun

    where = comfy_paths()
    pipeline = replace(read_pipeline(stages, where.project), tune=options)
    pipeline = replace(pipeline, name=begun(pipeline).of.stage)
    run = GraphRun(pipeline, Running(), WORKERS, keep=False, make_room=_unload_models())
    artifacts = await _with_display(run, display)
    display.say("\n".join(display.told[-2:]))
    return TunedStages(run.tuned_stages, artifacts, run.tuned_files, display.told)


async def _run_graph_node(node: Node, given: Mapping[str, object], unique_id: str, prompt: Prompt) -> Any:
    """Run a node that joins lorapipe to the rest of the graph; `make` gives it the artifacts of stages."""
    from comfy_api.latest import io

    async def make(stages: Mapping[str, Any], stage: str) -> Mapping[str, Artifact]:
        display = NodeDisplay(unique_id, stage)
        return await _made(stages, Running(), display, keep=more_follows(prompt, unique_id))

    async def tune(stages: Stages, options: TuneOptions) -> TunedStages:
        return await _tuned(stages, options, NodeDisplay(unique_id, ""))

    on_page = ShownNode.running(unique_id)
    call = GraphCall(given, unique_id, prompt, comfy_paths(), make, tune, on_page.say)
    shown = await graph_nodes.execute(node, call)
    ui: dict[str, list[Any]] = {**shown.ui, PAGES: list(page_links(shown.files, comfy_paths().project))}
    on_page.show(ui, is_last=True)
    return io.NodeOutput(*_in_order(node, shown.values), ui=ui)


async def _with_display(run: GraphRun, display: NodeDisplay) -> dict[str, Artifact]:
    """Show the run's events until it is over. The first cancel lets the stage save its state, the second kills it."""
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
        except Exception:  # a display error must not end a training
            logging.getLogger(__name__).exception("lorapipe: an event could not be shown")
    if cancelled is not None:
        display.stopped()
        raise cancelled
    return run.artifacts()


def _unload_models() -> Callable[[], None]:
    """Return what unloads ComfyUI's models, for a run's thread to call. It is done on the thread that executes the prompt,
    between its other nodes: one of them may be sampling, and ComfyUI's list of loaded models has no lock.
    """
    from comfy import model_management

    async def unload() -> None:
        model_management.unload_all_models()
        model_management.soft_empty_cache()

    loop = asyncio.get_running_loop()
    return lambda: asyncio.run_coroutine_threadsafe(unload(), loop).result()


def _write_pipeline(given: Mapping[str, object], on_page: ShownNode) -> Any:
    from comfy_api.latest import io

    where = comfy_paths()
    ends = [value for name, value in given.items() if name != "file" and value is not None]
    linked = [value for value in ends if is_link_value(value)]
    if len(linked) < len(ends):
        raise InputError("last: link it to the output of a lorapipe stage.")
    stages = merged(linked)
    read_pipeline(stages, where.project)
    text = yaml_text(stages)
    path = Path(where.found(describe.PIPELINE.input("file"), str(given.get("file") or "") or "pipeline.yaml"))
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"file: {path.name} does not end in .yaml.", cure="Name a pipeline file, such as cat.yaml.")
    DeliveryLog(Ledger(where.project)).put_text(text, path, "a graph")
    ui = {"text": [text, f"written to {path}"]}
    on_page.show(ui, is_last=True)
    return io.NodeOutput(text, ui=ui)


def _in_order(node: Node, values: Mapping[str, object]) -> list[Any]:
    return [values[each.name] for each in node.outputs]
