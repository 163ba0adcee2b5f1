"""Underscores in tags to spaces, or back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.tags import Tags, spaced, underscored
from lorapipe.spec import param


@dataclass(frozen=True)
class Underscores(Edit):
    """Turn underscores in tags into spaces, which most text encoders know better, or back. Faces such as o_o stay."""

    to: Literal["spaces", "underscores"] = param("spaces", "what stands between the words of a tag afterwards")

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        convert = spaced if self.to == "spaces" else underscored
        return [tuple(map(convert, tags)) for tags in captions]
