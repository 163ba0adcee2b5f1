"""Limits on the resources that a dropped folder may request, since an inbox is open to others who share the machine.

The requests of the owner's pipeline itself are always allowed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

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
    most_rank: int
    most_batch: int
    largest_resolution: int


WORDS = {
    "most_stages": "{} stages",
    "most_steps": "{} steps of training",
    "most_painted": "{} generated pictures",
    "most_snapshots": "{} snapshots",
    "most_rank": "a rank of {}",
    "most_batch": "batches of {}",
    "largest_resolution": "pictures of {} pixels",
}


def asked(pipeline: Pipeline, pictures: int) -> Requested:
    """Return the resources that a pipeline requests with this number of pictures, repeats included."""
    total, sizes = Demand(), dict.fromkeys(("rank", "batch", "resolution"), 0)
    for stage in pipeline.stages.values():
        total += stage.demand(pipeline.stages, pictures)
        for name, size in _sizes(stage):
            sizes[name] = max(sizes[name], size)
    stages = len(pipeline.stages)
    return Requested(
        stages, total.steps, total.painted, total.snapshots, sizes["rank"], sizes["batch"], sizes["resolution"]
    )


def too_much(own: Requested, trusted: Requested, settings: WatchSettings) -> Iterator[Problem]:
    """Yield problems for requests that exceed both the limits and the requests of the owner's pipeline."""
    for name, words in WORDS.items():
        limit, size = getattr(settings, name), getattr(own, name)
        if size > max(limit, getattr(trusted, name)):
            what = f"asks for {words.format(f'{size:,}')}; the limit for a dropped folder is {limit:,}."
            yield Problem(what, cure=f"Ask for less, or let the inbox's owner raise the limit: --set watch.{name}=N.")


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
