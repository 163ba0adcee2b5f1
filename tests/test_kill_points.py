"""A run is killed before each change that it makes to a file, one at a time; the next run must lose next to nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from outcomes import ends

from lorapipe.pipeline import loader
from lorapipe.pipeline.digests import read_digest
from lorapipe.pipeline.events import Log
from lorapipe.pipeline.execution.runner import Run

STEPS = 3
PIPELINE = """\
stages:
  walk: {uses: walk, diary: diary.txt, to: delivered.txt}
  after: {uses: trouble, how: noise, text: $walk}
"""
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.link", "os.symlink", "os.truncate")


@pytest.fixture
def ended(tmp_path: Path) -> list[tuple[Path, str]]:
    """A project for each point, as the run that was killed there left it, and the change that was next."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    folder = tmp_path
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here / "toys"), str(here.parent)])
    command = [sys.executable, __file__, str(folder)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.DEVNULL)
    return [(folder / name, what) for name, what in json.loads((folder / "points.json").read_bytes())]


def manifests(project: Path, place: str) -> dict[str, dict[str, Any]]:
    """Return key → manifest of complete results in the store and finished attempts."""
    found = {}
    for file in (project / ".lorapipe" / place).glob("*/manifest.json"):
        manifest = json.loads(file.read_bytes())
        assert all(read_digest(str(file.parent / name)) == each["digest"] for name, each in manifest["files"].items())
        found[manifest["key"]] = manifest
    return found


def test_a_run_that_is_ended_anywhere_costs_at_most_the_last_step(toys: None, ended: list[tuple[Path, str]]) -> None:
    assert len(ended) > 40
    for project, what in ended:
        published, finished = manifests(project, "store"), manifests(project, "work")
        diary = project / "diary.txt"
        before = diary.read_text().split() if diary.exists() else []
        events = list(Run(loader.load(project / "p.yaml"), on="inline"))
        assert set(ends(events)) == {"walk", "after"} and "failed" not in ends(events).values(), what
        made = {event.key for event in events if type(event).__name__ == "Started"}
        assert not made & {*published, *finished}, what
        adopted = [event.stage for event in events if isinstance(event, Log) and "finished it but ended" in event.text]
        assert adopted == [each["stage"] for key, each in finished.items() if key not in published], what
        taken = Counter(diary.read_text().split())
        assert taken.keys() == {"0", "1", "2"} and taken.total() <= STEPS + 1, (what, taken)
        assert (project / "delivered.txt").read_text() == "3", what
        if any(manifest["stage"] == "walk" for manifest in (*published.values(), *finished.values())):
            assert diary.read_text().split() == before, what
        is_tidy(project, what)


def is_tidy(project: Path, what: str) -> None:
    """Return whether nothing is left over after the next run: no attempt, no resume/, no hidden link."""
    assert len(manifests(project, "store")) == 2
    assert not [*project.glob(".lorapipe/store/*/resume")], what
    assert not [*(project / ".lorapipe" / "work").iterdir()], what
    assert sorted(each.name for each in (project / "outputs").iterdir()) == ["after", "walk"], what


# ------------------------------------------------------------------------------------------------- the one that is ended


def end_at(point: int, noted: Path) -> None:
    """Kill this process before its n-th change, and record that change."""
    left = point

    def look(event: str, about: tuple[Any, ...]) -> None:
        nonlocal left
        is_write = event == "open" and about[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if (is_write or event in CHANGES) and not isinstance(about[0], int):
            left -= 1
            if not left:
                left = -1
                noted.write_text(f"{event} {about[:2]}")
                os._exit(9)

    sys.addaudithook(look)


def main(folder: Path) -> None:
    points = []
    for point in range(1, 1000):
        project = folder / f"{point:03}"
        project.mkdir()
        (project / "p.yaml").write_text(PIPELINE, encoding="utf-8")
        noted = folder / f"{point:03}.txt"
        if (child := os.fork()) == 0:
            pipeline = loader.load(project / "p.yaml")
            end_at(point, noted)
            for _ in Run(pipeline, on="inline"):
                pass
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            break
        points.append((project.name, noted.read_text()))
    (folder / "points.json").write_text(json.dumps(points), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
