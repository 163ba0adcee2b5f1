"""Drops two hundred folders into an inbox in bursts while killing watchers and workers, and checks the results.

    python benchmarks/soak.py [--folders 200] [--minutes 6] [--seed 0]

Folders arrive in bursts: copied slowly, moved in at once, or as zips. One watcher, sometimes two on the same inbox,
process them; at random moments a watcher, its worker or both get SIGKILL, and a watcher starts again. In the end every
folder must have been a job exactly once, and be done, or have failed with a reason (a few have too few pictures; a job
that killed lorapipe twice is set aside); every result must be right, and no stage must have run twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from chaos import workers_of

ROOT = Path(__file__).parents[1]
PIPELINE = """\
vars: {images: ., name: x, folder: .}
stages:
  text: {uses: words, folder: "${images}"}
  tally: {uses: count, text: $text, word: a, steps: 4, pause: 0.02}
  kept: {uses: keep, tally: $tally, to: "${folder}/${name}.html"}
"""
PICTURE = ROOT / "pipelines" / "examples" / "penny" / "penny-01.png"
LEAST = 2
TOO_FEW = 10
"""Every n-th folder has too few pictures."""


def picture_folder(folder: Path, number: int) -> None:
    """Write pictures with captions that contain `a` as often as the folder's number."""
    folder.mkdir(parents=True)
    for each in range(1 if number % TOO_FEW == 0 else LEAST):
        shutil.copyfile(PICTURE, folder / f"{each}.png")
    (folder / "0.txt").write_text(" ".join(["a"] * number), encoding="utf-8")


def drop(inbox: Path, outside: Path, numbers: list[int], chance: random.Random) -> None:
    """Drop one burst of folders into the inbox."""
    for number in numbers:
        name = f"subject {number:03} 가"
        match chance.choice(("copied", "moved", "zipped")):
            case "copied":
                picture_folder(inbox / name, number)
            case "moved":
                picture_folder(outside / name, number)
                (outside / name).rename(inbox / name)
            case "zipped":
                picture_folder(outside / name, number)
                with zipfile.ZipFile(inbox / f"{name}.zip", "w") as file:
                    for each in sorted((outside / name).iterdir()):
                        file.write(each, each.name)


class Watchers:
    """Starts and kills the watchers of one inbox."""

    def __init__(self, work: Path, chance: random.Random) -> None:
        self._work, self._chance = work, chance
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "toys")])
        own = {"PYTHONPATH": path, "LORAPIPE_HOME": str(work / "home"), "XDG_CACHE_HOME": str(work / "cache")}
        self._environment = {**os.environ, **own}
        self._running: list[subprocess.Popen[bytes]] = []
        self.kills: Counter[str] = Counter()

    def start(self, count: int = 1) -> None:
        """Start `count` watchers on one inbox and one device."""
        words = ["watch", "inbox", "--pipeline", "p.yaml", "--device", "cpu", "--quiet"]
        words += [
            part for setting in ("quiet=0.5", f"least={LEAST}", "room=0") for part in ("--set", f"watch.{setting}")
        ]
        with (self._work / "watch.log").open("ab") as log:
            for _ in range(count):
                command = [sys.executable, "-m", "lorapipe", *words]
                child = subprocess.Popen(command, cwd=self._work, env=self._environment, stdout=log, stderr=log)
                self._running.append(child)

    def kill(self) -> None:
        """Kill a watcher, its worker, or both; then start one or two again."""
        victim = self._chance.choice(self._running)
        who = self._chance.choice(("watcher", "worker", "both"))
        workers = workers_of(victim.pid) if who != "watcher" else []
        for pid in [*workers, *([victim.pid] if who != "worker" else [])]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kills[who if who != "worker" or workers else "nobody (no worker)"] += 1
        if who != "worker":
            victim.wait()
            self._running.remove(victim)
        if not self._running:
            self.start(self._chance.choice((1, 1, 2)))

    def stop(self) -> None:
        """Interrupt the watchers, like Ctrl-C."""
        for each in self._running:
            each.send_signal(signal.SIGTERM)
        for each in self._running:
            each.wait(60)


def finished(work: Path) -> Iterator[tuple[str, str]]:
    """Yield (folder, key) of every stage that a run reports as made."""
    for file in (work / "outputs").glob("*/.lorapipe/runs/*/events.jsonl"):
        for line in file.read_text("utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                if event["event"] == "finished":
                    yield str(file.relative_to(work / "outputs").parts[0]), event["key"]


def judged(work: Path, count: int) -> bool:
    """Print the fate of the folders; return whether everything is right."""
    os.environ["LORAPIPE_HOME"] = str(work / "home")
    from lorapipe.job_queue.queue import Queue

    with closing(Queue()) as queue:
        jobs = queue.jobs()
    sources = Counter(job.source for job in jobs)
    without_reason = [job for job in jobs if job.state != "done" and not job.reason]
    wrong = 0
    for job in jobs:
        number = int(Path(job.source).name.split()[1])
        page = next(job.folder.glob("*.html"), None)
        should = f"<p>{number}</p>"
        wrong += job.state == "done" and (page is None or page.read_text("utf-8") != should or number % TOO_FEW == 0)
        wrong += job.state == "failed" and number % TOO_FEW != 0
    twice = sum(times > 1 for times in Counter(finished(work)).values())
    states = Counter(job.state for job in jobs)
    print(f"{count} folders: {len(sources)} were jobs, {dict(states)}")
    print(f"  lost {count - len(sources)}, more than once {len(jobs) - len(sources)}, wrong {wrong}, ", end="")
    print(f"without a reason {len(without_reason)}, stages made twice {twice}")
    ended = set(states) <= {"done", "failed", "aside"}
    return ended and len(jobs) == len(sources) == count and not (wrong or twice or without_reason)


def all_ended(home: Path, count: int) -> bool:
    """Return whether every folder's job has ended."""
    import sqlite3

    with suppress(sqlite3.Error), closing(sqlite3.connect(home / "queue.db", timeout=30)) as db:
        (ended,) = db.execute("SELECT count(*) FROM job WHERE state IN ('done', 'failed', 'aside')").fetchone()
        return bool(ended >= count)
    return False


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folders", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=6.0, help="after which it is not murdered any more")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for each in ("inbox", "outside", "home"):
            (work / each).mkdir()
        (work / "p.yaml").write_text(PIPELINE, encoding="utf-8")
        numbers = list(range(1, options.folders + 1))

        def bursts() -> None:
            waiting = iter(numbers)
            while burst := [number for _, number in zip(range(chance.randint(1, 25)), waiting)]:  # noqa: B905
                drop(work / "inbox", work / "outside", burst, random.Random(burst[0]))
                time.sleep(random.Random(burst[0]).uniform(0, 4))

        watchers, began = Watchers(work, chance), time.monotonic()
        watchers.start()
        dropping = threading.Thread(target=bursts)
        dropping.start()
        while dropping.is_alive() or not all_ended(work / "home", options.folders):
            time.sleep(chance.uniform(0.1, 1.5))
            if time.monotonic() - began < 60 * options.minutes:
                watchers.kill()
            elif time.monotonic() - began > 120 * options.minutes:
                break
        watchers.stop()
        print(f"{time.monotonic() - began:.0f} s; killed: {dict(watchers.kills)}")
        sound = judged(work, options.folders)
        if not sound:
            print((work / "watch.log").read_text("utf-8", errors="replace")[-3000:])
    raise SystemExit(0 if sound else 1)


if __name__ == "__main__":
    main()
