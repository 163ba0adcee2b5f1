"""Load LoRA files with ComfyUI's own loader; a program for ComfyUI's Python: `loader.py REQUEST ANSWER`.

The model has the published size but no weights, only names and shapes: ComfyUI detects its kind as for any checkpoint, the
file is loaded by the function of the node Load LoRA, and ΔW is its change of a zero weight.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PREFIX = "model.diffusion_model."


def model_and_clip(unet: Mapping[str, list[int]]) -> tuple[Any, Any]:
    """Return the patchers of a model whose U-Net has tensors with these names and shapes, and of its text encoders."""
    import comfy.model_detection
    import comfy.model_patcher
    import comfy.sd
    import torch

    tensors = {PREFIX + key: torch.empty(shape, device="meta") for key, shape in unet.items()}
    config = comfy.model_detection.model_config_from_unet(tensors, PREFIX)
    config.set_inference_dtype(torch.float32, None)
    cpu = torch.device("cpu")
    model = comfy.model_patcher.ModelPatcher(config.get_model({}, device="meta"), load_device=cpu, offload_device=cpu)
    places = {"load_device": cpu, "offload_device": cpu, "initial_device": torch.device("meta")}
    clip = comfy.sd.CLIP(config.clip_target({}), model_options={**places, "dtype": torch.float32})
    return model, clip


class Told(logging.Handler):
    """A log handler for the loader's warnings and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        self.lines.append(record.getMessage())


@contextmanager
def listening() -> Iterator[list[str]]:
    """Yield the lines that are logged within the block."""
    told = Told()
    logging.getLogger().addHandler(told)
    try:
        yield told.lines
    finally:
        logging.getLogger().removeHandler(told)


def compare(model: Any, clip: Any, accepted: Mapping[str, str], names: Any, file: str, learnt: str) -> dict[str, Any]:
    """Return the weights that a file changes, and the relative difference between ComfyUI's ΔW and lorapipe's."""
    import comfy.lora
    import comfy.sd
    import comfy.utils
    import torch
    from safetensors.torch import load_file

    from lorapipe.formats.kohya import Kohya

    with listening() as told:
        patched = comfy.sd.load_lora_for_models(
            model, clip, comfy.utils.load_torch_file(file, safe_load=True), 1.0, 1.0
        )
        patches = {**patched[0].patches, **patched[1].patcher.patches}
        errors, ours = {}, Kohya().load(load_file(learnt), names).modules
        written = {place: name for name, place in reversed(names.items())}
        shapes = {**model.model_state_dict(), **clip.patcher.model_state_dict()}
        for place, module in ours.items():
            target = accepted.get(written[place], "")
            if target in patches:
                zeros = torch.zeros(shapes[target].shape)
                theirs, delta = comfy.lora.calculate_weight(patches[target], zeros, target), module.delta()
                same = theirs.shape == delta.shape
                errors[target] = float(theirs.sub_(delta).norm() / delta.norm()) if same else float("inf")
    return {"told": told, "patched": sorted(patches), "errors": errors}


def main(request: Path, answer: Path) -> None:
    """Answer a request; `answer` in test_comfyui_loader.py describes both JSON files."""
    asked = json.loads(request.read_text(encoding="utf-8"))
    sys.path.insert(0, asked["comfyui"])
    from comfy.cli_args import args

    args.cpu = True  # before anything looks for a GPU
    import comfy.lora
    import torch

    names = {name: tuple(place) for name, place in asked["names"].items()}
    with torch.inference_mode():
        model, clip = model_and_clip(asked["unet"])
        accepted = comfy.lora.model_lora_keys_unet(model.model, {})
        accepted = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, accepted)
        files = [compare(model, clip, accepted, names, **pair) for pair in asked["files"]]
    kept = {name: target for name, target in accepted.items() if isinstance(target, str)}
    answer.write_text(json.dumps({"accepted": kept, "files": files}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
