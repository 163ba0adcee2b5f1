"""Edits of captions: pure functions from the captions of a folder to other captions.

An edit sees all captions at once, since some need the whole (the most frequent tags first). Edits compare tags by
`tags.tag_key`: case, underscores and backslashes before parentheses do not count. Sentences are texts between commas too.

    captions, reports = apply_edits({"a.png": "cat, 1girl"}, [Remove(tags=("cat",))])

To add one, create a file here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorapipe.captioning.tags import Tags, joined, tags_of
from lorapipe.errors import Problem, counted, shortened
from lorapipe.spec import Spec, param

EXAMPLES = 3
"""Most examples of a report."""
LONGEST_EXAMPLE = 160
"""Most characters of a caption in a message."""


@dataclass(frozen=True)
class Edit(Spec, contract="type"):
    """A change of captions."""

    folder: str = param(
        "",
        "only captions of pictures in this subfolder, and below it: 10_penny, or img/10_penny; empty: all",
    )

    @abstractmethod
    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        """Return the tags of each caption after the edit, in the same order. An empty tuple is an empty caption.

        `InputError` if the edit cannot be applied.
        """

    def problems(self) -> Iterator[Problem]:
        if any(part in ("", ".", "..") for part in self.folder.split("/")) and self.folder:
            what = f"{self.folder!r} is not the name of a subfolder."
            yield Problem(what, cure="Write it as it is below the folder of pictures: 10_penny.", path=("folder",))

    def covers(self, picture: str) -> bool:
        """Return whether the caption of a picture, by its name relative to the folder, is edited."""
        return not self.folder or picture.startswith(f"{self.folder}/")


@dataclass(frozen=True)
class Change:
    """A caption before and after an edit, and the picture's name relative to the folder."""

    picture: str
    before: str
    after: str

    def __str__(self) -> str:
        before, after = (shortened(text, LONGEST_EXAMPLE) or "(empty)" for text in (self.before, self.after))
        return f"{self.picture}: {before} → {after}"


@dataclass(frozen=True)
class EditReport:
    """What an edit did: `changed` of the `total` captions that it covers, with at most `EXAMPLES` examples."""

    edit: str
    folder: str
    changed: int
    total: int
    examples: tuple[Change, ...] = ()

    def lines(self) -> Iterator[str]:
        """Yield the report for people: a line, and one for each example."""
        place = f" in {self.folder}" if self.folder else ""
        number = str(self.changed) if self.changed else "none"
        yield f"{self.edit}{place}: changed {number} of {counted(self.total, 'caption')}"
        yield from (f"  {example}" for example in self.examples)

    def plain(self) -> dict[str, Any]:
        """Return the report as JSON."""
        examples = [{"picture": each.picture, "before": each.before, "after": each.after} for each in self.examples]
        return {
            "edit": self.edit, "folder": self.folder, "changed": self.changed, "total": self.total, "examples": examples
        }  # fmt: skip


def apply_edits(captions: Mapping[str, str], edits: Iterable[Edit]) -> tuple[dict[str, str], list[EditReport]]:
    """Apply edits in order to captions by picture; return the new captions, in the same order, and what each edit did.

    Pictures are named relative to their folder, with `/`. Each line of a caption is a caption of its own. A caption whose
    tags no edit changes keeps its text as it is, spaces included. `InputError` if an edit cannot be applied.
    """
    texts, reports = dict(captions), list[EditReport]()
    for edit in edits:
        covered = [picture for picture in texts if edit.covers(picture)]
        changes = list(_changes(edit, {picture: texts[picture] for picture in covered}))
        texts.update({change.picture: change.after for change in changes})
        reports.append(EditReport(edit.name, edit.folder, len(changes), len(covered), (*changes[:EXAMPLES],)))
    return texts, reports


def _changes(edit: Edit, texts: Mapping[str, str]) -> Iterator[Change]:
    """Yield the captions that an edit changes."""
    lines = [(picture, line) for picture, text in texts.items() for line in (text.split("\n") if text else [""])]
    before = [(*tags_of(line),) for _, line in lines]
    after = edit.edited(before)
    changed: dict[str, list[str]] = {}
    for (picture, line), old, new in zip(lines, before, after, strict=True):
        changed.setdefault(picture, []).append(line if tuple(new) == old else joined(new))
    for picture, new_lines in changed.items():
        text = "\n".join(line for line in new_lines if line)
        if text != texts[picture]:
            yield Change(picture, texts[picture], text)
