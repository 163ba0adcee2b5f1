"""Compares speed and memory before and after a change: start-up, no-op, trainings, idle watcher.

    python benchmarks/regression.py [BEFORE] [--times 15] [--instructions] [--only WORD …] [--work FOLDER]

BEFORE is a commit (HEAD if left out); after is the working tree. Each case runs both in turn, with this Python, and
prints the CPU seconds of the command and its children (the minimum, since other programs only ever add), the peak
resident memory (the median), and the ratios of after to before.

`--instructions` counts instructions with Valgrind instead, for the cases that do not train: they do not depend on the
load of the machine, so one run of each is enough. It takes a minute or two.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from engine import FOUR, THOUSAND, TWO, project

ROOT = Path(__file__).parents[1]
RUN = ("run", "p.yaml", "--quiet")
TRAINING = """\
stages:
  dataset: {uses: prepare, images: PICTURES, base: {family: sd15, checkpoint: BASE}}
  penny: {uses: train, dataset: $dataset, adapter: {type: lora, rank: 8}, batch: 4, steps: 60, snapshots: 2}
"""
WATCH_SECONDS = 5.0


class Case(NamedTuple):
    """A measured command, in a folder that `make` fills once for each checkout."""

    name: str
    words: tuple[str, ...]
    make: Callable[[Path], object]
    first: tuple[str, ...] = ()
    """A command that runs once before, so that nothing is left to do."""
    trains: bool = False
    ends: float = 0.0
    """Seconds after which the command is stopped; 0 where it ends by itself."""


class Cost(NamedTuple):
    """Cost of a command: CPU seconds or instructions, and peak resident memory in bytes."""

    time: float
    memory: float


def many_files(folder: Path) -> None:
    """Write 2,000 texts with old modification times."""
    for file in (project(folder, TWO, texts=2000, size=100_000) / "texts").iterdir():
        os.utime(file, (1e9, 1e9))


def training(folder: Path, base: str) -> None:
    """Write a pipeline that trains a character."""
    folder.mkdir(parents=True)
    pictures = str(ROOT / "pipelines" / "examples" / "penny")
    (folder / "p.yaml").write_text(TRAINING.replace("PICTURES", pictures).replace("BASE", base), encoding="utf-8")


def tiny_base(folder: Path) -> Path:
    """Make an SD1.x of half a million random parameters.

    Another process makes it, since the system counts this process's memory in the peak of its children.
    """
    make = "import sys, pathlib; from lorapipe.models.sd15 import SD15; SD15.tiny(pathlib.Path(sys.argv[1]))"
    if not folder.exists():
        subprocess.run([sys.executable, "-c", make, str(folder)], env=environment(ROOT, folder.parent), check=True)
    return folder


def cases(work: Path) -> list[Case]:
    """Return all cases."""

    def four(folder: Path) -> Path:
        return project(folder, FOUR)

    anew = (*RUN, "--device", "cpu", "--from", "dataset")
    return [
        Case("start (--help)", ("--help",), four),
        Case("four stages, check", ("check", "p.yaml"), four),
        Case("four stages, plan", ("plan", "p.yaml"), four, RUN),
        Case("four stages, nothing to do", RUN, four, RUN),
        Case("1,000 stages, nothing to do", RUN, lambda folder: project(folder, THOUSAND), RUN),
        Case("2,000 files, nothing to do", RUN, many_files, RUN),
        Case("a training on the pocket base", anew, lambda folder: training(folder, "pocket"), anew, trains=True),
        Case("a training on a tiny SD1.x", anew,
             lambda folder: training(folder, str(tiny_base(work / "tiny"))), anew, trains=True),
        Case(f"an idle watcher, {WATCH_SECONDS:.0f} s", ("watch", "inbox"),
             lambda folder: (folder / "inbox").mkdir(parents=True), ends=WATCH_SECONDS),
    ]  # fmt: skip


def environment(checkout: Path, folder: Path) -> dict[str, str]:
    """Return the environment of a checkout: its own code, toy stages, and home."""
    path = os.pathsep.join([str(checkout), str(checkout / "tests" / "toys")])
    homes = {f"XDG_{kind}_HOME": str(folder / f".{kind.lower()}") for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
    found = {**os.environ, **homes, "HOME": str(folder), "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
    found.pop("PYTHONDONTWRITEBYTECODE", None)  # whoever sets it compiles everything at every start
    return {**found, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def cost(checkout: Path, folder: Path, words: tuple[str, ...], ends: float = 0.0) -> Cost:
    """Measure one run of a command."""
    command = [sys.executable, "-m", "lorapipe", *words]
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            command, cwd=folder, env=environment(checkout, folder), stdout=output, stderr=subprocess.STDOUT
        )
        if ends:
            time.sleep(ends)
            child.send_signal(signal.SIGINT)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != (130 if ends else 0):
            output.seek(0)
            raise SystemExit(f"{' '.join(words)} of {checkout} ended so:\n{output.read().decode()[-2000:]}")
    scale = 1 if sys.platform == "darwin" else 1024
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss * scale)


def instructions(checkout: Path, folder: Path, words: tuple[str, ...], ends: float = 0.0) -> Cost:
    """Count the instructions of one run with Valgrind; the memory includes Valgrind's."""
    count = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command = [*count, sys.executable, "-m", "lorapipe", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment(checkout, folder), capture_output=True, encoding="utf-8", check=True
    )
    [found] = re.findall(r"Collected : (\d+)", done.stderr)
    return Cost(float(found), 0.0)


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """Check out a commit's files, and remove them on exit."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def compare(case: Case, checkouts: dict[str, Path], work: Path, times: int, measure: Callable[..., Cost]) -> str:
    """Run a case in both checkouts in turn; return a line with the costs."""
    folders = {name: work / name / re.sub(r"\W+", "-", case.name) for name in checkouts}
    for name, folder in folders.items():
        case.make(folder)
        cost(checkouts[name], folder, case.first or case.words, case.ends)
    found: dict[str, list[Cost]] = {name: [] for name in checkouts}
    for turn in range(times):
        for name in sorted(checkouts, reverse=bool(turn % 2)):  # whoever is second finds the caches warm
            found[name].append(measure(checkouts[name], folders[name], case.words, case.ends))
    before, after = (
        Cost(min(each.time for each in found[name]), statistics.median(each.memory for each in found[name]))
        for name in ("before", "after")
    )
    if measure is instructions:
        return f"{before.time / 1e6:9.1f} {after.time / 1e6:9.1f}  {after.time / before.time:5.3f}"
    megabytes = f"{before.memory / 1e6:9.1f} {after.memory / 1e6:9.1f}  {after.memory / before.memory:5.3f}"
    return f"{before.time:9.3f} {after.time:9.3f}  {after.time / before.time:5.3f} {megabytes}"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", nargs="?", default="HEAD")
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--only", action="append", default=[], help="cases that have this in their name")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-regression")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    if options.instructions:
        print(f"{'million instructions':<34} {'before':>9} {'after':>9}  ratio")
    else:
        print(f"{'CPU seconds, MB of memory':<34} {'before':>9} {'after':>9}  ratio {'before':>9} {'after':>9}  ratio")
    with checked_out(options.before, options.work / "checkout") as checkout:
        checkouts = {"before": checkout, "after": ROOT}
        for case in cases(options.work):
            if options.only and not any(word in case.name for word in options.only):
                continue
            if options.instructions and (case.trains or case.ends):
                continue
            times = 1 if options.instructions else min(options.times, 5) if case.trains or case.ends else options.times
            measure = instructions if options.instructions else cost
            print(f"{case.name:<34} {compare(case, checkouts, options.work, times, measure)}", flush=True)


if __name__ == "__main__":
    main()
