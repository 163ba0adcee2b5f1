"""Where to compute, and in which precision (mixed precision: the base in half precision, adapters in float32)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from lorapipe.errors import InputError, OutOfMemory
from lorapipe.spec import canonical, to_dict

if TYPE_CHECKING:
    from lorapipe.models import Family, Model
    from lorapipe.pipeline.context import ModelCache

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def resolve(wanted: str) -> str:
    """A device for torch: `auto` is the first CUDA or MPS device, else the CPU; of `cuda:0+cuda:1`, the first."""
    import torch

    if wanted != "auto":
        return wanted.partition("+")[0]
    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def dtype(precision: Precision, device: str) -> str:
    """How the frozen weights are held on a device (of `resolve`): fp32, bf16 or fp16.

    `auto` is bf16 on a GPU that computes in it, fp16 on an older one, and fp32 on the CPU and on MPS, whose half
    precision is slow or incomplete, depending on the machine. `InputError` where the device cannot.
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


@dataclass(frozen=True)
class Compute:
    """A device of torch's, and how frozen weights are held on it: fp32, bf16 or fp16."""

    device: str
    dtype: str

    @classmethod
    def of(cls, wanted: str, precision: Precision) -> Self:
        """What a stage's device and precision come to. `InputError` where the device cannot compute so."""
        device = resolve(wanted)
        return cls(device, dtype(precision, device))

    def model(self, base: Family, models: ModelCache) -> Model:
        """The base model on this device: the one that an earlier stage has left in memory, or a newly loaded one."""
        key = canonical([to_dict(base), self.device, self.dtype]).decode()
        return models.get(key, lambda: base.load(self.device, self.dtype))


@contextmanager
def memory_explained() -> Iterator[None]:
    """Tell a user whose memory does not suffice what takes less of it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        short = "out of memory" in str(error).lower() or "can't allocate memory" in str(error)
        if not (short or isinstance(error, MemoryError)):
            raise
        cure = (
            "What takes less: gradient_checkpointing: true; batch: 1 (with accumulation for the rest); a smaller "
            "resolution in prepare; text_encoder_lr: 0; a smaller rank; adamw rather than prodigy; precision: bf16."
        )
        raise OutOfMemory("out of memory while training.", cure=cure) from error
