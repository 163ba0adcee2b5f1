"""One training at a time on a device, whichever project it belongs to: the lock that says so.

Two stages that compute on one GPU run out of memory together, so a second one waits. On the CPU only trainings take
turns, which would make each other slow for hours: what else computes there shares it. The lock files lie in a folder of
this user and this machine, outside every project. A device that CUDA_VISIBLE_DEVICES renames is locked under its real name.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lorapipe.errors import InputError
from lorapipe.pipeline.locks import Busy
from lorapipe.user_folders import device_locks_folder

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
    return tuple(device_locks_folder() / f"{name}.lock" for name in sorted(names))


def turns_on(device: str, trains: bool) -> tuple[Path, ...]:
    """The locks of a stage that computes on the device, for hours if it `trains`. Asked in the process that computes."""
    if not _is_cpu(device):
        return locks_of(device)
    return locks_of("cpu") if trains else ()


def _is_cpu(device: str) -> bool:
    """Whether it is the CPU. What `auto` is only PyTorch knows, which is loaded for that: it is needed soon."""
    if device != "auto":
        return set(device.split("+")) == {"cpu"}
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return True
    return not (torch.cuda.is_available() or torch.backends.mps.is_available())


def say_who(lock: Path, what: str) -> None:
    """Note for others who they wait for; the lock must be held."""
    with suppress(OSError):
        lock.with_suffix(".txt").write_text(f"{os.getpid()} {what}", encoding="utf-8", errors="replace")


def waiting_for(busy: Busy) -> str:
    """Who holds a device's lock, and what to do, in words."""
    try:
        process, _, what = busy.path.with_suffix(".txt").read_text("utf-8", "replace").partition(" ")
    except OSError:
        process, what = "", ""
    who = busy.who + (f" ({what})" if what and process == str(busy.holder) else "")
    cure = "It goes on by itself when that has ended; --device names another one."
    return f"waits for {who}, which is at work on the same device, {busy.path.stem}. {cure}"


def real_name(device: str, visible: str | None) -> str:
    """A device's name on the machine, for a process that is shown only the GPUs in `visible`."""
    if device == "cpu":
        return device
    _, _, number = device.partition(":")
    index = int(number or 0)
    shown: Sequence[str] = [each.strip() for each in (visible or "").split(",") if each.strip()]
    name = shown[index] if index < len(shown) else str(index)
    return "gpu-" + re.sub(r"[^\w-]", "-", name)
