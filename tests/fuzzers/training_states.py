"""Saved states of a training, damaged as disks damage them, once or several times: none is ever gone on from."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import torch
from corpus.disks import DAMAGES

from lorapipe.training.resume_state import Checkpoints, Trainable

CASES = 60


def case(seed: int, folder: Path) -> str:
    """A state, its snapshot and the state before it; either the newest state or the snapshot is damaged."""
    chance = random.Random(seed)
    resume, trainable = folder / "resume", _trainable()
    snapshot = resume / "snapshots" / "step-000002.safetensors"
    snapshot.parent.mkdir(parents=True)
    snapshot.write_bytes(chance.randbytes(3000))
    checkpoints = Checkpoints(resume / "checkpoints")
    _set(trainable, 1.0)
    checkpoints.save(1, trainable, b"one\n")
    checkpoints.add(snapshot)
    _set(trainable, 2.0)
    checkpoints.save(2, trainable, b"one\ntwo\n")
    victim = chance.choice([snapshot, resume / "checkpoints" / "step-00000002.pt"])
    whole = data = victim.read_bytes()
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        if len(data) > 4096:  # as much as all kinds of damage need
            data = chance.choice(DAMAGES)(data, chance) if any(data) else data
        elif len(data) > 1024 and any(data):
            data = chance.choice(DAMAGES[:2])(data, chance)
    if data == whole:
        return ""
    victim.write_bytes(data)
    _set(trainable, 0.0)
    found = Checkpoints(resume / "checkpoints").load(trainable)
    if found.step != 1 or found.curve != b"one\n" or float(_parameter(trainable).detach()[0]) != 1.0:
        return f"went on from step {found.step} with {victim.name} damaged"
    return "" if len(found.complaints) == 1 and victim.name in found.complaints[0] else f"said {found.complaints}"


@cache
def _trainable() -> Trainable:
    parameter = torch.nn.Parameter(torch.ones(2000))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.linspace(-1, 1, 2000)
    optimizer.step()
    return Trainable({"unet": [parameter]}, optimizer, torch.amp.GradScaler("cpu", enabled=False))


def _parameter(trainable: Trainable) -> torch.nn.Parameter:
    return trainable.parameters["unet"][0]


def _set(trainable: Trainable, value: float) -> None:
    with torch.no_grad():
        _parameter(trainable).fill_(value)
