"""`report.json`: the verdict and all scores of an evaluation, for programs; what they mean is said here once."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from lorapipe.evaluation.verdict import State
from lorapipe.spec import JsonDocument, Param


class CellData(TypedDict):
    """A snapshot at a strength; step 0 is the base itself."""

    step: Annotated[int, Param("updates that the snapshot had", ge=0)]
    strength: Annotated[float, Param("of the denoiser's part of the LoRA")]
    text_encoder: Annotated[float, Param("strength of the text encoders' part")]


class AdviceData(TypedDict):
    """What to change, and why."""

    what: str
    patch: Annotated[dict[str, Any], Param("settings of the train stage, dotted, with their new values")]


class VerdictData(TypedDict):
    """What the scores say."""

    state: State
    best: Annotated[CellData, Param("the cell to use, even where nothing is good")]
    headline: Annotated[str, Param("the verdict in a sentence")]
    reasons: list[str]
    advice: list[AdviceData]


class ScoredCell(CellData):
    """The scores of a cell; null where there is none: of the base, and without a CLIP model."""

    likeness: Annotated[float | None, Param("nearness to the training pictures: 0 the base's, 1 theirs to one another")]
    following: Annotated[float | None, Param("how much nearer to the own prompt than to the others: 1 the base's")]
    merit: Annotated[float | None, Param("harmonic mean of the two, each at most 1; the verdict goes by it")]
    clip_i: Annotated[float | None, Param("cosine of CLIP's image vectors to the training pictures'")]
    clip_t: Annotated[float | None, Param("cosine of CLIP's image vectors to the prompts' text vectors")]
    saturation: Annotated[float | None, Param("mean of the pictures, 0 to 1")]
    contrast: Annotated[float | None, Param("mean of the pictures, 0 to 1")]
    diversity: Annotated[float | None, Param("how different pictures of one prompt are")]
    copied: Annotated[
        float | None, Param("share of pictures closer to a training picture than those are to one another")
    ]
    broken: Annotated[bool, Param("whether a picture is of one colour, or of no numbers")]


class ProbeData(TypedDict):
    """Mean losses of a snapshot with fixed noise."""

    training: Annotated[float | None, Param("on training pictures")]
    held_out: Annotated[float | None, Param("on pictures kept from training; null where there are none")]


class ReportData(TypedDict):
    """The verdict on a training and all that it is drawn from. What is no number is null."""

    version: Annotated[Literal[1], Param("of the report's form")]
    verdict: VerdictData
    cells: list[ScoredCell]
    probe: Annotated[dict[str, ProbeData], Param("by step; 0 is the base")]
    prompts: list[str]
    about: Annotated[dict[str, str], Param("what was judged, and how")]


DOCUMENT = JsonDocument("report", ReportData, "Take it away, and run the pipeline again.")
