"""Captions of pictures by a tagger, which the cache keeps by picture and settings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.captioning.taggers import LoadedTagger, Tagger, Tagging
from lorapipe.picture_files import LeftOut
from lorapipe.spec import Source, Value, content
from lorapipe.training.data.cache import Cache, key_of
from lorapipe.training.data.image_reader import Unreadable, reading
from lorapipe.training.data.images import RECIPE, decode
from lorapipe.training.data.prefetch import prefetched

if TYPE_CHECKING:
    from collections.abc import Callable

    Load = Callable[[], LoadedTagger]

VERSION = 1
"""Part of the cache keys: bump when the same tagger and picture give another caption."""
KIND = "tagged"
"""The kind of the cache's entries."""


@dataclass(frozen=True)
class Waiting:
    """A picture that is ready for the tagger, and the key of its caption in the cache."""

    path: str
    key: str
    prepared: Any


class PictureTagger:
    """Captions pictures of a folder with a tagger, which `load` loads when the first picture is not in the cache."""

    def __init__(self, root: Path, tagger: Tagger, cache: Cache, load: Load) -> None:
        self._root, self._tagger, self._cache, self._load = root, tagger, cache, load
        self._loaded: LoadedTagger | None = None
        self._identity = [VERSION, RECIPE, content(tagger, _stats), [_stat(file) for file in tagger.files()]]
        self.cached = 0
        """How many captions were in the cache."""

    def captions(self, pictures: Sequence[str]) -> Iterator[tuple[str, Tagging | LeftOut]]:
        """Yield what the tagger says of each picture, or why it cannot be read; in order, but known ones come first.

        Threads decode pictures while the model computes a batch.
        """
        unknown: dict[str, str] = {}
        for path, found in zip(pictures, prefetched(self._known, pictures), strict=True):
            if isinstance(found, str):
                unknown[path] = found
            else:
                self.cached += isinstance(found, Tagging)
                yield path, found
        if unknown:
            model = self._loaded = self._loaded or self._load()
            waiting = prefetched(partial(self._prepared, model), unknown.items())
            while batch := [*islice(waiting, self._tagger.batch)]:
                yield from self._tagged(model, batch)

    def _known(self, path: str) -> Tagging | LeftOut | str:
        """Return the caption in the cache; else the key for it, or why the picture cannot be read."""
        try:
            with reading(self._root / path) as data:
                key = key_of(*self._identity, hashlib.sha256(data).hexdigest())
        except Unreadable as reason:
            return LeftOut(path, "unreadable", str(reason))
        kept = self._cache.record(KIND, key)
        return key if kept is None else Tagging(kept["caption"], kept["scores"])

    def _prepared(self, model: LoadedTagger, item: tuple[str, str]) -> Waiting | LeftOut:
        path, key = item
        try:
            with reading(self._root / path) as data:
                return Waiting(path, key, model.prepare(decode(data)))
        except Unreadable as reason:
            return LeftOut(path, "unreadable", str(reason))

    def _tagged(
        self, model: LoadedTagger, batch: Iterable[Waiting | LeftOut]
    ) -> Iterator[tuple[str, Tagging | LeftOut]]:
        ready = [each for each in batch if isinstance(each, Waiting)]
        found = dict(zip((each.path for each in ready), model.tag([each.prepared for each in ready]), strict=True))
        for each in ready:
            tagging = found[each.path]
            self._cache.keep_record(KIND, each.key, {"caption": tagging.caption, "scores": dict(tagging.scores)})
        for item in batch:
            yield item.path, item if isinstance(item, LeftOut) else found[item.path]


def _stats(value: Value) -> object:
    return _stat(value.path) if isinstance(value, Source) else value.plain()


def _stat(path: Path) -> list[object]:
    """Return what changes when a file or a folder's files change: names, sizes, modification times."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
