"""What stages that sample pictures of prompts share as specs: knobs, each written once, and the checks of their prompts."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lorapipe.errors import Problem
from lorapipe.spec import param
from lorapipe.stages import Stage, _prompt_syntax


def negative_prompt() -> Any:
    """Declare what the pictures should not show."""
    return param("", "things that the pictures should not show")


def seed() -> Any:
    """Declare the seed of each prompt's first picture."""
    return param(0, "seed of each prompt's first picture; the other pictures have the next numbers", ge=0)


def steps() -> Any:
    """Declare the number of sampling steps."""
    return param(25, "sampling steps of a picture", ge=1, le=1000)


def sampler() -> Any:
    """Declare the solver, a `SolverName`."""
    return param("dpm++", "the solver: dpm++ (2M Karras), ddim or euler", kohya=("sample_sampler",), rare=True)


def size(usual: str) -> Any:
    """Declare the size of the pictures; `usual` says what it is where it is empty."""
    return param(None, f"size of the pictures in pixels: 512, or 512x768 (width x height); by default {usual}")


def embeddings(more: str = "") -> Any:
    """Declare the files of words that prompts may contain; `more` ends the sentence."""
    text = "embedding files whose words prompts and negative_prompt may contain, by the files' names"
    return param((), text + more, shelf="embeddings", rare=True)


def batch() -> Any:
    """Declare how many pictures are sampled at once."""
    text = "pictures sampled at once; more is faster on a GPU and needs more memory"
    return param(4, text, ge=1, le=256, content=False, rare=True)


def precision() -> Any:
    """Declare the number type of the base."""
    text = "number type of the base in memory. auto: bf16 on a GPU that has it, else fp16; fp32 on a CPU"
    return param("auto", text, rare=True)


class PromptChecks(Stage, ABC):
    """A stage whose `prompts` are checked for the syntax of other programs, and for tags that no caption says."""

    if TYPE_CHECKING:

        @property
        def prompts(self) -> tuple[str, ...]: ...

    def notices(self) -> Iterator[Problem]:
        return _prompt_syntax.notices(self.prompts, "prompts")

    def cautions(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        from lorapipe.stages._trigger import behind, never_said

        return never_said(self.prompts, "prompts", behind(self, stages), stages)
