"""What a training needs to go on as if it had never stopped.

Data order and noise are functions of (seed, step), so the state is the trainable parameters, the optimizer's and the
scaler's state, and the number of the step; and what was made on the way, the curve itself and the checksums of the
snapshots. All of it is verified before any of it is used: a training that goes on ends as if it had not stopped, or says
which file is damaged and goes on from before that. It is for this program only: users' files are the snapshots.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch

from lorapipe.atomic import PART_SUFFIX
from lorapipe.checksum import crc_of, reading, writing

VERSION = 2
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


@dataclass(frozen=True)
class Resumed:
    """What a training goes on from: after which step (0: from nothing), its curve so far, what was wrong with others."""

    step: int = 0
    curve: bytes = b""
    complaints: tuple[str, ...] = ()


class Checkpoints:
    """Checkpoints in a folder, named by their step. The folder lies in the one where the training keeps its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checksums: dict[str, int] = {}
        self._damaged: list[Path] = []

    def add(self, file: Path) -> None:
        """The training has made this file, and will not do so again: what comes after it is of no use without it."""
        self._checksums[self._name(file)] = crc_of(file)

    def save(self, step: int, trainable: Trainable, curve: bytes = b"") -> None:
        """Keep the state after `step` updates. Written aside, synced and renamed: it is whole or not there."""
        for left in self.folder.glob(f"*{PART_SUFFIX}"):
            left.unlink(missing_ok=True)
        about = {"version": VERSION, "step": step, "curve": curve, "files": self._checksums}
        path = self.folder / f"step-{step:08d}.pt"
        with writing(path) as file:
            torch.save({**about, **trainable.state()}, file)
        for damaged in self._damaged:
            if damaged != path:
                damaged.unlink(missing_ok=True)
        self._damaged.clear()
        files = self._files()
        here = files.index(path)
        for old in (*files[:here], *files[here + KEPT :]):  # those after this step were damaged
            old.unlink(missing_ok=True)

    def load(self, trainable: Trainable) -> Resumed:
        """Take up the newest state that is whole, with the files made before it."""
        complaints: list[str] = []
        for path in self._files():
            try:
                state = self._read(path)
                trainable.load(state)
            except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
                words = error.strerror if isinstance(error, OSError) else str(error).split("\n")[0][:200]
                reason = words or type(error).__name__
                complaints.append(f"The checkpoint {path.name} cannot be used: {reason}. An earlier state is used.")
                if path.is_dir():
                    shutil.rmtree(path)
                self._damaged.append(path)
            else:
                self._checksums = state["files"]
                return Resumed(int(state["step"]), state["curve"], tuple(complaints))
        if complaints:
            complaints.append("There is no earlier state: the training begins anew.")
        return Resumed(complaints=tuple(complaints))

    def _read(self, path: Path) -> Any:
        """What a checkpoint holds. Bytes that are no state make the unpickler fail in every way there is: `ValueError`."""
        with reading(path) as file:
            try:
                state = torch.load(cast("IO[bytes]", file), map_location="cpu", weights_only=True)
            except Exception as error:
                raise ValueError(str(error) or type(error).__name__) from error
        if state["version"] != VERSION:
            raise ValueError(f"it is of version {state['version']}, not {VERSION}")
        for name, checksum in state["files"].items():
            file = self.folder.parent / name
            if not file.is_file() or crc_of(file) != checksum:
                raise ValueError(f"{name}, which was made before it, is {'damaged' if file.is_file() else 'gone'}")
        return state

    def _name(self, file: Path) -> str:
        return file.relative_to(self.folder.parent).as_posix()

    def _files(self) -> list[Path]:
        """The newest first."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)
