"""The report of an import: what became of every key, line by line, with counts that add up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lorapipe.config_import.configuration import KINDS, SECRETS, Configuration, Kind, Option, Outcome
from lorapipe.config_import.draft import scalar
from lorapipe.config_import.mapping import Translation
from lorapipe.errors import Problem, counted, shortened

MOST_LINES = 600
"""Lines of the report that options may take; the rest is counted."""
LONGEST_VALUE = 60
HEADS: Mapping[Kind, str] = {
    "used": "Used: a setting of the same meaning", "translated": "Translated: other settings, or what always happens here",
    "no effect": "Without effect in the original", "refused": "Refused: not offered here", "unknown": "Not understood",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A key of the input, and what became of it."""

    option: Option
    outcome: Outcome

    @property
    def value(self) -> str:
        """The value as text; a secret is hidden."""
        if any(word in self.option.name.lower() for word in SECRETS):
            return "…"
        value = self.option.value
        if isinstance(value, (list, tuple)):
            value = " ".join(map(str, value))
        return shortened(" ".join(value.split()) if isinstance(value, str) else scalar(value), LONGEST_VALUE)

    def as_data(self) -> dict[str, object]:
        """Return JSON types."""
        return {"key": self.option.written, "value": self.value, "file": self.option.file, "line": self.option.line,
                "outcome": self.outcome.kind, "text": self.outcome.text}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What became of a configuration."""

    title: str
    entries: Sequence[Entry]
    effective: Mapping[str, str]
    conflicts: Sequence[str]
    differences: Sequence[str]
    remarks: Sequence[str]
    problems: Sequence[Problem]
    """What has to be mended before the pipeline runs, such as a path of another computer."""

    @property
    def counts(self) -> dict[Kind, int]:
        """The number of keys of each outcome."""
        return {kind: sum(entry.outcome.kind == kind for entry in self.entries) for kind in KINDS}

    def as_data(self) -> dict[str, object]:
        """Return JSON types."""
        return {
            "title": self.title,
            "keys": len(self.entries),
            "counts": {kind.replace(" ", "_"): count for kind, count in self.counts.items()},
            "entries": [entry.as_data() for entry in self.entries],
            "effective": dict(self.effective),
            "conflicts": list(self.conflicts),
            "differences": list(self.differences),
            "remarks": list(self.remarks),
            "problems": [str(problem) for problem in self.problems],
        }

    def as_text(self) -> str:
        """Return the report for people."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        counts = ", ".join(f"{count} {kind}" for kind, count in self.counts.items() if count)
        yield f"{self.title}: {counted(len(self.entries), 'key')}: {counts}."
        left = MOST_LINES
        for kind in KINDS:
            entries = [entry for entry in self.entries if entry.outcome.kind == kind]
            if entries:
                yield from ["", f"{HEADS[kind]} ({len(entries)})"]
                yield from map(_line, entries[:left])
                if len(entries) > left:
                    yield f"  … and {len(entries) - left} more"
                left = max(20, left - len(entries))
        yield from _section("What results", [f"{name}: {text}" for name, text in self.effective.items()])
        yield from _section("What cannot work together in the original", self.conflicts)
        yield from _section("What differs here", self.differences)
        yield from _section("Remarks", self.remarks)
        yield from _section("Before it runs", [str(problem) for problem in self.problems])


def _line(entry: Entry) -> str:
    option = entry.option
    value = "" if option.value is True or option.value in ("", None) else f" {entry.value}"
    return f"  {option.place}  {option.written}{value}  → {shortened(entry.outcome.text, 300)}"


def _section(head: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield from ["", head, *(f"  {shortened(line, 500)}" for line in lines[:100])]
        if len(lines) > 100:
            yield f"  … and {len(lines) - 100} more"


ALWAYS = (
    "files that are equal byte for byte are used once",
    "the order of the pictures, the noise and the caption variants are drawn by lorapipe's own rule, from the seed",
)
OF_KOHYA = (
    "pictures are turned upright by their EXIF data, which sd-scripts ignores",
    "transparent pictures are laid on white; sd-scripts shows the colour that is hidden below, often black",
)
"""Differences that no option is about."""


def report_of(made: Translation, problems: Sequence[Problem]) -> Report:
    """Return the report of a translation."""
    configuration: Configuration = made.configuration
    entries = [Entry(option, made.ledger.of(option) or UNSAID) for option in configuration.keys]
    files = dict.fromkeys(option.file for option in configuration.keys if option.file)
    title = f"{' and '.join(list(files)[:4]) or 'This file'}, {configuration.trainer}, {configuration.script}"
    theirs = [] if configuration.settings else [*ALWAYS]
    theirs += OF_KOHYA if configuration.trainer.startswith("kohya") else ()
    remarks = [*dict.fromkeys(map(str, configuration.remarks))]
    return Report(title, entries, made.effective, [*dict.fromkeys(made.conflicts)],
                  [*dict.fromkeys(made.differences), *theirs], remarks, problems)  # fmt: skip


UNSAID = Outcome("no effect", "it is for another kind of training than this one")
