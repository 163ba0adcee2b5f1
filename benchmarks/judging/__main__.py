"""Are the verdicts right? Planted trainings of drawn subjects, judged, beside what the drawings' classifier sees.

python -m benchmarks.judging [--work FOLDER] [paint | report]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.judging.grids import paint_all
from benchmarks.judging.report import report
from benchmarks.judging.trainings import REPORTED, TUNED, Training, styles, trainings


def planted() -> list[Training]:
    """All trainings, those first that the figures need most."""
    of = {subject: {each.name: each for each in trainings(subject)} for subject in (*TUNED, *REPORTED)}
    first, then = (TUNED[0], REPORTED[0]), (TUNED[1], REPORTED[1])
    rounds = [(first, ("good", "fast", "few")), (first, ("broken", "slow", "leak"))]
    rounds += [(then, ("good", "fast", "few", "broken")), ((*first, *then), ("again",)), (then, ("slow", "leak"))]
    found = [of[subject][name] for subjects, names in rounds for subject in subjects for name in names]
    return [*found[:12], *styles(), *found[12:]]


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", default="report")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-judging")
    options = parser.parse_args()
    if options.what == "paint":
        paint_all(options.work, planted())
    else:
        print(report(options.work, planted()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
