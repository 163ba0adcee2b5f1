"""`report.json`: the verdict and all scores of an evaluation, for programs; what they mean is said here once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypedDict

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
    agreement: Annotated[
        float, Param("share of other draws of prompts and noises that give the same state", ge=0, le=1)
    ]
    headline: Annotated[str, Param("the verdict in a sentence")]
    reasons: list[str]
    advice: list[AdviceData]


class TagData(TypedDict):
    """How much more of a tag the pictures show that ask for it than those that do not."""

    effect: Annotated[float, Param("1 as much as training pictures with the tag and without it differ, 0 nothing")]
    error: Annotated[float, Param("its standard error", ge=0)]
    captions: Annotated[int, Param("so many captions have the tag", ge=0)]


class ScoredCell(CellData):
    """The scores of a cell; null where there is none."""

    identity: Annotated[float | None, Param("how much of the subject or style the pictures show: 0 none, 1 all of it")]
    following: Annotated[float | None, Param("how much of the prompts the pictures show: 1 as much as the base's")]
    merit: Annotated[float | None, Param("identity × following × what has no artefacts; the verdict goes by it")]
    merit_error: NotRequired[Annotated[float | None, Param("standard error of the merit, by leaving out pictures")]]
    measures: Annotated[dict[str, float], Param("the mean of every measure over the pictures, by its name")]
    tags: Annotated[
        dict[str, TagData], Param("tags of prompts whose effect can be told, by what the captions taught of them")
    ]
    saturation: Annotated[float | None, Param("mean of the pictures, 0 to 1")]
    contrast: Annotated[float | None, Param("mean of the pictures, 0 to 1")]
    broken: Annotated[bool, Param("whether a picture is of one colour, or of no numbers")]


class ProbeData(TypedDict):
    """Mean losses of a snapshot with fixed noise."""

    training: Annotated[float | None, Param("on training pictures")]
    held_out: Annotated[float | None, Param("on pictures kept from training; null where there are none")]


class OnBaseData(TypedDict):
    """The chosen snapshot on one of several bases."""

    name: Annotated[str, Param("the checkpoint's")]
    strength: Annotated[float, Param("the strength that the snapshot needs there")]
    works: Annotated[bool, Param("whether it works there")]
    failure: Annotated[str, Param("why it does not; empty where it works")]
    identity: Annotated[float | None, Param("see the cells; of what this base's own pictures are 0")]
    following: Annotated[float | None, Param("see the cells")]
    merit: Annotated[float | None, Param("see the cells")]


class ReportData(TypedDict):
    """The verdict on a training and all that it is drawn from. What is no number is null."""

    version: Annotated[Literal[2], Param("of the report's form")]
    verdict: VerdictData
    cells: list[ScoredCell]
    idle_tags: Annotated[list[str], Param("tags that change nothing in the best cell's pictures")]
    apart: Annotated[
        list[ScoredCell],
        Param(
            "the last sound snapshot with one part at another strength, and with both at 1, of the first `apart_prompts` "
            "prompts; empty where that was not sampled"
        ),
    ]
    apart_prompts: Annotated[int, Param("so many prompts `apart` is of", ge=0)]
    probe: Annotated[dict[str, ProbeData], Param("by step; 0 is the base")]
    bases: NotRequired[
        Annotated[
            list[OnBaseData], Param("where it was sampled on several bases: each of them, that of the weights first")
        ]
    ]
    prompts: list[str]
    about: Annotated[dict[str, str], Param("what was judged, and how")]


DOCUMENT = JsonDocument("report", ReportData, "Take it away, and run the pipeline again.")


def at_full_strength(data: ReportData) -> Mapping[str, Any]:
    """The cell of the best snapshot at strength 1: the verdict's choice if it is at that strength, else the one of the
    highest merit there. A cell without scores if nothing was sampled at strength 1.
    """
    best = data["verdict"]["best"]
    cells = [cell for cell in data["cells"] if cell["strength"] == cell["text_encoder"] == 1]
    chosen = next((cell for cell in cells if cell["step"] == best["step"]), None)
    if chosen is None or best["strength"] != 1:
        chosen = max(cells, key=lambda cell: cell["merit"] or 0.0, default=chosen)
    return {"step": best["step"]} if chosen is None else chosen
