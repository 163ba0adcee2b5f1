"""A model's network as sampling asks it: hundreds of calls of one shape, on an NVIDIA GPU replayed as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lorapipe.pipeline.events import Event, Log

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.models import Condition, Model
    from lorapipe.training.cuda_graphs import GraphedPasses, Recorder


class GraphedDenoiser:
    """Calls `Model.predict` without gradients: plainly, or on static buffers from which calls can be captured.

    `recorder` makes what captures them, or gives None: by default on an NVIDIA GPU. Each set of weights has a new one, since
    memory of a graph that is gone cannot be captured into again.
    """

    def __init__(
        self, model: Model, emit: Callable[[Event], None], recorder: Callable[[], Recorder | None] | None = None
    ) -> None:
        self._model, self._emit = model, emit
        self._recorder = recorder or self._usual_recorder
        self._passes: GraphedPasses | None = None

    def expect(self, calls: int) -> None:
        """Forget all graphs, in which strengths and places of weights are constants, and expect so many calls."""
        import torch

        from lorapipe.training.cuda_graphs import GraphedPasses
        from lorapipe.training.graph_obstacles import Places

        self._passes = None
        if (recorder := self._recorder()) is None:
            return
        model, denoiser = self._model, self._model.part(self._model.denoiser)
        if model.device.type == "cuda":
            torch.cuda.empty_cache()
        held = Places([*denoiser.parameters(), *denoiser.buffers()])
        self._passes = GraphedPasses(model.device, held, calls, recorder, self._refused)

    def __call__(self, noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """Return the network's output; the next call may overwrite it.

        What is watched and captured runs outside of inference mode, which hides what operations are made of.
        """
        import torch

        if self._passes is None:
            return self._model.predict(noisy, timesteps, condition)
        inputs = {**condition, "noisy": noisy, "timesteps": timesteps}
        with torch.inference_mode(False), torch.no_grad():
            try:
                return self._passes(self._predicted, inputs)
            except torch.OutOfMemoryError:
                if not self._passes.release():
                    raise
            return self._passes(self._predicted, inputs)

    def _predicted(self, inputs: Condition) -> Tensor:
        return self._model.predict(inputs["noisy"], inputs["timesteps"], inputs)

    def _refused(self, reason: str) -> None:
        """Go on without graphs, also with other weights, and say why once."""
        self._recorder = lambda: None
        text = f"sampling without CUDA graphs, which would be faster: {reason}"
        self._emit(Log(text=text, level="warning"))

    def _usual_recorder(self) -> Recorder | None:
        from lorapipe.training.cuda_graphs import recorder_on

        return recorder_on(self._model.device)
