"""Kills runs with SIGKILL at random moments, runs once more, and checks that results are right and nothing is done twice.

    python benchmarks/chaos.py [--projects 40] [--kills 3] [--seed 0]

Each project is run and killed three times: the run, its worker, or both. Then it runs undisturbed. The script counts refused
runs, wrong outputs, and stages that ran again although their result had been published. Then it starts two runs of one
project at the same time: each stage must run once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIPELINE = """\
stages:
  text: {uses: words, folder: texts}
  first: {uses: count, text: $text, steps: 12, pause: 0.03}
  second: {uses: count, text: $text, word: b, steps: 12, pause: 0.03}
  kept: {uses: keep, tally: $first, others: [$text], to: out.html}
  again: {uses: keep, tally: $second, others: [$text], to: again.html}
"""
EXPECTED = {"out.html": "<p>2</p>", "again.html": "<p>1</p>"}


def start(folder: Path) -> subprocess.Popen[str]:
    """Start a run with readable events."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "toys")])
    environment = {**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(folder / ".user-cache")}
    command = [sys.executable, "-m", "lorapipe", "run", "p.yaml", "--json"]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )


def workers_of(pid: int) -> list[int]:
    """Return the worker processes of a run."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, encoding="utf-8")
    return [int(word) for word in found.stdout.split()]


def published(folder: Path) -> set[str]:
    """Return the keys of all results in the store."""
    keys = set()
    for file in (folder / ".lorapipe" / "store").glob("*/manifest.json"):
        keys.add(json.loads(file.read_bytes())["key"])
    return keys


def started(output: str) -> list[str]:
    """Return the keys of the stages that a run has started."""
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{") and line.endswith("}")]
    return [event["key"] for event in events if event["event"] == "started"]


def torment(folder: Path, kills: int, seed: int) -> tuple[int, int, int]:
    """Return the numbers of refused runs, wrong outputs and repeated stages of one project."""
    chance = random.Random(seed)
    (folder / "texts").mkdir(parents=True)
    (folder / "texts" / "a.txt").write_text("a b a", encoding="utf-8")
    (folder / "p.yaml").write_text(PIPELINE, encoding="utf-8")
    repeated = 0
    for _ in range(kills):
        before, run = published(folder), start(folder)
        time.sleep(chance.uniform(0.1, 1.6))
        who = chance.choice(("run", "worker", "both"))
        victims = [*(workers_of(run.pid) if who != "run" else []), *([run.pid] if who != "worker" else [])]
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if who == "worker" and chance.random() < 0.5:
            run.send_signal(signal.SIGKILL)
        output, _ = run.communicate(timeout=120)
        repeated += sum(key in before for key in started(output))
    before, run = published(folder), start(folder)
    output, _ = run.communicate(timeout=120)
    repeated += sum(key in before for key in started(output))
    wrong = sum(not (folder / name).exists() or (folder / name).read_text() != text for name, text in EXPECTED.items())
    return int(run.returncode != 0), int(wrong > 0), repeated


def together(folder: Path) -> int:
    """Return the number of stages that two simultaneous runs of one project run twice."""
    (folder / "texts").mkdir(parents=True)
    (folder / "texts" / "a.txt").write_text("a b a", encoding="utf-8")
    (folder / "p.yaml").write_text(PIPELINE, encoding="utf-8")
    outputs = [run.communicate(timeout=120)[0] for run in [start(folder), start(folder)]]
    keys = [key for output in outputs for key in started(output)]
    return len(keys) - len(set(keys))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--projects", type=int, default=40)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(4) as threads:
        folders = [Path(work) / str(number) for number in range(options.projects)]
        seeds = [options.seed * 1000 + number for number in range(options.projects)]
        found = list(threads.map(torment, folders, [options.kills] * options.projects, seeds))
        refused, wrong, repeated = (sum(each) for each in zip(*found, strict=True))
        print(f"{options.projects} projects, {options.kills} kills each, then one run:")
        print(f"  refused {refused}, wrong {wrong}, made again although published {repeated}")
        twice = sum(together(Path(work) / f"two-{number}") for number in range(5))
        print(f"two runs at once, five times: {twice} stages made twice")
    if refused or wrong or repeated or twice:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
