"""What a training needs to go on as if it had never stopped.

Data order and noise are functions of (seed, step), so the state is the trainable parameters, the optimizer's and the
scaler's state, and the number of the step. It is for this program only: users' files are the snapshots.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

VERSION = 1
KEPT = 2
"""Checkpoints on disk: the newest, and the one before it should the newest be damaged."""


@dataclass(frozen=True)
class Trainable:
    """The live objects whose state changes from step to step: parameters by part, optimizer, fp16's scaler."""

    parameters: Mapping[str, Sequence[torch.nn.Parameter]]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler

    def state(self) -> dict[str, Any]:
        """Everything, as tensors and plain values."""
        tensors = {part: [p.detach() for p in parameters] for part, parameters in self.parameters.items()}
        return {
            "parameters": tensors,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up a state; ValueError where it is another training's."""
        mine = {part: [p.shape for p in parameters] for part, parameters in self.parameters.items()}
        saved = {part: [t.shape for t in tensors] for part, tensors in state["parameters"].items()}
        if mine != saved:
            raise ValueError("its parameters have other shapes")
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        with torch.no_grad():
            for part, parameters in self.parameters.items():
                for parameter, tensor in zip(parameters, state["parameters"][part], strict=True):
                    parameter.copy_(tensor)


class Checkpoints:
    """Checkpoints in a folder, named by their step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, trainable: Trainable) -> None:
        """Keep the state after `step` updates. Written aside, synced and renamed: it is whole or not there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{step:08d}.pt"
        aside = path.with_suffix(".part")
        with aside.open("wb") as file:
            torch.save({"version": VERSION, "step": step, **trainable.state()}, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        for old in self._files()[KEPT:]:
            old.unlink(missing_ok=True)

    def load(self, trainable: Trainable) -> tuple[int, list[str]]:
        """Take up the newest state that can be read: its step (0: there is none), and what was wrong with others."""
        complaints: list[str] = []
        for path in self._files():
            try:
                state = _read(path)
                if state["version"] != VERSION:
                    raise ValueError(f"it is of version {state['version']}, not {VERSION}")
                trainable.load(state)
                return int(state["step"]), complaints
            except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
                reason = str(error).split("\n")[0][:200] or type(error).__name__
                complaints.append(f"The checkpoint {path.name} cannot be read ({reason}); an earlier state is used.")
        return 0, complaints

    def _files(self) -> list[Path]:
        """The newest first."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)


def _read(path: Path) -> Any:
    """What a file holds. Bytes that are no state make the unpickler fail in every way there is; here it is a ValueError."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error
