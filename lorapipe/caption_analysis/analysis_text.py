"""The analysis of captions as text for a terminal: what matters first, each list cut to what fits a screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lorapipe.caption_analysis.analysis import CaptionAnalysis
from lorapipe.caption_analysis.tag_index import TagCount
from lorapipe.caption_analysis.tagger_comparison import TagDifference
from lorapipe.errors import counted

SHOWN = 20
"""Tags in the table of frequencies."""
FEW = 8
"""Entries of other lists."""
BAR = 24
"""Characters of the longest bar."""
LONGEST = 48
"""Most characters of a tag in a table."""


def text_of(analysis: CaptionAnalysis, folder: str) -> str:
    """Return the whole report; `folder` is its name in the title."""
    return "\n".join(_lines(analysis, folder))


def _lines(found: CaptionAnalysis, folder: str) -> Iterator[str]:
    kind = "sentences" if found.sentences * 2 > max(1, found.captioned) else "tags"
    without = f", {len(found.without_caption)} without a caption" if found.without_caption else ""
    yield f"{folder}: {counted(found.pictures, 'picture')}{without}; {kind}, {len(found.tags)} different"
    yield from _section("Trigger word", _trigger(found))
    yield from _section("Most frequent", _frequencies(found))
    yield from _section("In nearly all captions", _always(found))
    yield from _section("Never varied", _never_varied(found))
    yield from _section("Always together, so learnt as one", _together(found))
    yield from _section("Mostly together", _pairs(found))
    yield from _section("Probably one tag", _spellings(found))
    yield from _section("In one caption only", _once(found))
    yield from _section("Longer than what is read", _too_long(found))
    yield from _section("Unlike the other captions", [_some([each.picture for each in found.unusual])])
    yield from _section("Unlike the captions of pictures that look alike", _unlike_neighbours(found))
    yield from _section("In the pictures, not in the captions", _differences(found.not_captioned))
    yield from _section("In the captions, not seen by the tagger", _differences(found.not_seen))
    yield from _section("Without a caption", [_some(found.without_caption)])
    yield from _section("Caption files", [*found.complaints[:FEW], _more(found.complaints)])


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    kept = [line for line in lines if line]
    if kept:
        yield from ("", title, *(f"  {line}" for line in kept))


def _trigger(found: CaptionAnalysis) -> list[str]:
    if not found.trigger:
        return ["None: no tag is in nearly all captions. --trigger WORD names one."] if found.captioned > 1 else []
    given = "" if found.trigger_given else ", the first tag that nearly all captions have"
    if not found.lacking:
        return [f"{found.trigger}{given}: in all {found.captioned} captions"]
    return [f"{found.trigger}{given}: not in {len(found.lacking)} of {found.captioned} captions", _some(found.lacking)]


def _frequencies(found: CaptionAnalysis) -> list[str]:
    top = found.tags[:SHOWN]
    width = max((len(each.tag[:LONGEST]) for each in top), default=0)
    rows = [
        f"{each.tag[:LONGEST]:<{width}}  {each.count:>6}  {'█' * round(BAR * each.count / max(1, found.captioned))}".rstrip()
        for each in top
    ]
    more = f"and {len(found.tags) - SHOWN} more; --json has all" if len(found.tags) > SHOWN else ""
    return [*rows, more]


def _always(found: CaptionAnalysis) -> list[str]:
    others = [each for each in found.always if each.tag != found.trigger.lower()]
    if not others:
        return []
    why = "They melt into the trigger word: what they name cannot be left out of pictures, or changed, later."
    return [_counts(others), why]


def _never_varied(found: CaptionAnalysis) -> list[str]:
    if not found.never_varied:
        return []
    why = "No other value of these occurs: pictures with another one teach that they can change."
    return [_counts(found.never_varied), why]


def _together(found: CaptionAnalysis) -> list[str]:
    return [*(" + ".join(tags[:FEW]) for tags in found.together[:FEW]), _more(found.together)]


def _pairs(found: CaptionAnalysis) -> list[str]:
    known = {frozenset(pair) for tags in found.together for pair in ((a, b) for a in tags for b in tags)}
    pairs = [pair for pair in found.pairs if frozenset((pair.first, pair.second)) not in known]
    rows = [f"{pair.first} + {pair.second}: both in {pair.both}, either in {pair.either}" for pair in pairs[:FEW]]
    return [*rows, _more(pairs)]


def _spellings(found: CaptionAnalysis) -> list[str]:
    rows = [
        f"{each.tag} ({each.count}) → {each.better} ({each.better_count})"
        + (", misspelt" if each.kind == "misspelling" else "")
        for each in found.spellings[:FEW]
    ]
    return [*rows, _more(found.spellings)]


def _once(found: CaptionAnalysis) -> list[str]:
    if not found.once:
        return []
    return [f"{counted(len(found.once), 'tag')}: {_some(found.once)}", "Too little to learn; such a tag does no harm."]


def _too_long(found: CaptionAnalysis) -> list[str]:
    rows = [f"{each.picture}: at least {each.tokens} tokens" for each in found.too_long[:FEW]]
    why = (
        f"{counted(len(found.too_long), 'caption')} of more than {found.max_tokens} tokens; the rest of each is cut off"
    )
    return [f"{why}.", *rows, _more(found.too_long)] if rows else []


def _unlike_neighbours(found: CaptionAnalysis) -> list[str]:
    if found.unlike_neighbours is None:
        return ["Not looked for: the pictures were not looked at (--pictures yes)."]
    rows = [f"{each.picture}, beside {', '.join(each.neighbours[:3])}" for each in found.unlike_neighbours[:FEW]]
    return [*rows, _more(found.unlike_neighbours)]


def _differences(found: Sequence[TagDifference] | None) -> list[str]:
    rows = [
        f"{each.tag}: {len(each.pictures)}, such as {', '.join(each.pictures[:3])}" for each in (found or ())[:SHOWN]
    ]
    more = f"and {len(found) - SHOWN} more" if found and len(found) > SHOWN else ""
    return [*rows, more]


def _counts(tags: Sequence[TagCount]) -> str:
    return _some([f"{each.tag} ({each.count})" for each in tags])


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - FEW} more" if len(items) > FEW else ""
    return f"{', '.join(items[:FEW])}{more}"


def _more(items: Sequence[object]) -> str:
    return f"and {len(items) - FEW} more" if len(items) > FEW else ""
