"""Counts the lines that an addition needs elsewhere, by adding samples to a copy of the code and running contract tests.

    python tools/additions.py [KIND ...]

Each folder in tests/additions is a sample of a kind: files that are copied over a checkout. New files are the addition;
changed lines in existing files are its cost elsewhere, which should be 0.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "tests" / "additions"
ELSEWHERE = {"family": {"lorapipe/models/small_flow.py": ROOT / "tests" / "families" / "tiny_flow.py"}}
"""Samples that tests also use otherwise: path in the code → file."""
COPIED = ("lorapipe", "comfy_nodes", "tests", "tools", "pyproject.toml", "schemas", "pipelines", "__init__.py")
EVERY_KIND = ("tests/contracts/test_specs.py", "tests/contracts/test_imports.py")
TESTS = {
    "adapter": ("tests/contracts/test_adapters.py",),
    "family": ("tests/contracts/test_families.py",),
    "format": ("tests/test_formats.py",),
    "loss": ("tests/contracts/test_losses.py",),
    "measure": ("tests/contracts/test_measures.py",),
    "optimizer": ("tests/contracts/test_optimizers.py",),
    "scheduler": ("tests/contracts/test_schedulers.py",),
    "stage": (),
    "weighting": ("tests/contracts/test_weightings.py",),
}
"""Contract tests of each kind, beside those of every kind: those with the sample's name in theirs."""
ALL_AT_ONCE = {"measure": ("all_that_need_no_clip", "measures_hold_on_every_family")}
"""Contract tests of a kind that are of all its names at once."""


@dataclass(frozen=True)
class Addition:
    """An added sample: its registered `name`, new lines, lines changed in existing files, and contract tests passed."""

    kind: str
    name: str
    new: int
    touched: int
    passed: int


def kinds() -> list[str]:
    """Return the kinds that have a sample."""
    return sorted({*ELSEWHERE, *(folder.name for folder in SAMPLES.iterdir() if folder.is_dir())})


def sample(kind: str) -> dict[Path, Path]:
    """Return a kind's sample: path in the code → file."""
    files = {file.relative_to(SAMPLES / kind): file for file in sorted((SAMPLES / kind).rglob("*.py"))}
    return files | {Path(place): file for place, file in ELSEWHERE.get(kind, {}).items()}


def add(kinds: Sequence[str], copy: Path) -> tuple[list[Addition], str]:
    """Add a sample of each kind to a new copy of the code at `copy`, and run all their contract tests there.

    Returns the additions, and pytest's output if a test failed.
    """
    for name in COPIED:
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__", "additions")
        shutil.copytree(source, copy / name, ignore=ignored) if source.is_dir() else shutil.copy(source, copy / name)
    for place, file in (item for kind in kinds for item in sample(kind).items()):
        (copy / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy / place)
    names = {kind: _name(kind) for kind in kinds}
    passed, failures = _contract_tests(names, copy)
    return [_addition(kind, names[kind], copy, passed) for kind in kinds], failures


def _new(kind: str) -> list[Path]:
    return [place for place in sample(kind) if not (ROOT / place).exists()]


def _name(kind: str) -> str:
    return next(file.stem for file in _new(kind) if file.parts[0] == "lorapipe" and not file.stem.startswith("_"))


def _addition(kind: str, name: str, copy: Path, passed: Sequence[str]) -> Addition:
    new = _new(kind)
    lines = sum(len((copy / file).read_text(encoding="utf-8").splitlines()) for file in new)
    touched = sum(_changed(ROOT / place, file) for place, file in sample(kind).items() if place not in new)
    own = [test for test in passed if any(each in test for each in (name, *ALL_AT_ONCE.get(kind, ())))]
    return Addition(kind, name, lines, touched, len(own))


def _changed(before: Path, after: Path) -> int:
    """Count the lines in which two versions of a file differ."""
    texts = (file.read_text(encoding="utf-8").splitlines() for file in (before, after))
    return sum(1 for line in difflib.ndiff(*texts) if line[:1] in "+-")


def _contract_tests(names: Mapping[str, str], copy: Path) -> tuple[list[str], str]:
    """Return the passed tests that concern the samples, and pytest's output if one failed."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    files = dict.fromkeys(file for kind in names for file in (*TESTS[kind], *EVERY_KIND))
    wanted = " or ".join(each for kind, name in names.items() for each in (name, *ALL_AT_ONCE.get(kind, ())))
    command = [sys.executable, "-m", "pytest", "-n0", "-rA", "-p", "no:cacheprovider", *files, "-k", wanted]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, encoding="utf-8")
    passed = re.findall(r"^PASSED (.+)$", done.stdout, re.MULTILINE)
    return passed, "" if done.returncode == 0 else done.stdout + done.stderr


def main() -> int:
    """Print a line for each sample; return 1 if one changes lines elsewhere or fails its contract."""
    print(f"{'kind':10} {'sample':14} {'new lines':>9} {'touched elsewhere':>18} {'contract tests passed':>22}")
    with tempfile.TemporaryDirectory() as place:
        added, failures = add(sys.argv[1:] or kinds(), Path(place))
    for done in added:
        print(f"{done.kind:10} {done.name:14} {done.new:9} {done.touched:18} {done.passed:22}")
    print(failures[-3000:], end="")
    return 1 if failures or any(done.touched for done in added) else 0


if __name__ == "__main__":
    raise SystemExit(main())
