"""Read the tensors of a base's checkpoint by the names of its model's modules, one at a time.

The checkpoint is a single file in the original layout or a diffusers folder, of fp16, bf16 or fp32, of any family that knows
the places of its tensors (`Family.tensor_places`). No model is built, no library of models is imported, and only the rows
that are asked for are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from lorapipe.lora_tools.weight_file import WeightFile
from lorapipe.models import Family, Shape, TensorPlace
from lorapipe.models._tensor_index import flat

Name = tuple[str, str]
"""(part, tensor's name in the part's module, without `text_model.`): `("unet", "conv_in.weight")`."""


class CheckpointTensors:
    """The tensors of a base, by part and name. `InputError` for files that cannot be read, at the first use."""

    def __init__(self, base: Family) -> None:
        self.base = base
        self.places = base.tensor_places()
        self._files: dict[Path, WeightFile] = {}

    def __contains__(self, name: Name) -> bool:
        return name in self.places

    def dtype(self, name: Name) -> torch.dtype:
        """Return the number type of a tensor in its file."""
        place = self.places[name]
        return self._file(place).tensors[place.key].dtype

    def shape(self, name: Name) -> Shape:
        """Return the shape of a tensor, without the trailing ones of a 1×1 convolution: files differ in them."""
        place = self.places[name]
        first, *others = self._file(place).tensors[place.key].shape or (1,)
        if place.is_transposed:
            return (*others, first)
        return flat((first // place.slices, *others))

    def read(self, name: Name) -> Tensor:
        """Return a tensor in its file's number type, in the shape of `shape`."""
        found = self.stored(name)
        return found.T.contiguous() if self.places[name].is_transposed else found.reshape(self.shape(name))

    def stored(self, name: Name) -> Tensor:
        """Return a tensor as its file has it, of a stack its slice."""
        place = self.places[name]
        return self._file(place).at(place)

    def pieces(self, name: Name) -> Iterator[tuple[int, Tensor]]:
        """Yield the rows of a tensor in pieces, each with the number of its first row."""
        place, shape = self.places[name], self.shape(name)
        file = self._file(place)
        if place.is_transposed or not file.tensors[place.key].shape:
            yield 0, self.read(name)
            return
        start = place.slice_index * shape[0]
        for row, piece in file.pieces(place.key, start, start + shape[0]):
            yield row - start, piece.reshape(-1, *shape[1:])

    def _file(self, place: TensorPlace) -> WeightFile:
        if place.file not in self._files:
            self._files[place.file] = WeightFile(place.file)
        return self._files[place.file]
