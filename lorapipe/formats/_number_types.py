"""safetensors' number types in NumPy, which has no BF16: its bits are read as integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    Bits = npt.NDArray[Any]
    """Numbers as a file has them; BF16 as unsigned integers of 16 bits."""
    Numbers = npt.NDArray[np.float32] | npt.NDArray[np.float64]

FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}
WHOLE = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "U16": "<u2", "I32": "<i4", "U32": "<u4", "I64": "<i8", "U64": "<u8",
}  # fmt: skip


def floats(bits: Bits, dtype: str) -> Numbers:
    """Return the numbers of a file's bits as float32; F64 as float64."""
    if dtype == "BF16":  # the upper half of a float32
        return cast("Numbers", (bits.astype("<u4") << 16).view("<f4"))
    return cast("Numbers", bits if dtype == "F64" else bits.astype("<f4", copy=False))


def rounded(numbers: Bits, dtype: str) -> Bits:
    """Return finite float32 numbers as F32, F16 or BF16, rounded to the nearest, of two to the even one.

    Numbers of another type are taken for the bits of `dtype` already.
    """
    import numpy as np

    if numbers.dtype != np.float32 or dtype == "F32":
        return numbers
    if dtype == "BF16":
        wide = np.ascontiguousarray(numbers).view(np.uint32)
        return ((wide + (((wide >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype(np.uint16)
    with np.errstate(over="ignore"):  # the caller looks for infinite numbers
        return numbers.astype(FLOATS[dtype])


def are_finite(bits: Bits, dtype: str) -> bool:
    """Return whether no number is infinite or NaN."""
    import numpy as np

    if dtype == "BF16":
        return bool(((bits & 0x7F80) != 0x7F80).all())
    return bool(np.isfinite(bits).all())
