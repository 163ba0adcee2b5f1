"""Plan a run: which stages run, which are reused, and why. Planning writes nothing.

If a stage has to run, the keys of the stages after it are unknown until it has finished: they are planned as `run`, and
decided again when their inputs exist (`decide`). If the new result has the same bytes as the old, they are reused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lorapipe.pipeline import references
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.keys import CachedDigests, Identity, PathDigests, identify
from lorapipe.pipeline.ledger import Damage, Ledger, Result
from lorapipe.pipeline.manifest import Manifest
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.stages import Stage

MOST_NAMES = 12
"""Most stages that a reason names."""


class PlannedStage(NamedTuple):
    """Whether one stage runs or is reused, and why.

    `identity` and `stage` (with references resolved) are None while an input does not exist yet; `result` is the reused one.
    """

    name: str
    action: Literal["run", "reuse"]
    reason: str
    stage: Stage | None = None
    identity: Identity | None = None
    result: Result | None = None


@dataclass(frozen=True)
class Plan:
    """What happens to each stage of a pipeline, in the order of execution."""

    stages: tuple[PlannedStage, ...]

    @property
    def artifacts(self) -> dict[str, Artifact] | None:
        """The artifacts by stage, where nothing has to run; else None."""
        found = {step.name: step.result.artifact for step in self.stages if step.result is not None}
        return found if len(found) == len(self.stages) else None

    def last_seconds(self, pipeline: Pipeline, ledger: Ledger) -> dict[str, float | None]:
        """Return how long each stage that has to run took last time; None if unknown."""
        found: dict[str, float | None] = {}
        for step in self.stages:
            if step.action == "run":
                _, last = _last(pipeline, step.name, ledger)
                found[step.name] = None if last is None else float(last["finished"]) - float(last["started"])
        return found


def expected_seconds(last: Mapping[str, float | None]) -> float | None:
    """Estimate the seconds of a plan from the last runs; None if one of its stages never ran."""
    known = [seconds for seconds in last.values() if seconds is not None]
    return sum(known) if len(known) == len(last) else None


def plan(pipeline: Pipeline, ledger: Ledger, anew: Set[str] = frozenset()) -> Plan:
    """Plan a run of the pipeline; stages in `anew` always run. `InputError` if a source cannot be read."""
    artifacts: dict[str, Artifact] = {}
    steps = []
    look = CachedDigests(ledger.digests)
    for name, stage in pipeline.stages.items():
        waits_for = [need for need in pipeline.needs[name] if need not in artifacts]
        if waits_for:
            steps.append(PlannedStage(name, "run", f"after {_few(waits_for)}"))
            continue
        step = decide(pipeline, name, references.resolve(stage, artifacts), ledger, anew, look)
        if step.result is not None:
            artifacts[name] = step.result.artifact
        steps.append(step)
    return Plan(tuple(steps))


def _few(names: Sequence[str]) -> str:
    """List names, shortened: `a and b`, `a and b and 7 more`."""
    return " and ".join(
        names if len(names) <= MOST_NAMES else [*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} more"]
    )


def decide(
    pipeline: Pipeline,
    name: str,
    stage: Stage,
    ledger: Ledger,
    anew: Set[str] = frozenset(),
    look: PathDigests | None = None,
) -> PlannedStage:
    """Decide whether a stage with resolved references runs. `look` has digests that were computed before."""
    identity = identify(stage, look or ledger.digests)
    if name in anew:
        return PlannedStage(name, "run", "requested", stage, identity)
    found = ledger.result(identity.key, references.inputs(stage))
    if isinstance(found, Result):
        return PlannedStage(name, "reuse", "unchanged", stage, identity, found)
    reason = _reason(pipeline, name, ledger, identity, found)
    if ledger.has_checkpoint(identity.key):
        reason = f"{reason}; resumes where it stopped"
    return PlannedStage(name, "run", reason, stage, identity)


def _last(pipeline: Pipeline, name: str, ledger: Ledger) -> tuple[str | None, Manifest | None]:
    """Return the key and manifest of a stage's last result; None if there was none, or if it is gone."""
    key = ledger.records.last_key(pipeline.name, name, pipeline.stages[name].key_name)
    return key, None if key is None else ledger.manifest(key)


def _reason(pipeline: Pipeline, name: str, ledger: Ledger, identity: Identity, damage: Damage | None) -> str:
    if damage is not None and damage.moved:
        return f"{damage.what} was moved or deleted"
    if damage is not None:
        return f"its result is damaged: {damage.what}{f' ({damage.why})' if damage.why else ''}"
    key, last = _last(pipeline, name, ledger)
    if key is None:
        return "first run"
    if last is None:
        return "its last result is gone"
    from lorapipe.pipeline.diff import why  # here, as an unchanged pipeline needs no comparison

    return why(last, identity)
