"""Forward and backward passes as CUDA graphs: captured once for each shape of a batch, then replayed.

A step launches 5,000 to 20,000 kernels, and a GPU that is fast waits for Python to launch them. A graph launches them all
with one call. It repeats the same kernels on the same addresses, so the inputs of a pass lie in static buffers, one set for
each signature (names, shapes and dtypes); gradients accumulate where they lay; and everything random is either drawn before
and copied in (noise, timesteps) or of the device's generator, whose seed and offset a replay reads anew (dropout). Results
therefore remain functions of (seed, step).

The first passes of a signature run without a graph and are watched (`Obstacles`); then it is captured if it will occur often
enough to pay. What cannot be captured goes on without, and is told in one line. Without CUDA the same code runs, on the same
buffers, and captures nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Protocol, TypeAlias

import torch
from torch import Tensor

from lorapipe.errors import InputError
from lorapipe.library_imports import uncollected
from lorapipe.models import Model
from lorapipe.pipeline.events import Event, Log
from lorapipe.training.adapters import Attached
from lorapipe.training.graph_obstacles import DROPPED, Obstacles, Places
from lorapipe.training.loop import Inputs, Pass, Passes, PlainPasses, placed

if TYPE_CHECKING:
    from lorapipe.training.options import Graphs

Signature: TypeAlias = tuple[tuple[str, torch.Size, torch.dtype], ...]
Work: TypeAlias = Callable[[], object]

WARM_UP = 3
"""Passes of a signature before it is captured: libraries load kernels and choose algorithms in the first."""
WORTH = 20
"""Expected further passes that pay for a capture, which takes 1 to 6 s (5 to 15 steps without a graph)."""
MOST = 24
"""Graphs at a time; each keeps some memory for its kernels."""
MOVED = "gradients or weights have another address after each step"
IN_PLACE = "the gradients of a fine-tune are moved in Python"
FREED = "gradients are moved or freed in the backward pass"


class Recorder(Protocol):
    """Records what work does to tensors, to repeat it without Python."""

    def beside(self) -> AbstractContextManager[None]:
        """Prepare the device for recording inside the context: work that runs there runs as if it were recorded."""

    def record(self, work: Work) -> Work:
        """Return what repeats the work, which is not done now. `RuntimeError` where it cannot be recorded."""


class CudaRecorder:
    """Records CUDA graphs. All share a pool of memory, since nothing that lies in it outlives a replay."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Run on the stream on which graphs are captured, after what was launched before, and before what comes after."""
        outside = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            outside.wait_stream(self._stream)

    def record(self, work: Work) -> Work:
        graph, outside = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        # other threads read files meanwhile, and may ask the device
        capture = torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local")
        gc.collect()  # now, and not inside: what is freed then could end a capture
        try:
            with uncollected(), capture:
                work()
        finally:
            torch.cuda.set_stream(outside)  # a capture that fails leaves its own
        return graph.replay


@dataclass
class _Batch:
    """The static buffers of a signature: inputs and, once known, what the pass returns; what replays it, once captured, and
    the addresses that this has."""

    inputs: dict[str, Tensor]
    result: Tensor | None = None
    passes: int = 0
    replay: Work | None = None
    addresses: tuple[int, ...] = ()


