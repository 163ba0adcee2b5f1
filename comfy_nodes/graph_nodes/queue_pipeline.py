"""Send the graph's pipeline to lorapipe's queue, which runs it outside ComfyUI, and return at once."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from lorapipe.errors import InputError

from ..graph_call import GraphCall, Shown
from ..graph_runner import read_pipeline
from ..link_values import is_link_value, merged
from ..node import Input, Node, Output
from ..widgets import Widget
from ..yaml_writer import yaml_text

NODE = Node(
    id="LorapipeQueue",
    title="Queue (lorapipe)",
    category="lorapipe",
    help="Send the pipeline that leads to this node to lorapipe's queue, and return at once: its stages do not run in this "
    "graph. `lorapipe queue work`, or `lorapipe watch`, runs it; then the same graph without this node has the results.",
    role="graph",
    search_words=("background training", "job"),
    inputs=(
        Input("last", "the end of the pipeline: an output of any stage", True, "*"),
        *(Input(f"also_{place}", "another end", False, "*") for place in (2, 3)),
        Input(
            "file",
            "The pipeline's file, in the project's folder.",
            widget=Widget("path", "queued.yaml"),
            path="write",
        ),
        Input("device", "The device that it waits for: auto, cuda, cuda:1, cpu.", widget=Widget("text", "auto")),
    ),
    outputs=(Output("job", "STRING", "The job's number in `lorapipe queue`."),),
    is_end=True,
)


async def execute(call: GraphCall) -> Shown:
    """Write the pipeline's file, and add it to the queue."""
    from lorapipe.job_queue.queue import Queue
    from lorapipe.pipeline.delivery_log import DeliveryLog
    from lorapipe.pipeline.execution.devices import parse_devices
    from lorapipe.pipeline.ledger import Ledger

    stages = _linked(call)
    read_pipeline(stages, call.where.project)
    devices = parse_devices(call.text("device") or "auto")
    if len(devices) > 1:
        cure = "One training on both: cuda:0+cuda:1."
        raise InputError("names several devices; a job has one.", where="device", cure=cure)
    path = Path(call.where.found(NODE.input("file"), call.text("file") or "queued.yaml"))
    if path.suffix not in (".yaml", ".yml"):
        cure = "Name a pipeline file, such as cat.yaml."
        raise InputError(f"{path.name} does not end in .yaml.", where="file", cure=cure)
    with closing(Ledger(call.where.project)) as ledger:
        DeliveryLog(ledger).put_text(yaml_text(stages), path, "a graph")
    with closing(Queue()) as queue:
        waiting = [job for job in queue.jobs() if job.pipeline == str(path) and job.state == "waiting"]
        job = waiting[0] if waiting else queue.add(path, (), devices[0])
    text = f"job {job.number}: {path.name} {job.state}. `lorapipe queue work` runs it."
    call.say(text)
    return Shown({"job": str(job.number)}, {"text": [text]})


def _linked(call: GraphCall) -> dict[str, dict[str, object]]:
    """Return the stages before all links. `InputError` if a link is not lorapipe's."""
    links = [call.given.get(each.name) for each in NODE.inputs if each.socket == "*"]
    found = [value for value in links if is_link_value(value)]
    if len(found) < sum(value is not None for value in links):
        raise InputError("link it to the output of a lorapipe stage.", where="last")
    return merged(found)
