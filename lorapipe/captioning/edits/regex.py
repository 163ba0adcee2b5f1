"""Replace what a regular expression matches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.edits._bounded_regex import substituted
from lorapipe.captioning.tags import Tags, joined, tags_of
from lorapipe.errors import Problem
from lorapipe.spec import param

LONGEST = 1000
"""Most characters of a pattern and of a replacement."""


@dataclass(frozen=True)
class Regex(Edit):
    r"""Replace what a regular expression (Python's `re`) matches: {pattern: '^(\w+) hair$', replacement: '\1-haired'}.

    It is searched in a process of its own, which ends if it takes too long, as nested repetitions like (a+)+ may.
    """

    pattern: str = param(help="the regular expression, as in Python; (?i) at its beginning ignores case")
    replacement: str = param("", r"what replaces each match; \1 is the first group. Empty: what matches is removed")
    on: Literal["tags", "caption"] = param("tags", "search in each tag alone, or in the whole caption: tag, tag, tag")

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        for name in ("pattern", "replacement"):
            if len(getattr(self, name)) > LONGEST:
                yield Problem(f"has more than {LONGEST} characters.", path=(name,))
                return
        try:
            compiled = re.compile(self.pattern)
        except (re.error, RecursionError, OverflowError) as error:
            yield Problem(f"is not a regular expression: {error}.", path=("pattern",))
            return
        try:
            _same_groups(compiled).sub(self.replacement, "")
        except (re.error, IndexError) as error:
            yield Problem(f"does not fit the pattern: {error}.", path=("replacement",))

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        texts = [[joined(tags)] if self.on == "caption" else [*tags] for tags in captions]
        wanted = [*dict.fromkeys(text for each in texts for text in each)]
        new = dict(zip(wanted, substituted(self.pattern, self.replacement, wanted), strict=True))
        return [tuple(tag for text in each for tag in tags_of(new[text].replace("\n", " "))) for each in texts]


def _same_groups(compiled: re.Pattern[str]) -> re.Pattern[str]:
    """Return a pattern with the same groups that matches nothing but the empty text, at once."""
    names = {number: name for name, number in compiled.groupindex.items()}
    groups = (f"(?P<{names[number]}>)" if number in names else "()" for number in range(1, compiled.groups + 1))
    return re.compile("".join(groups))