class GraphedPasses:
    """Runs passes on static buffers, and with a `recorder` replays them.

    `held` are the tensors that passes read and train, `expected` the number of passes of the whole training, `refused` is
    told once why nothing more is captured. With `checkpoints`, activations are recomputed.
    """

    def __init__(
        self,
        device: torch.device,
        held: Places,
        expected: int,
        recorder: Recorder | None,
        refused: Callable[[str], None],
        *,
        checkpoints: bool = False,
    ) -> None:
        self._device, self._held, self._left, self._refused = device, held, expected, refused
        self._checkpoints, self._recorder = checkpoints, recorder
        self._batches: dict[Signature, _Batch] = {}
        self._passes = 0

    def __call__(self, run: Pass, inputs: Inputs) -> Tensor:
        """Run a pass; what is returned is overwritten by the next pass of the same signature."""
        if any(tensor.requires_grad for tensor in inputs.values()):  # buffers would cut autograd's graph
            self.refuse("the text encoder runs before the pass")
            return run(placed(inputs, self._device))
        batch = self._filled(inputs)
        batch.passes, self._passes, self._left = batch.passes + 1, self._passes + 1, self._left - 1
        if batch.replay is not None and batch.addresses != self._held.now():
            self.refuse(MOVED)

        def work() -> None:
            found = run(batch.inputs)
            batch.result = torch.empty_like(found) if batch.result is None else batch.result
            batch.result.copy_(found)

        if self._pays(batch):
            self._record(work, batch)
        if batch.replay is not None:
            batch.replay()
        elif self._recorder is not None and batch.passes <= WARM_UP:
            self._watched(work, batch, self._recorder)
        else:
            with self._recorder.beside() if self._recorder is not None else nullcontext():
                work()
        assert batch.result is not None
        return batch.result

    def release(self) -> bool:
        """Free all graphs and capture no more; return whether there were any."""
        had = any(batch.replay for batch in self._batches.values())
        if had:
            self.refuse("the device's memory is short")
        return had

    def refuse(self, reason: str) -> None:
        """Go on without graphs."""
        if self._recorder is not None:
            self._recorder = None
            for batch in self._batches.values():
                batch.replay = None
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            self._refused(reason)

    def _filled(self, inputs: Inputs) -> _Batch:
        """Copy the inputs into the buffers of their signature, from pinned memory, so that nobody waits."""
        signature = tuple((name, inputs[name].shape, inputs[name].dtype) for name in sorted(inputs))
        if (batch := self._batches.get(signature)) is None:
            buffers = {
                name: torch.empty(tensor.shape, dtype=tensor.dtype, device=self._device)
                for name, tensor in inputs.items()
            }
            batch = self._batches[signature] = _Batch(buffers)
        for name, tensor in inputs.items():
            is_to_device = self._device.type == "cuda" and tensor.device.type == "cpu"
            batch.inputs[name].copy_(tensor.pin_memory() if is_to_device else tensor, non_blocking=is_to_device)
        return batch

    def _pays(self, batch: _Batch) -> bool:
        """Return whether to capture now: after the warm-up, if as many passes are left as pay, by its share so far."""
        if self._recorder is None or batch.replay is not None or batch.passes <= WARM_UP:
            return False
        captured = sum(each.replay is not None for each in self._batches.values())
        return captured < MOST and (self._left + 1) * batch.passes / self._passes >= WORTH

    def _watched(self, work: Work, batch: _Batch, recorder: Recorder) -> None:
        """Run a pass of the warm-up, and refuse graphs if it does what one could not repeat."""
        before, watch = self._held.now(), Obstacles(self._device)
        with recorder.beside(), watch if batch.passes == 1 else nullcontext():
            work()
        reasons = [*watch.reasons, *([DROPPED] if watch.is_random and self._checkpoints else [])]
        if batch.passes == WARM_UP and before != self._held.now():
            reasons.append(FREED)
        if reasons:
            self.refuse(reasons[0])

    def _record(self, work: Work, batch: _Batch) -> None:
        assert self._recorder is not None
        try:
            batch.replay = self._recorder.record(work)
        except RuntimeError as error:
            self.refuse(f"capture failed: {str(error).partition(chr(10))[0]}")
        else:
            batch.addresses = self._held.now()


def recorder_on(device: torch.device) -> Recorder | None:
    """Return what captures on an NVIDIA GPU; None on other devices."""
    return CudaRecorder(device) if device.type == "cuda" else None


def passes_of(
    option: Graphs,
    model: Model,
    adapter: Attached,
    parts: Iterable[str],
    expected: int,
    emit: Callable[[Event], None],
    *,
    checkpoints: bool,
) -> Passes:
    """Return what runs the passes of a training of these parts; `expected` is their number.

    With `graphs: on`, `InputError` as soon as they cannot be graphs, after some steps at the latest.
    """

    def told(reason: str) -> None:
        if option == "on":
            raise InputError(f"the step cannot be a CUDA graph: {reason}.", where="graphs", cure="Write graphs: auto.")
        emit(Log(text=f"without CUDA graphs, which would be faster: {reason}", level="warning"))

    if option == "off":
        return PlainPasses(model.device)
    is_cuda = model.device.type == "cuda"
    if option == "on" and not is_cuda:
        told(f"the device is {model.device.type}")
    is_live = any(part != model.denoiser for part in parts)  # captions are encoded in the pass
    modules = [model.part(part) for part in (model.denoiser, *(model.text_encoders if is_live else ()))]
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    held = Places([*tensors, *chain.from_iterable(adapter.parameters().values())])
    passes = GraphedPasses(model.device, held, expected, recorder_on(model.device), told, checkpoints=checkpoints)
    if not adapter.may_be_flat:
        passes.refuse(IN_PLACE)
    return passes
