"""Every document below 1 MB is checked quickly, with little memory and readable messages."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
from corpus.documents import HEAVY

from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.limits import MOST_BYTES, MOST_PROBLEMS, MOST_STAGES
from lorapipe.pipeline import loader

LOOPS = 45
"""Most CPU seconds of `check` and of `plan`, each in those of `loop` beside it: a document that is checked in quadratic time
takes hundreds. Test machines differ twofold in speed, so no number of seconds tells."""
MOST_LETTERS = 400_000
"""Most characters that either prints."""


def loop() -> float:
    """CPU seconds of plain Python."""
    begun, found = time.process_time(), dict[str, int]()
    for number in range(300_000):
        key = f"stage-{number % 3000}"
        found[key] = found.get(key, 0) + len(key.split("-"))
    return time.process_time() - begun


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures."""
    folder = tmp_path_factory.mktemp("documents")
    tiny.draw(folder / "photos")
    return folder


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", HEAVY)
def test_every_document_is_answered_soon_and_in_words(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(place)
    Path("heavy.yaml").write_bytes(HEAVY[name].encode())
    for command in ("check", "plan"):  # plan refuses the same documents with the same messages
        begun = time.process_time()
        status = main([command, "heavy.yaml"])
        took = time.process_time() - begun
        told = capsys.readouterr()
        print(f"{command}: {took:.2f} CPU s, {len(told.out) + len(told.err)} letters")
        assert status in (0, 2) and (took < 1 or took < LOOPS * loop())
        assert (told.err == "") == (status == 0)
        assert len(told.out) + len(told.err) < MOST_LETTERS
        assert told.err.count("\nheavy.yaml:") < MOST_PROBLEMS
        if status == 2:
            break


PEAK = """
import sys
from lorapipe.cli import main
status = main(["check", *sys.argv[1:]])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(status, int(peak.split()[1]) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_no_document_takes_much_memory(place: Path) -> None:
    largest = sorted(HEAVY, key=lambda name: len(HEAVY[name]))[-8:]
    names = [
        *largest,
        "a text 5000 times",
        "a list in 5000 places",
        "aliases of aliases",
        "datasets 3100 that are right",
    ]
    for number, name in enumerate(names):
        (place / f"large{number}.yaml").write_bytes(HEAVY[name].encode())
    command = [sys.executable, "-c", PEAK, *sorted(str(file) for file in place.glob("large*.yaml"))]
    told = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    status, peak = map(int, told.splitlines()[-1].split())
    print(f"{peak / 1e6:.0f} MB")
    assert status == 2 and peak < 300e6


def problems(folder: Path, text: str, *sets: str) -> list[str]:
    """Return the problems of a document."""
    (folder / "p.yaml").write_bytes(text.encode())
    with pytest.raises(InputError) as caught:
        loader.load(folder / "p.yaml", sets)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_of_very_many_problems_a_hundred_are_told(place: Path) -> None:
    many = "".join(f"    a{number}: 1\n" for number in range(5000))
    found = problems(place, f"stages:\n  dataset:\n    uses: prepare\n{many}")
    assert len(found) == MOST_PROBLEMS + 1
    assert found[0].startswith('p.yaml:4:5 dataset.a0: unknown setting "a0"')
    assert found[-1] == "There may be more: after so many problems the search has ended."


def test_what_is_the_most_is_still_read(place: Path) -> None:
    stage = "{uses: prepare, images: photos, base: {family: sd15, checkpoint: pocket}}"
    text = "stages:\n" + "".join(f"  s{number}: {stage}\n" for number in range(500))
    filler = "# " + "x" * (MOST_BYTES - len(text) - 3) + "\n"
    (place / "full.yaml").write_text(filler + text, encoding="utf-8")
    assert len(loader.load(place / "full.yaml").stages) == 500
    assert "is larger than 1000 kB" in problems(place, filler + text + "# one more\n")[0]
    assert (
        f"there are {MOST_STAGES + 1} stages"
        in problems(place, "stages:\n" + "".join(f"  s{n}: prepare\n" for n in range(MOST_STAGES + 1)))[0]
    )


def test_files_that_extend_one_another_are_bounded_together(place: Path) -> None:
    half = "# " + "x" * 600_000 + "\n"
    (place / "low.yaml").write_text(half + "vars: {a: 1}\n", encoding="utf-8")
    assert "is larger than 1000 kB, with what extends it" in problems(place, half + "extends: low.yaml\n")[0]
