"""Are the verdicts right? Planted trainings of drawn subjects, judged, beside what the drawings' classifier sees.

python -m benchmarks.judging [report] [--work FOLDER] [--repeats 3]
python -m benchmarks.judging paint [--work FOLDER] [--only GLOB …] [--repeats 3] [--device cuda] [--workers 14]
python -m benchmarks.judging advice [--work FOLDER] [--only GLOB …]     apply each verdict's advice, and compare
python -m benchmarks.judging following   how well *following* tells what drawings show; nothing is trained
python -m benchmarks.judging pack --out FOLDER      what was painted, in files that are small enough to be carried
python -m benchmarks.judging unpack --out FOLDER    and back, on the machine where it is judged
python -m benchmarks.judging pictures --out FOLDER  the pictures of docs/judging.md
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from benchmarks.judging import archive
from benchmarks.judging.trainings import planted

WHAT = ("report", "paint", "advice", "following", "pack", "unpack", "pictures")


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="report", choices=WHAT)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-judging")
    parser.add_argument("--out", type=Path, help="the folder of packed files, or of pictures")
    parser.add_argument("--only", nargs="*", default=["*"], help="trainings by their folders' names, with * and ?")
    parser.add_argument("--repeats", type=int, default=1, help="evaluations of each training, with other noises each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e6, help="what is not finished then is left")
    parser.add_argument(
        "--examples", type=int, default=9_000, help="drawings that the truth's classifier is trained on"
    )
    options = parser.parse_args()
    if options.what == "advice" and options.repeats > 1:
        parser.error("the advice is that of the first evaluations: leave --repeats away")
    chosen = [
        replace(each, repeat=repeat)
        for repeat in range(options.repeats)
        for each in planted()
        if any(fnmatch(each.key, glob) for glob in options.only)
    ]
    if options.what == "paint":
        from benchmarks.judging.workers import paint_all

        paint_all(options.work, chosen, options.device, options.workers, options.minutes, options.examples)
    elif options.what == "advice":
        from benchmarks.judging import advice
        from benchmarks.judging.workers import paint_all, told

        after = [each.training for each in advice.rounds(options.work, chosen)]
        paint_all(options.work, after, options.device, options.workers, options.minutes, options.examples)
        told(options.work, after, options.device)
        print(advice.report(options.work, chosen))
    elif options.what == "following":
        from benchmarks.judging import following

        print(*following.report(), sep="\n")
    elif options.what == "pack":
        from benchmarks.judging.workers import told

        archive.pack(options.out, dict(archive.contents(options.work, told(options.work, chosen, options.device))))
    elif options.what == "unpack":
        archive.unpack(options.out, options.work)
    elif options.what == "pictures":
        from benchmarks.judging.pictures import draw_all

        print(*draw_all(options.work, options.out), sep="\n")
    else:
        from benchmarks.judging.report import report
        from benchmarks.judging.workers import told

        told(options.work, chosen, options.device)
        print(report(options.work, chosen))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
