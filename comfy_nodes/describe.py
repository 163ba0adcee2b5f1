"""Specs → nodes, as plain data: the inputs, widgets and outputs of each node.

    stage            a node for each: artifact fields are sockets, knobs widgets; outputs: its artifact, and parts of it
    union            a small node for each adapter, optimizer, family …, whose output fits the fields of that type
    group            a small node for each group of settings (noise, captions)
    list             a node that collects several links to a list, for fields that take a list
    graph            nodes that join lorapipe to the rest of a graph, one file each in `graph_nodes`

No node is listed here: all are found by walking the knobs of the stages, and the files of `graph_nodes`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Literal

from lorapipe.pipeline.artifacts import Artifact, Base, File, class_of, field_kind, fields_of_kind
from lorapipe.pipeline.contracts import contracts
from lorapipe.spec import Knob, Shape, Source, Spec, knobs, knobs_by_use, registry_of, shape_of
from lorapipe.spec.value_words import value_words
from lorapipe.stages import Stage

from . import graph_nodes, results
from .link_values import RUNNING, STAGE_NAME, WAIT_FOR
from .node import PICTURES, Input, Node, Output
from .run_options import Running
from .widgets import Widget, widget

LORA_NAME, CHECKPOINT_NAME = "lora_name", "ckpt_name"
NAMES = (LORA_NAME, CHECKPOINT_NAME)
"""Outputs that are a file's name in a list of ComfyUI's, as the inputs of its loaders are called."""
LIST_INPUTS = 4
DEEPEST_PART = 3


def nodes() -> dict[str, Node]:
    """Return all nodes by id, in the order of a menu: stages, small nodes, lists, nodes for the rest of a graph."""
    found: dict[str, Node] = {}
    for node in (*_of_contracts(), *_of_groups(), *_of_lists(), *graph_nodes.descriptions(), PIPELINE):
        assert node.id not in found, f"two nodes are called {node.id}"
        found[node.id] = node
    return found


def _of_contracts() -> Iterator[Node]:
    for kind, contract in contracts().items():
        registry = registry_of(contract)
        names = {name: name for name in registry.names()} | registry.renamed
        for name, current in names.items():
            cls = registry.get(current)
            if not getattr(cls, "in_this_process", False):  # a training would block ComfyUI's process
                yield _of_spec(kind, name, cls, renamed_to="" if name == current else current)


def _of_spec(kind: str, name: str, cls: type[Spec], renamed_to: str) -> Node:
    is_stage = issubclass(cls, Stage)
    words = name.replace("_", " ")
    help = inspect.getdoc(cls) or ""
    return Node(
        id=f"Lorapipe{_camel(kind)}{_camel(name)}",
        title=f"{cls.menu_title or words.capitalize()} (lorapipe)"
        if issubclass(cls, Stage)
        else f"{kind.capitalize()}: {words}",
        category="lorapipe" if is_stage else f"lorapipe/{kind}",
        help=f"Now called {renamed_to}. {help}" if renamed_to else help,
        role="stage" if is_stage else "union",
        inputs=_inputs(cls, _of_stage(cls) if is_stage else ()),
        outputs=_outputs(cls.makes) if issubclass(cls, Stage) else (Output(kind, f"LORAPIPE_{kind.upper()}"),),
        spec_name=_spec_name(cls),
        name=renamed_to or name,
        deprecated=bool(renamed_to),
        search_words=cls.search_words,
    )


def _of_groups() -> Iterator[Node]:
    used: dict[type[Spec], str] = {}
    for _, knob in _knobs_everywhere():
        group = _spec_in(knob)
        if group is not None and group.registry is None:
            used.setdefault(group, knob.name)
    for group, name in {**used, Running: RUNNING}.items():
        yield Node(
            id=f"LorapipeSettings{group.stored_name}",
            title=f"Settings: {name.replace('_', ' ')}",
            category="lorapipe/settings",
            help=inspect.getdoc(group) or "",
            role="group",
            inputs=_inputs(group),
            outputs=(Output(name, _socket_of(shape_of(group))),),
            spec_name=_spec_name(group),
        )


def _of_lists() -> Iterator[Node]:
    lists = [knob.shape.item for _, knob in _knobs_everywhere() if socket_of(knob).endswith("_LIST")]
    for socket, item_shape in {_socket_of(item): item for item in lists}.items():
        name = list_name(item_shape)
        inputs = [Input(f"item_{place}", "An item.", place == 1, socket) for place in range(1, LIST_INPUTS + 1)]
        yield Node(
            id=f"LorapipeList{name}",
            title=f"List of {name.lower()}s",
            category="lorapipe/settings",
            help=f"Collects several links of the kind {name} for an input that takes a list. Chain lists for more.",
            role="list",
            inputs=(*inputs, Input("more", "A list to append to these items.", False, f"{socket}_LIST")),
            outputs=(Output("list", f"{socket}_LIST"),),
        )


def list_name(item: Shape) -> str:
    """Return the name of the list node for these items, after `LorapipeList`."""
    return _artifact_in(item).stored_name if item.kind == "reference" else item.spec.stored_name


def _knobs_everywhere() -> Iterator[tuple[type[Spec], Knob]]:
    """Yield every knob that a graph may set, with its spec, including those of groups."""
    waiting = [
        registry_of(contract).get(name) for contract in contracts().values() for name in registry_of(contract).names()
    ]
    seen: set[type[Spec]] = set()
    for cls in waiting:
        if cls in seen:
            continue
        seen.add(cls)
        for knob in knobs(cls):
            yield cls, knob
            group = _spec_in(knob)
            if group is not None and group.registry is None:
                waiting.append(group)


# --------------------------------------------------------------------------------------------------- inputs and outputs


def _inputs(cls: type[Spec], others: tuple[Input, ...] = ()) -> tuple[Input, ...]:
    """Return the knobs as inputs: required ones first, as ComfyUI wants it; sockets before widgets; rare ones last."""
    made = (*map(_input, knobs_by_use(cls)), *_results(cls), *others)
    return tuple(sorted(made, key=lambda each: (not each.required, not each.socket, each.rare)))


def _input(knob: Knob) -> Input:
    socket, declared = socket_of(knob), knob.param
    if socket:
        return Input(knob.name, declared.told, knob.required, socket, aliases=declared.aliases)
    shown = widget(knob)
    path: Literal["", "read", "write"] = "write" if shown.coding == "path" else ""
    return Input(
        knob.name,
        declared.told,
        knob.required,
        widget=shown,
        aliases=declared.aliases,
        path="read" if knob.shape.kind == "source" else path,
        values=value_words(knob) if _is_number(knob.shape) else "",
        syntax=shown.syntax.strip(),
        rare=declared.rare,
    )


def _is_number(shape: Shape) -> bool:
    """Whether a type is a number or a list of numbers."""
    return (shape.item if shape.kind == "list" else shape).kind in ("integer", "number")


def _results(cls: type[Spec]) -> Iterator[Input]:
    """Yield a socket for each knob that takes a file or a stage's result."""
    for knob in knobs(cls):
        kind = knob.shape.value
        if knob.shape.kind == "source" and issubclass(kind, Source) and (artifact := kind.artifact):
            help = f"A stage's result as {knob.name}, in place of a file: {artifact}."
            kinds = [kind for kind in class_of(artifact).__mro__ if issubclass(kind, Artifact) and kind is not Artifact]
            socket = ",".join(_socket_of(shape_of(kind)) for kind in kinds)  # an exported checkpoint is a File there
            name = f"{knob.name}_stage" if knob.name.endswith("_from") else f"{knob.name}_from"
            yield Input(name, help, socket=socket, knob=knob.name)


