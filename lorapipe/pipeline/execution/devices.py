"""Locks on devices: one stage at a time computes on a GPU, whichever project it belongs to.

Two stages on one GPU would run out of memory, so the second one waits. On the CPU only trainings wait for each other, as
they would slow each other down for hours; other stages share it. The lock files lie in a folder of this user and this
machine, outside every project. A device that CUDA_VISIBLE_DEVICES renames is locked under its real name.
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
    """Split a list of devices such as `cuda:0,cuda:1`. Raises `InputError` for an unknown device.

    `cuda:0+cuda:1` is one device that consists of two, for data-parallel training.
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


def device_locks(device: str) -> tuple[Path, ...]:
    """Return the lock files of a device. `auto` is the first GPU, or the device used in its place.

    Sorted, so that two processes that need the same two devices cannot deadlock.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = {real_name(each, visible) for each in device.split("+")}
    return tuple(device_locks_folder() / f"{name}.lock" for name in sorted(names))


def stage_locks(device: str, trains: bool) -> tuple[Path, ...]:
    """Return the locks that a stage takes before it computes on a device. Called in the process that computes.

    On the CPU only a stage that `trains` takes one.
    """
    if not _is_cpu(device):
        return device_locks(device)
    return device_locks("cpu") if trains else ()


def _is_cpu(device: str) -> bool:
    """Whether the device is the CPU. `auto` is resolved by PyTorch, which is imported for that: it is needed soon."""
    if device != "auto":
        return set(device.split("+")) == {"cpu"}
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return True
    return not (torch.cuda.is_available() or torch.backends.mps.is_available())


def record_holder(lock: Path, what: str) -> None:
    """Write this process's id and the stage's name beside a lock that it holds, for those who wait for it."""
    with suppress(OSError):
        lock.with_suffix(".txt").write_text(f"{os.getpid()} {what}", encoding="utf-8", errors="replace")


def waiting_message(busy: Busy) -> str:
    """Return the message that says who holds a device's lock, and what to do."""
    try:
        process, _, what = busy.path.with_suffix(".txt").read_text("utf-8", "replace").partition(" ")
    except OSError:
        process, what = "", ""
    who = busy.who + (f" ({what})" if what and process == str(busy.holder) else "")
    cure = "It continues when that ends; --device chooses another device."
    return f"waits for {who}, which uses the same device, {busy.path.stem}. {cure}"


def real_name(device: str, visible: str | None) -> str:
    """Return a device's name on the machine, for a process that sees only the GPUs in `visible`."""
    if device == "cpu":
        return device
    _, _, number = device.partition(":")
    index = int(number or 0)
    shown: Sequence[str] = [each.strip() for each in (visible or "").split(",") if each.strip()]
    name = shown[index] if index < len(shown) else str(index)
    return "gpu-" + re.sub(r"[^\w-]", "-", name)
