"""From the command to the first step: CPU seconds of each stage of the quickstart, and its dearest imports.

    python benchmarks/startup.py [--times 3] [--only STAGE …]

Runs `pipelines/quickstart.yaml` with a training of one step and an evaluation of one picture; then each stage again by
itself, in a worker that has imported nothing yet. CPU seconds are those of the command and its children, the least of some
runs; imports are timed by Python (`-X importtime`) in a run of its own, and told by package, each without what it imports.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from engine import LORAPIPE, ROOT, cpu_seconds

SHORT = {
    "penny.steps": "1",
    "penny.snapshots": "1",
    "grid.snapshots": "1",
    "grid.prompts": "[penny]",
    "grid.strengths": "[1.0]",
    "grid.cfg": "1",
    "file.to": "penny.safetensors",
}
"""Settings that leave little but the start of each stage."""
STAGES = ("dataset", "penny", "grid", "file")
IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
TIMED = "PYTHONPROFILEIMPORTTIME"
SHOWN = 10


def command(stage: str, *more: str) -> list[str]:
    """Return the command that runs a stage again."""
    settings = [word for name, value in SHORT.items() for word in ("--set", f"{name}={value}")]
    return [*LORAPIPE, "run", "pipelines/quickstart.yaml", "--device", "cpu", *settings, "--only", stage, *more]


def spent(words: list[str], folder: Path) -> float:
    """Return the CPU seconds of a command, without the toys' additions: where packages add stages, all is imported."""
    return cpu_seconds(words, folder, packages=[ROOT])


def dearest(log: str) -> list[tuple[str, float]]:
    """Return package → seconds of the imports in a worker's log, the dearest first; torch's packages apart."""
    seconds = Counter[str]()
    for microseconds, module in IMPORT.findall(log):
        seconds[".".join(module.split(".")[: 2 if module.startswith("torch.") else 1])] += int(microseconds)
    return [(package, total / 1e6) for package, total in seconds.most_common()]


def newest_log(folder: Path) -> str:
    """Return the log of the stage that ran last."""
    logs = folder.glob("pipelines/.lorapipe/store/*/log.txt")
    return max(logs, key=lambda path: path.stat().st_mtime).read_text("utf-8", errors="replace")


def measure(stage: str, folder: Path, times: int) -> None:
    """Run a stage some times, and print its line and its imports."""
    again = command(stage, "--force", stage)
    least = min(spent(again, folder) for _ in range(times))
    os.environ[TIMED] = "1"
    try:
        spent(again, folder)
    finally:
        del os.environ[TIMED]
    imports = dearest(newest_log(folder))
    print(f"{stage:8} {least:5.2f} CPU s; imports of its worker {sum(total for _, total in imports):.2f} s:")
    print("        ", ", ".join(f"{package} {total:.2f}" for package, total in imports[:SHOWN]))


def main() -> None:
    """Print a line for each stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=STAGES, default=STAGES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "pipelines", folder / "pipelines", ignore=shutil.ignore_patterns(".lorapipe"))
        spent(command(STAGES[-1]), folder)  # compiles, and makes what the stages need
        for stage in options.only:
            measure(stage, folder, options.times)


if __name__ == "__main__":
    main()
