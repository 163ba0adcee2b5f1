"""Device and precision of a computation (mixed precision: the base in half precision, adapters in float32)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from lorapipe.errors import InputError, OutOfMemory
from lorapipe.spec import canonical, to_dict
from lorapipe.training.memory_estimate import FREE, RUNTIME
from lorapipe.training.model_libraries import import_model_libraries

if TYPE_CHECKING:
    from lorapipe.models import Family, Model
    from lorapipe.pipeline.context import ModelCache

Precision = Literal["auto", "fp32", "bf16", "fp16"]
CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
"""Environment variable, read at a process's first matrix product, without which no product is deterministic on CUDA; the
size is torch's usual one on recent GPUs (pytorch.org, `torch.use_deterministic_algorithms`)."""


def resolve(wanted: str) -> str:
    """Return a torch device: `auto` is the first CUDA or MPS device, else the CPU; of `cuda:0+cuda:1`, the first.

    `InputError` with the devices that there are if one is not.
    """
    import torch

    if wanted != "auto":
        _check_available(wanted.split("+"))
        return wanted.partition("+")[0]
    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _check_available(devices: Sequence[str]) -> None:
    known = _gpus()
    for each in devices:
        if each != "cpu" and (each if ":" in each else f"{each}:0") not in known:
            why = "" if known else " PyTorch finds no GPU here."
            raise InputError(
                f"there is no {each} on this machine.",
                cure=f"Choose one of: {', '.join(['auto', 'cpu', *known])}.{why}",
                where="device",
            )


def _gpus() -> list[str]:
    """Return the devices besides the CPU that PyTorch finds: `cuda:0`, `cuda:1`."""
    import torch

    xpus = torch.xpu.device_count() if hasattr(torch, "xpu") else 0
    counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "xpu": xpus}
    return [f"{kind}:{index}" for kind, count in counts.items() for index in range(count)]


def dtype(precision: Precision, device: str) -> str:
    """Return the dtype of frozen weights on a device (of `resolve`): fp32, bf16 or fp16.

    `auto` is bf16 on GPUs that compute in it, fp16 on older ones, and fp32 on the CPU and on MPS, whose half precision is
    slow or incomplete. `InputError` for fp16 on the CPU.
    """
    import torch

    kind = torch.device(device).type
    if precision == "auto":
        if kind != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if precision == "fp16" and kind == "cpu":
        raise InputError(
            "fp16 overflows, and CPUs compute it slowly.",
            cure="Use fp32, or bf16 for half the memory.",
            where="precision",
        )
    return precision


def memory_of(device: str) -> float | None:
    """Return the bytes of a device that a training in this process can have; None where that is unknown, as on a CPU."""
    import torch

    if torch.device(device).type != "cuda":
        return None
    free, whole = torch.cuda.mem_get_info(device)
    ours = torch.cuda.memory_reserved(device) + RUNTIME
    return float(min(FREE * whole, free + ours))


@dataclass(frozen=True)
class Compute:
    """A torch device, and the dtype of frozen weights on it: fp32, bf16 or fp16."""

    device: str
    dtype: str

    @classmethod
    def of(cls, wanted: str, precision: Precision) -> Self:
        """Resolve a stage's device and precision. `InputError` if the device does not support the precision."""
        os.environ.setdefault(*CUBLAS_WORKSPACE)
        device = resolve(wanted)
        return cls(device, dtype(precision, device))

    def model(self, base: Family, models: ModelCache) -> Model:
        """Return the base model on this device, from `models` if an earlier stage has loaded it."""
        import_model_libraries(models)
        key = canonical([to_dict(base), self.device, self.dtype]).decode()
        return models.get(key, lambda: base.load(self.device, self.dtype))


@contextmanager
def memory_explained() -> Iterator[None]:
    """Turn out-of-memory errors into `OutOfMemory` with advice on what takes less memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        is_short = "out of memory" in str(error).lower() or "can't allocate memory" in str(error)
        if not (is_short or isinstance(error, MemoryError)):
            raise
        cure = (
            "Settings that take less: gradient_checkpointing: true; batch: 1 (with accumulation for the rest); a smaller "
            "resolution in prepare; text_encoder_lr: 0; a smaller rank; adamw rather than prodigy; precision: bf16."
        )
        raise OutOfMemory("out of memory while training.", cure=cure) from error