def socket_of(knob: Knob) -> str:
    """Return the type of a knob's socket; empty if it is a widget."""
    if knob.shape.kind == "list":
        inner = _socket_of(knob.shape.item)
        return f"{inner}_LIST" if inner else ""
    return _socket_of(knob.shape)


def _socket_of(shape: Shape) -> str:
    match shape.kind:
        case "contract":
            return f"LORAPIPE_{registry_of(shape.spec).kind.upper()}"
        case "spec":
            return f"LORAPIPE_{shape.spec.stored_name.upper()}"
        case "reference":
            return f"LORAPIPE_{_artifact_in(shape).stored_name.upper()}"
    return ""


def _artifact_in(shape: Shape) -> type[Artifact]:
    assert issubclass(shape.value, Artifact), "only artifacts are referred to"
    return shape.value


def _spec_in(knob: Knob) -> type[Spec] | None:
    """Return the spec class of a knob, or of the items of its list."""
    return (knob.shape.item if knob.shape.kind == "list" else knob.shape).spec


def _outputs(makes: type[Artifact]) -> tuple[Output, ...]:
    """Return the outputs of a stage: its artifact, the artifacts in it, so that `$grid.best` is an output, its results."""
    whole = Output(makes.stored_name.lower(), _socket_of(shape_of(makes)), f"The stage's result: {makes.__name__}.")
    return (whole, *_parts(makes, ()), *_names(makes), *results.outputs(makes))


