"""Diagnosis of a training: what one rule of the verdict says of it, and the shares and words that rules have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lorapipe.evaluation.advice import Advice
from lorapipe.evaluation.results import Kind, Results
from lorapipe.evaluation.selection import Scores, following, identity
from lorapipe.percent import percent

State = Literal[
    "good",
    "under-trained",
    "over-trained",
    "copies",
    "no effect",
    "broken",
    "style not shown",
    "burns",
    "leaks",
    "wrong captions",
    "not sure",
]

WEAK: Mapping[Kind, float] = {"subject": 0.4, "style": 0.6}
"""Identity below this is a family resemblance, no likeness; see `scorer.IDENTITY` for the two scales."""
FAITHLESS = 0.5
"""Following below this: most of what the prompt asks for is missing."""
PRESENT = 0.3
"""Identity above this is a picture with the subject in it, if not all of it."""


@dataclass(frozen=True)
class Diagnosis:
    """What a rule found: the state of the training, what to use, and what to change."""

    state: State
    headline: str
    advice: tuple[Advice, ...] = ()


def use(results: Results) -> str:
    """The beginning of a headline: what to use."""
    return f"Use {results.best}"


def is_weak(results: Results, scores: Scores) -> bool:
    """Whether a cell shows no more than a family resemblance."""
    return identity(scores) < WEAK[results.kind]


def shown(results: Results, scores: Scores, between: str = ", ") -> str:
    """How much a cell shows of the subject or style, and of what its prompts ask for; `between` stands between both."""
    asked = following(scores)
    prompts = "" if asked is None else f"{between}{percent(asked)} of the prompts"
    return f"{percent(identity(scores))} of the {results.kind}{prompts}"
