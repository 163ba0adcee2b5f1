"""The resume state: checkpoints from which a killed training resumes with the same result.

Data order and noise are functions of (seed, step), so the state is the trainable parameters, the states of optimizer and
gradient scaler, and the step; further the metrics log so far and the checksums of the snapshots. Everything is verified
before it is loaded: a resumed training ends with the same result as an uninterrupted one, or says which file is damaged
and resumes from an earlier state. The format is private; snapshots are the files for users.
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
from lorapipe.training.ema import ExponentialMovingAverage
from lorapipe.training.flat_parameters import FixedAddresses

VERSION = 2
KEPT = 2
"""Checkpoints on disk: the newest, and the one before it should the newest be damaged."""


@dataclass(frozen=True)
class Trainable:
    """The objects whose state changes at each step: parameters by group, optimizer, gradient scaler of fp16, EMA."""

    parameters: Mapping[str, Sequence[torch.nn.Parameter]]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: ExponentialMovingAverage | None = None
    addresses: FixedAddresses | None = None
    """Where the parameters lie that are views of flat ones."""

    def state(self) -> dict[str, Any]:
        """Return the state as tensors and plain values."""
        tensors = {part: [p.detach() for p in parameters] for part, parameters in self.parameters.items()}
        return {
            "parameters": tensors,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            **({"ema": self.ema.state()} if self.ema else {}),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Load a state. ValueError if it belongs to another training."""
        mine = {part: [p.shape for p in parameters] for part, parameters in self.parameters.items()}
        saved = {part: [t.shape for t in tensors] for part, tensors in state["parameters"].items()}
        if mine != saved:
            raise ValueError("its parameters have other shapes")
        if ("ema" in state) != (self.ema is not None):
            raise ValueError("it has an average of the weights, or none, other than this training")
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        with torch.no_grad():
            for part, parameters in self.parameters.items():
                for parameter, tensor in zip(parameters, state["parameters"][part], strict=True):
                    parameter.copy_(tensor)
        if self.ema is not None:
            self.ema.load(state["ema"])


@dataclass(frozen=True)
class Resumed:
    """Where a training resumes: the last step (0: from scratch), its metrics log, and complaints about damaged states.

    `checks` are those of early stopping up to this step, as plain values.
    """

    step: int = 0
    curve: bytes = b""
    complaints: tuple[str, ...] = ()
    checks: Sequence[Mapping[str, Any]] = ()


class Checkpoints:
    """The checkpoints in a folder, named by their step. The folder's parent contains the training's other files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checksums: dict[str, int] = {}
        self._damaged: list[Path] = []

    def add(self, file: Path) -> None:
        """Add a file that the training has written and will not write again: later checkpoints are invalid without it."""
        self._checksums[self._name(file)] = crc_of(file)

    def save(
        self, step: int, trainable: Trainable, curve: bytes = b"", checks: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Save the state after `step` updates, atomically and synced to disk."""
        for left in self.folder.glob(f"*{PART_SUFFIX}"):
            left.unlink(missing_ok=True)
        about = {"version": VERSION, "step": step, "curve": curve, "files": self._checksums}
        about |= {"checks": [*checks]} if checks else {}
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
        """Load the newest intact state whose files are intact too."""
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
                return Resumed(int(state["step"]), state["curve"], tuple(complaints), state.get("checks", ()))
        if complaints:
            complaints.append("There is no earlier state: the training starts again.")
        return Resumed(complaints=tuple(complaints))

    def _read(self, path: Path) -> Any:
        """Read and verify a checkpoint. `ValueError` for damaged bytes, on which the unpickler may raise anything."""
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
        """Return the checkpoints, the newest first."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)
