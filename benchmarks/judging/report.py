"""Judges every planted case, and holds the verdicts against the truth: as text."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.judging.cases import NOT_SURE, Judged, agree, judged
from benchmarks.judging.trainings import Group, Training
from lorapipe.evaluation.verdict import Verdict


def report(work: Path, trainings: Sequence[Training]) -> str:
    """The figures of every case, then of each group of subjects, and of each kind."""
    every = [each for training in trainings for each in judged(work, training)]
    lines = [_line(each) for each in every]
    groups = [(group, [each for each in every if each.case.training.group == group]) for group in get_args(Group)]
    kinds = [(f"{what}s", [each for each in every if each.case.training.what == what])
             for what in ("subject", "concept", "style")]  # fmt: skip
    lines += [f"{name}: {len(some)} cases, {_summary(some)}" for name, some in groups + kinds if some]
    return "\n".join(lines)


def _line(each: Judged) -> str:
    mark = "right" if each.right else "     " if each.verdict.state == NOT_SURE else "WRONG"
    part = "" if each.named is None else "; part named" if each.named else "; part NOT named"
    return (
        f"{mark} {each.case.training.key:26} {each.case.name:26} {each.verdict.state:14} {each.verdict.agreement:.2f} "
        f"({'/'.join(dict.fromkeys(each.case.states))}) rho {each.rho:+.2f} regret {each.regret:.2f} "
        f"best {each.verdict.best}{part}; by thirds {', '.join(one.state for one in each.by_third)}"
    )


def _equal(some: Sequence[Judged]) -> list[bool]:
    """Whether all evaluations of a case say the same, as far as they are sure: of each that was painted more than once."""
    said: dict[tuple[str, str], list[Verdict]] = {}
    for each in some:
        said.setdefault((each.case.training.trained_key, each.case.name), []).append(each.verdict)
    return [agree(verdicts) for verdicts in said.values() if len(verdicts) > 1]


def _share(values: Iterable[bool | None]) -> str:
    known = [each for each in values if each is not None]
    return f"{sum(known)} of {len(known)}"


def _summary(some: Sequence[Judged]) -> str:
    good = [each for each in some if {*each.case.states} == {"good"}]
    alarms = statistics.fmean(each.verdict.state not in ("good", NOT_SURE) for each in good) if good else 0.0
    alone = [each for each in some if len({*each.case.states}) == 1]
    return (
        f"states right {statistics.fmean(each.right for each in some):.0%} "
        f"({_share(each.right for each in alone)} where one alone is), wrong "
        f"{statistics.fmean(not each.right and each.verdict.state != NOT_SURE for each in some):.0%}, "
        f"equal over repeats {_share(_equal(some))}, over thirds {statistics.fmean(each.steady for each in some):.0%}, "
        f"parts named {_share(each.named for each in some)}, "
        f"rho {np.nanmean([each.rho for each in some]):.2f}, regret {statistics.fmean(each.regret for each in some):.3f}, "
        f"false alarms {alarms:.0%}"
    )
