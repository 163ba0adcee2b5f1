"""Format a report as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lorapipe.errors import counted
from lorapipe.regular_files import size_in_words

if TYPE_CHECKING:
    from lorapipe.inspection._comparison import Difference, Reading
    from lorapipe.inspection._report import FileReport

WIDTH = 16
LABEL, BAR = 28, 32
"""Columns of a block's name and of the longest bar in the chart of norms."""
MOST = 6
"""Most entries of a list, such as ranks or alphas."""
FACTS = ("title", "base", "base_file", "network", "rank", "alpha", "steps", "epochs", "rate", "unet_rate",
         "text_encoder_rate", "optimizer", "pictures", "resolution", "comment", "date")  # fmt: skip
"""The facts about the training that are shown, in this order; `--json` has all."""


def lines(report: FileReport, readings: Sequence[Reading]) -> Iterator[str]:
    """Yield the report, then a line or more for each reader, then the problems."""
    yield f"{report.file} is {report.what}"
    for label, value in _rows(report):
        if value:
            yield f"  {label:<{WIDTH}}{value}"
    yield from _chart(report.norms)
    if readings:
        yield ""
        yield from _table(readings, report.modules)
    for problem in report.problems:
        yield f"  wrong: {problem}"
    for suspicion in report.suspicions:
        yield f"  suspicious: {suspicion}"


def _rows(report: FileReport) -> Iterator[tuple[str, str]]:
    types = ", ".join(f"{count} {dtype}" for dtype, count in report.dtypes.items())
    yield "file", f"{size_in_words(report.bytes)}, {report.container}, {counted(report.tensors, 'tensor')}: {types}"
    yield "keys", ", ".join(report.formats)
    yield "modules", _counts(report.algorithms, "{count} {name}")
    yield "rank", _counts(report.ranks, "{name} ({count})")
    yield "alpha", _counts(report.alphas, "{name} ({count})")
    for part, found in report.parts.items():
        yield part, f"{counted(found.modules, 'module')}: {_blocks(found.blocks)}"
    for word, encoders in report.words.items():
        sizes = ", ".join(f"{part} ({count} × {width})" for part, (count, width) in encoders.items())
        yield "embedding", f"{word}: {sizes}"
    yield "made for", report.base
    yield "trigger", report.trigger
    yield (
        "training",
        ", ".join(f"{fact.replace('_', ' ')} {report.training[fact]}" for fact in FACTS if fact in report.training),
    )
    yield "tags", ", ".join(f"{tag} {count}" for tag, count in report.tags.items())


def _chart(norms: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Yield a bar for each block, as long as its ‖ΔW‖, on one scale for the whole file."""
    most = max((norm for blocks in norms.values() for norm in blocks.values()), default=0.0)
    if not most:
        return
    yield "  norms of ΔW by block"
    for part, blocks in norms.items():
        for block, norm in blocks.items():
            label = f"{part}, {block}"
            yield f"    {label:<{LABEL}}{norm:>9.3g}  {'█' * max(1, round(BAR * norm / most)) if norm else ''}".rstrip()


def _counts(counts: Mapping[str, int], form: str) -> str:
    """Format the most frequent names with their counts."""
    some = [*counts.items()][:MOST]
    told = ", ".join(form.format(name=name, count=count) for name, count in some)
    return f"{told} and {len(counts) - MOST} more" if len(counts) > MOST else told


def _blocks(blocks: Mapping[str, int]) -> str:
    """Format blocks: `down_blocks 0–2, mid_block, layers 0–11`."""
    numbers: dict[str, list[int]] = {}
    for block in blocks:
        name, _, number = block.rpartition(" ")
        numbers.setdefault(name or number, []).extend([int(number)] if name else [])
    return ", ".join(f"{name} {_ranges(sorted(found))}".strip() for name, found in numbers.items())


def _ranges(numbers: Sequence[int]) -> str:
    """Format sorted numbers as ranges: `0–2, 5`."""
    if not numbers:
        return ""
    text, first, last = "", numbers[0], numbers[0]
    for number in [*numbers[1:], -1]:
        if number != last + 1:
            text += f", {first}" if first == last else f", {first}–{last}"
            first = number
        last = number
    return re.sub("^, ", "", text)


def _table(readings: Sequence[Reading], modules: int) -> Iterator[str]:
    yield f"  {'program':<{WIDTH}}{'loaded':>9}  differences from the correct result"
    for reading in readings:
        count = f"{reading.loaded}/{modules}" if modules else ""
        first, *others = [*remarks(reading)] or ["nothing"]
        yield f"  {reading.title:<{WIDTH}}{count:>9}  {first}"
        yield from (f"  {'':<{WIDTH}}{'':>9}  {other}" for other in others)


def remarks(reading: Reading) -> Iterator[str]:
    if reading.refused:
        yield f"refuses the file: {reading.refused}"
    for why, count in reading.ignored.items():
        yield f"{counted(count, 'module')} ignored: {why}"
    yield from map(_difference, reading.differences)
    if reading.words:
        yield f"embeddings: {reading.words}" if "are" in reading.words.split()[:1] else f"the embedding {reading.words}"


def _difference(found: Difference) -> str:
    about = "about " if found.is_estimate else ""
    told = [f"ΔW is off by {about}{100 * found.error:.3g} %"] if found.error > 1e-4 else []
    if abs(found.half - 0.5) > 1e-4:
        told.append(f"strength 0.5 gives {found.half:.2g} of ΔW")
    return f"{found.modules} {found.kind}: {'; '.join(told)}"
