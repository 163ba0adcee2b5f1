"""Sizes, copies and likeness of a folder's pictures, found by a thread while the page is used."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lorapipe.supervised_thread import SupervisedThread
from lorapipe.training.data.buckets import Buckets

if TYPE_CHECKING:
    from lorapipe.starting_settings.picture_facts import PictureFacts
    from lorapipe.tag_editor.edited_folder import EditedFolder

NEAREST = 60
"""Most pictures that are said to look like one."""


@dataclass(frozen=True)
class ScannedPictures:
    """What is known of the pictures: facts by name, and copy → the picture that it repeats; `ready` when nothing is left."""

    facts: Mapping[str, PictureFacts] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    ready: bool = False

    @property
    def signatures(self) -> dict[str, bytes]:
        """The signatures of the pictures that were looked at."""
        return {name: found.signature for name, found in self.facts.items() if found.signature}


class PictureScan:
    """ScannedPictures at a folder's pictures in the background, once it is started; `now` is what is known so far."""

    def __init__(self, folder: EditedFolder, side: int) -> None:
        self.now = ScannedPictures()
        self._folder = folder
        self._buckets = Buckets((side, side), side // 2, 2 * side, 64)
        self._is_over = self._has_begun = False
        self._guard = threading.Lock()
        self._thread = SupervisedThread("picture scan", self._run)

    def start(self) -> None:
        """Begin to scan, unless that was begun."""
        with self._guard:
            if not self._has_begun:
                self._has_begun = True
                self._thread.start()

    def close(self) -> None:
        """End after the pictures that are being read."""
        self._is_over = True

    def _run(self) -> None:
        from lorapipe.starting_settings.picture_facts import look, near_duplicates

        seen = -1
        while not self._is_over:
            facts = look(self._folder.root, self._folder.contents, further=seen >= 0)
            self.now = ScannedPictures(facts)
            before, seen = seen, len(self.now.signatures)
            if seen in (before, len(self._folder.pictures)):  # the rest cannot be read
                break
        copies = near_duplicates(self._folder.root, self.now.facts, lambda name: "")
        self.now = ScannedPictures(self.now.facts, copies, True)

    def bucket(self, name: str) -> str:
        """Return the bucket of a picture, `512x768`; empty where its size is not known, or fits none."""
        found = self.now.facts.get(name)
        fit = self._buckets.fit(found.size) if found else None
        return f"{fit.bucket[0]}x{fit.bucket[1]}" if fit else ""

    def similar(self, name: str) -> list[str]:
        """Return the pictures that look most like one, the most alike first; none while it was not looked at."""
        from lorapipe.caption_analysis.picture_neighbours import looks, nearest

        signatures = self.now.signatures
        if name not in signatures:
            return []
        names = [*signatures]
        found = nearest(looks([*signatures.values()]), names.index(name), NEAREST)
        return [names[place] for place, _ in found]
