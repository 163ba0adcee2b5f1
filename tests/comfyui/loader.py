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
STRENGTHS = (1.0, 0.5, 2.0)


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


def compare(
    model: Any, clip: Any, accepted: Mapping[str, str], names: Any, file: str, learnt: str, all_modules: bool
) -> dict[str, Any]:
    """Return what a file changes, and how far ComfyUI's changes are from lorapipe's and from its rules of ComfyUI.

    `all_modules`: compare every module at strength 1. Otherwise, and at the other strengths, one of each shape and form.
    """
    import comfy.sd
    import comfy.utils

    from lorapipe import formats

    tensors, patches = comfy.utils.load_torch_file(file, safe_load=True), {}
    with listening() as told:
        for strength in STRENGTHS:
            loaded = comfy.sd.load_lora_for_models(model, clip, dict(tensors), strength, strength)
            patches[strength] = {**loaded[0].patches, **loaded[1].patcher.patches}
        shapes = {**model.model_state_dict(), **clip.patcher.model_state_dict()}
        written = {place: name for name, place in reversed(names.items())}
        modules, seen = [], set()
        ours, rules = formats.open(Path(learnt), names).modules, Rules(file, names)
        for place, module in ours.items():
            target = accepted.get(written[place], "")
            form = (shapes[target].shape, *rules.form(place)) if target else None
            is_new = form not in seen
            seen.add(form)
            strengths = STRENGTHS if is_new else STRENGTHS[:1] if all_modules else ()
            read = bool(target in patches[1.0])
            errors = [
                error for strength in strengths if read
                for error in differences(patches[strength], shapes, target, strength, module, rules, place)
            ]  # fmt: skip
            why = {"ignored": rules.ignored(place), "misread": rules.misread(place)}
            modules.append({"target": target, "errors": errors, "bias": module.delta_bias() is not None, **why})
    return {"told": told, "patched": sorted(patches[1.0]), "modules": modules}


class Rules:
    """lorapipe's rules of ComfyUI for a file, by the places of its modules."""

    def __init__(self, file: str, names: Any) -> None:
        from lorapipe.formats import NameTable
        from lorapipe.inspection import _comparison, _report
        from lorapipe.inspection.readers import Reader

        self.reader = Reader.registry.get("comfyui")()
        self.inspected = _report.inspected(Path(file))
        pairs = zip(self.inspected.contents.modules, _comparison.read_modules(self.inspected), strict=True)
        self.modules = {named.format.place(named.name, NameTable(names)): (named, read) for named, read in pairs}

    def form(self, place: Any) -> tuple[str, frozenset[str]]:
        """Return the algorithm of a module and its tensors' names."""
        _, read = self.modules[place]
        return read.algorithm.name, read.shorts

    def ignored(self, place: Any) -> str:
        """Return why a module is ignored."""
        return str(self.reader.ignores(self.modules[place][1]))

    def misread(self, place: Any) -> str:
        """Return how a module is misread."""
        return str(self.reader.misreads(self.modules[place][1]))

    def changes(self, place: Any, weight: Any, strength: float) -> tuple[Any, Any]:
        """Return ComfyUI's ΔW and Δb by these rules; no Δb where the file has none."""
        from lorapipe.inspection._comparison import _tensor

        named, read = self.modules[place]
        tensors = {short: _tensor(self.inspected, key) for short, key in named.keys.items()}
        bias = read.algorithm.delta_bias(tensors)
        return self.reader.change(read, tensors, weight, strength), None if bias is None else strength * bias


def differences(
    patches: Any, shapes: Any, target: str, strength: float, module: Any, rules: Rules, place: Any
) -> Iterator[tuple[float, float, float]]:
    """Yield (strength, error of ComfyUI's change from strength · lorapipe's, and from the rules') of weight and bias."""
    import comfy.lora
    import torch

    weight = None
    if module.needs_weight:
        shape = shapes[target].shape
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)) / shape[1:].numel() ** 0.5
    before = torch.zeros(shapes[target].shape) if weight is None else weight
    theirs = comfy.lora.calculate_weight(patches[target], before.clone(), target).sub_(before)
    meant, (by_rule, bias_by_rule) = strength * module.delta(weight), rules.changes(place, weight, strength)
    yield strength, distance(theirs, meant), distance(theirs, by_rule)
    if (bias := module.delta_bias()) is not None:
        name = f"{target.removesuffix('weight')}bias"
        found = torch.zeros(bias.shape)
        if name in patches:
            found = comfy.lora.calculate_weight(patches[name], found, name)
        yield strength, distance(found, strength * bias), distance(found, bias_by_rule)


def distance(theirs: Any, ours: Any) -> float:
    """Return the relative distance of two tensors of as many numbers; ours may be a matrix."""
    if theirs.numel() != ours.numel() or theirs.shape[0] != ours.shape[0]:
        return float("inf")
    return float((theirs - ours.reshape(theirs.shape)).norm() / ours.norm())


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
