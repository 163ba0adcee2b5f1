"""Limits on the resources that a dropped folder may request, since an inbox is open to others who share the machine.

The requests of the owner's pipeline itself are always allowed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from lorapipe.captioning.edits import Edit
from lorapipe.errors import Problem
from lorapipe.pipeline.demand import Demand
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.spec import Spec, knobs
from lorapipe.watch.settings import WatchSettings


@dataclass(frozen=True)
class Requested:
    """The resources that a pipeline requests, named by the settings that limit them."""

    most_stages: int
    most_steps: int
    most_painted: int
    most_snapshots: int
    most_edits: int
    most_rank: int
    most_batch: int
    largest_resolution: int


WORDS = {
    "most_stages": "{} stages",
    "most_steps": "{} steps of training",
    "most_painted": "{} generated pictures",
    "most_snapshots": "{} snapshots",
    "most_edits": "{} caption edits",
    "most_rank": "a rank of {}",
    "most_batch": "batches of {}",
    "largest_resolution": "pictures of {} pixels",
}


def asked(pipeline: Pipeline, pictures: int) -> Requested:
    """Return the resources that a pipeline requests with this number of pictures, repeats included."""
    total, edits, sizes = Demand(), 0, dict.fromkeys(("rank", "batch", "resolution"), 0)
    for stage in pipeline.stages.values():
        total += stage.demand(pipeline.stages, pictures)
        edits += _edits(stage)
        for name, size in _sizes(stage):
            sizes[name] = max(sizes[name], size)
    return Requested(
        most_stages=len(pipeline.stages),
        most_steps=total.steps,
        most_painted=total.painted,
        most_snapshots=total.snapshots,
        most_edits=edits,
        most_rank=sizes["rank"],
        most_batch=sizes["batch"],
        largest_resolution=sizes["resolution"],
    )


def too_much(own: Requested, trusted: Requested, settings: WatchSettings) -> Iterator[Problem]:
    """Yield problems for requests that exceed both the limits and the requests of the owner's pipeline."""
    for name, words in WORDS.items():
        limit, size = getattr(settings, name), getattr(own, name)
        if size > max(limit, getattr(trusted, name)):
            what = f"asks for {words.format(f'{size:,}')}; the limit for a dropped folder is {limit:,}."
            yield Problem(what, cure=f"Ask for less, or let the inbox's owner raise the limit: --set watch.{name}=N.")


def _edits(stage: Spec) -> int:
    """Return the number of caption edits of a stage."""
    lists = (value for knob in knobs(type(stage)) if isinstance(value := getattr(stage, knob.name), tuple))
    return sum(isinstance(each, Edit) for value in lists for each in value)


def _sizes(spec: Spec) -> Iterator[tuple[str, int]]:
    """Yield the ranks, batch sizes and resolutions in a spec and its nested specs."""
    assert dataclasses.is_dataclass(spec)
    for knob in knobs(type(spec)):
        yield from _sizes_of(knob.name, getattr(spec, knob.name))


def _sizes_of(name: str, value: object) -> Iterator[tuple[str, int]]:
    if isinstance(value, Spec):
        yield from _sizes(value)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _sizes_of(name, item)
    elif isinstance(value, int) and not isinstance(value, bool):
        if name.endswith(("rank", "ranks")):
            yield "rank", value
        elif name == "batch":
            yield "batch", value
        elif name.endswith("bucket_reso"):
            yield "resolution", value
    elif hasattr(value, "width") and hasattr(value, "height"):
        yield "resolution", max(value.width, value.height)
