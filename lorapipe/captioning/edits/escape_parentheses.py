"""Backslashes before parentheses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.tags import Tags
from lorapipe.spec import param

PARENTHESIS = re.compile(r"\\*([()])")


@dataclass(frozen=True)
class EscapeParentheses(Edit):
    r"""Write parentheses in tags as \( and \), for trainings with weighted captions and for prompts; or back."""

    back: bool = param(False, "remove the backslashes instead")

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        form = r"\1" if self.back else r"\\\1"
        return [tuple(PARENTHESIS.sub(form, tag) for tag in tags) for tags in captions]