def _names(makes: type[Artifact]) -> Iterator[Output]:
    """Yield the output that is the name of a finished file, for ComfyUI's loaders."""
    if issubclass(makes, Base):
        help = "Its name in ComfyUI's list of checkpoints: link it to a checkpoint loader. Empty where it is a folder."
        yield Output(CHECKPOINT_NAME, "COMBO", help)
    elif issubclass(makes, File):
        yield Output(LORA_NAME, "COMBO", "Its name in ComfyUI's list of LoRAs: link it to a LoRA loader.")


def _parts(kind: type[Artifact], fields: tuple[str, ...]) -> Iterator[Output]:
    for name in fields_of_kind(kind, Artifact) if len(fields) < DEEPEST_PART else ():
        inner = field_kind(kind, name)
        path = (*fields, name)
        if inner is not None:
            yield Output(".".join(path), _socket_of(shape_of(inner)), f"A part of the result: {inner.__name__}.", path)
            yield from _parts(inner, path)


def _of_stage(cls: type[Spec]) -> tuple[Input, ...]:
    """Return the inputs of a stage's node besides its knobs."""
    reads_pictures = any(knob.required and knob.param.shelf == PICTURES for knob in knobs(cls))
    return (*_OF_STAGES, *((_AFTER_SAVING,) if reads_pictures else ()))


_AFTER_SAVING = Input(
    WAIT_FOR,
    "Pictures that other nodes of the graph save into the folder: this node waits until they are saved.",
    socket="*",
)
_OF_STAGES = (
    Input(
        RUNNING, "Where and how the stage runs; without a link, on this machine.", False, _socket_of(shape_of(Running))
    ),
    Input(
        STAGE_NAME,
        "The stage's name in the pipeline, in outputs/ and in the history. Empty: its kind and the node's number.",
        widget=Widget("text", ""),
    ),
)
PIPELINE = Node(
    id="LorapipePipelineYaml",
    title="Pipeline as YAML (lorapipe)",
    category="lorapipe",
    help="Write the graph before this link as a pipeline file for `lorapipe run`: the same settings, the same results.",
    role="pipeline",
    inputs=(
        Input("last", "the end of the graph: the output of any stage", True, "*"),
        *(Input(f"also_{place}", "another end", False, "*") for place in (2, 3)),
        Input(
            "file",
            "Path of the file, in the project's folder.",
            widget=Widget("path", "pipeline.yaml"),
            path="write",
        ),
    ),
    outputs=(Output("yaml", "STRING", "The text of the file."),),
)


def _spec_name(cls: type[Spec]) -> str:
    """Return where a spec is; in this package relative to it, since ComfyUI imports the package by another name."""
    return f"{cls.__module__.removeprefix(__package__)}:{cls.__qualname__}"


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in re.split(r"[_\W]+", name))
