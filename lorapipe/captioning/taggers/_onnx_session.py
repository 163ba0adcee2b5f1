"""An ONNX model in memory, by onnxruntime, or by PyTorch for small ones where onnxruntime is not installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.captioning.taggers._onnx_file import FLOAT, HALF, OnnxGraph, read_onnx
from lorapipe.captioning.taggers._onnx_interpreter import OnnxInterpreter
from lorapipe.errors import InputError, LorapipeError, shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALL = 64_000_000
"""Largest model, in bytes, that is tried without onnxruntime."""
AGAIN = "Copy the tagger's files again."


@dataclass(frozen=True)
class OnnxSession:
    """A model with one input. `run` maps a batch to its first output.

    `shape` are the axes of the input, None where a length varies; `half` says that it is float16. `outputs` is the length
    of the output's last axis, None if it varies. `notes` are warnings for the user.
    """

    run: Callable[[NDArray[Any]], NDArray[Any]]
    shape: tuple[int | None, ...]
    half: bool
    outputs: int | None
    metadata: dict[str, str]
    notes: tuple[str, ...] = ()


def open_onnx(path: Path, device: str) -> OnnxSession:
    """Load a model on a torch device. `InputError` if it is damaged, `LorapipeError` if onnxruntime is missing."""
    try:
        import onnxruntime
    except ImportError:
        return _by_torch(path, device)
    return _by_onnxruntime(onnxruntime, path, device)


def _by_onnxruntime(onnxruntime: Any, path: Path, device: str) -> OnnxSession:
    notes: tuple[str, ...] = ()
    providers = list[Any](["CPUExecutionProvider"])
    if device.startswith("cuda"):
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            number = int(device.partition(":")[2] or 0)
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": number}))
        else:
            notes = ("the tagger runs on the CPU: this onnxruntime has no CUDA. Install onnxruntime-gpu in its place",)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its errors have no common class but this
        what = f"cannot be loaded: {shortened(str(error).strip().partition(chr(10))[0], 200)}."
        raise InputError(what, where=str(path), cure=AGAIN) from None
    taken, given = session.get_inputs(), session.get_outputs()
    if len(taken) != 1 or not given:
        raise InputError(f"has {len(taken)} inputs, not one.", where=str(path), cure="It is no WD14 tagger.")
    name, out = taken[0].name, given[0].name

    def run(pictures: NDArray[Any]) -> NDArray[Any]:
        try:
            found: NDArray[Any] = session.run([out], {name: pictures})[0]
        except Exception as error:
            what = f"failed on pictures of shape {pictures.shape}: {shortened(str(error), 200)}."
            raise InputError(what, where=str(path), cure="It is no WD14 tagger, or damaged.") from None
        return found

    shape = tuple(axis if isinstance(axis, int) and axis > 0 else None for axis in taken[0].shape)
    last = given[0].shape[-1] if given[0].shape else None
    half = _is_half(taken[0].type in ("tensor(float)", "tensor(float16)"), taken[0].type == "tensor(float16)", path)
    metadata = {**session.get_modelmeta().custom_metadata_map}
    return OnnxSession(run, shape, half, last if isinstance(last, int) else None, metadata, notes)


def _by_torch(path: Path, device: str) -> OnnxSession:
    missing = LorapipeError(
        "onnxruntime is not installed, which this tagger needs.",
        where=str(path),
        cure=f'Install it: "{sys.executable}" -m pip install onnxruntime (for NVIDIA cards onnxruntime-gpu).',
    )
    try:
        if path.stat().st_size > SMALL:
            raise missing
        graph: OnnxGraph = read_onnx(path)
        if len(graph.inputs) != 1 or not graph.outputs:
            raise InputError(f"has {len(graph.inputs)} inputs, not one.", where=str(path), cure="It is no WD14 tagger.")
        model = OnnxInterpreter(graph, device)
    except NotImplementedError:
        raise missing from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=str(path), cure=AGAIN) from None
    except ValueError as error:
        raise InputError(f"cannot be loaded: {error}.", where=str(path), cure=AGAIN) from None
    taken, last = graph.inputs[0], graph.outputs[0].shape[-1:]
    half = _is_half(taken.element in (FLOAT, HALF), taken.element == HALF, path)
    shape = tuple(axis if isinstance(axis, int) else None for axis in taken.shape)
    return OnnxSession(model, shape, half, last[0] if last and isinstance(last[0], int) else None, graph.metadata)


def _is_half(known: bool, half: bool, path: Path) -> bool:
    if not known:
        what = "takes no pictures of floating-point numbers."
        raise InputError(what, where=str(path), cure="It is quantised in a way that is not supported, or no tagger.")
    return half
