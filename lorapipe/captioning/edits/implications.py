"""Tags that imply others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.tags import Tags, tag_key, tag_keys, tags_of
from lorapipe.spec import param


@dataclass(frozen=True)
class Implications(Edit):
    """Tags that imply others, as booru sites have them: cat ears are animal ears. Implications of implications count."""

    tags: dict[str, str] = param(help="tag: what it implies, several tags with commas: {cat ears: animal ears}")
    implied: Literal["add", "remove"] = param(
        "add",
        "add the implied tags after the tag, or remove them where a tag of the caption implies them, so that the special "
        "word alone is learnt",
    )

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        direct = {tag_key(tag): (*tags_of(implied),) for tag, implied in self.tags.items()}
        everything = {key: _closure(key, direct) for key in direct}
        change = self._added if self.implied == "add" else self._removed
        return [change(tags, everything) for tags in captions]

    def _added(self, tags: Tags, everything: Mapping[str, Tags]) -> Tags:
        there = {*tag_keys(tags)}
        found = list[str]()
        for tag in tags:
            found.append(tag)
            for implied in everything.get(tag_key(tag), ()):
                if tag_key(implied) not in there:
                    there.add(tag_key(implied))
                    found.append(implied)
        return tuple(found)

    def _removed(self, tags: Tags, everything: Mapping[str, Tags]) -> Tags:
        implied = {tag_key(other) for tag in tags for other in everything.get(tag_key(tag), ())}
        return tuple(tag for tag in tags if tag_key(tag) not in implied)


def _closure(key: str, direct: Mapping[str, Tags]) -> Tags:
    """Return all that a tag implies, nearest first; a tag never implies itself."""
    found: dict[str, str] = {}
    waiting = [*direct.get(key, ())]
    for tag in waiting:  # grows as it goes
        if tag_key(tag) != key and tag_key(tag) not in found:
            found[tag_key(tag)] = tag
            waiting += direct.get(tag_key(tag), ())
    return tuple(found.values())
