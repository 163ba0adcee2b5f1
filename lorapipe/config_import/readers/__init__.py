"""Readers of configurations of other trainers: one file for each format.

A reader recognises a file by its content and returns its options under kohya's names, each with its line; options that have
no such name have their outcome already. It executes nothing, and follows no links: `lorapipe.config_import.linked_files`
reads the files that options name.

To add one, create a file here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from lorapipe.config_import.configuration import Configuration
from lorapipe.config_import.source_file import SourceFile
from lorapipe.registry import Registry


class Reader(ABC):
    """A format of configurations."""

    registry: ClassVar[Registry[Reader]]
    title: ClassVar[str]
    """What a file of the format is, with an article: `a script of kohya's sd-scripts`."""
    place: ClassVar[int] = 50
    """Readers with a lower number are asked first, where a file might be of several formats."""

    @abstractmethod
    def recognises(self, source: SourceFile) -> bool:
        """Whether the file is of this format. `InputError` where it is, but cannot be parsed."""

    @abstractmethod
    def read(self, source: SourceFile) -> Configuration:
        """Return the file's options. `InputError` where there is no training in it."""


Reader.registry = Registry(__name__, Reader)  # type: ignore[type-abstract]


def reader_of(source: SourceFile) -> Reader | None:
    """Return the reader of a file; None if no format is recognised."""
    classes = [Reader.registry.get(name) for name in Reader.registry.names()]
    readers = [found() for found in sorted(classes, key=lambda each: (each.place, each.title))]
    return next((reader for reader in readers if reader.recognises(source)), None)
