"""One training at a time on a device, whichever project it belongs to: the lock that says so.

Two trainings on one GPU run out of memory together, so a second one waits. The lock files lie in a folder of this user
and this machine, outside every project. A device that CUDA_VISIBLE_DEVICES renames is locked under its real name.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lorapipe.errors import InputError

ONE = r"(cpu|(cuda|mps|xpu)(:\d+)?)"
DEVICE = re.compile(rf"auto|{ONE}(\+{ONE})*")


def parse_devices(text: str) -> tuple[str, ...]:
    """`cuda:0,cuda:1` → its devices. `InputError` where one of them is none.

    `cuda:0+cuda:1` is one device that consists of two, for trainings that share their batches out.
    """
    devices = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for device in devices:
        if not DEVICE.fullmatch(device):
            what = f"{device!r} is not a device."
            raise InputError(
                what,
                where="--device",
                cure="Write auto, cpu, cuda, cuda:1, mps, or several: cuda:0,cuda:1; one training on both: cuda:0+cuda:1.",
            )
    return devices


def locks_of(device: str) -> tuple[Path, ...]:
    """The files whose locks mean that the device is at work. `auto` is the first GPU, or what is used in its place.

    Sorted, so that two who need the same two do not wait for each other.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = {real_name(each, visible) for each in device.split("+")}
    return tuple(_folder() / f"{name}.lock" for name in sorted(names))


def real_name(device: str, visible: str | None) -> str:
    """A device's name on the machine, for a process that is shown only the GPUs in `visible`."""
    if device == "cpu":
        return device
    _, _, number = device.partition(":")
    index = int(number or 0)
    shown: Sequence[str] = [each.strip() for each in (visible or "").split(",") if each.strip()]
    name = shown[index] if index < len(shown) else str(index)
    return "gpu-" + re.sub(r"[^\w-]", "-", name)


def _folder() -> Path:
    """Of this user and this machine: a home folder may be shared by several machines."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    else:
        base = os.environ.get("XDG_CACHE_HOME")
    home = Path(base) if base else Path.home() / ".cache"
    machine = os.environ.get("COMPUTERNAME", "machine") if sys.platform == "win32" else os.uname().nodename
    return home / "lorapipe" / "devices" / machine
