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
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "tests" / "additions"
ELSEWHERE = {"family": {"lorapipe/models/small_flow.py": ROOT / "tests" / "families" / "tiny_flow.py"}}
"""Samples that tests also use otherwise: path in the code → file."""
COPIED = ("lorapipe", "comfy_nodes", "tests", "tools", "pyproject.toml", "schemas", "pipelines", "__init__.py")
EVERY_KIND = ("tests/contracts/test_specs.py", "tests/contracts/test_imports.py")
TESTS = {
    "adapter": ("tests/contracts/test_adapters.py", *EVERY_KIND),
    "family": ("tests/contracts/test_families.py", *EVERY_KIND),
    "format": ("tests/test_formats.py", *EVERY_KIND),
    "loss": ("tests/contracts/test_losses.py", *EVERY_KIND),
    "measure": ("tests/contracts/test_measures.py", *EVERY_KIND),
    "optimizer": ("tests/contracts/test_optimizers.py", *EVERY_KIND),
    "scheduler": ("tests/contracts/test_schedulers.py", *EVERY_KIND),
    "stage": EVERY_KIND,
    "weighting": ("tests/contracts/test_weightings.py", *EVERY_KIND),
}
"""Contract tests of each kind: those with the sample's name in theirs, and those over all names at once."""
OF_ALL = "all_that_need_no_clip or measures_hold_on_every_family"


@dataclass(frozen=True)
class Addition:
    """An added sample: its registered `name`, the number of new lines, and of lines changed in existing files."""

    kind: str
    name: str
    new: int
    touched: int
    passed: int
    failures: str = ""


def kinds() -> list[str]:
    """Return the kinds that have a sample."""
    return sorted({*ELSEWHERE, *(folder.name for folder in SAMPLES.iterdir() if folder.is_dir())})


def sample(kind: str) -> dict[Path, Path]:
    """Return a kind's sample: path in the code → file."""
    files = {file.relative_to(SAMPLES / kind): file for file in sorted((SAMPLES / kind).rglob("*.py"))}
    return files | {Path(place): file for place, file in ELSEWHERE.get(kind, {}).items()}


def add(kind: str, copy: Path) -> Addition:
    """Add a kind's sample to a new copy of the code at `copy`, and run its contract tests there."""
    for name in COPIED:
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__", "additions")
        shutil.copytree(source, copy / name, ignore=ignored) if source.is_dir() else shutil.copy(source, copy / name)
    files = sample(kind)
    new = [place for place in files if not (ROOT / place).exists()]
    touched = sum(_changed(ROOT / place, file) for place, file in files.items() if place not in new)
    for place, file in files.items():
        (copy / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy / place)
    name = next(file.stem for file in new if file.parts[0] == "lorapipe" and not file.stem.startswith("_"))
    passed, failures = _contract_tests(kind, name, copy)
    lines = sum(len((copy / file).read_text(encoding="utf-8").splitlines()) for file in new)
    return Addition(kind, name, lines, touched, passed, failures)


def _changed(before: Path, after: Path) -> int:
    """Count the lines in which two versions of a file differ."""
    texts = (file.read_text(encoding="utf-8").splitlines() for file in (before, after))
    return sum(1 for line in difflib.ndiff(*texts) if line[:1] in "+-")


def _contract_tests(kind: str, name: str, copy: Path) -> tuple[int, str]:
    """Return the number of passed tests with the sample's name, and pytest's output if one failed."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n0",
        "-p",
        "no:cacheprovider",
        *TESTS[kind],
        "-k",
        f"{name} or {OF_ALL}",
    ]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, encoding="utf-8")
    passed = re.search(r"(\d+) passed", done.stdout)
    return int(passed[1]) if passed else 0, "" if done.returncode == 0 else done.stdout + done.stderr


def main() -> int:
    """Print a line for each sample; return 1 if one changes lines elsewhere or fails its contract."""
    print(f"{'kind':10} {'sample':14} {'new lines':>9} {'touched elsewhere':>18} {'contract tests passed':>22}")
    bad = 0
    for kind in sys.argv[1:] or kinds():
        with tempfile.TemporaryDirectory() as place:
            done = add(kind, Path(place))
        print(f"{kind:10} {done.name:14} {done.new:9} {done.touched:18} {done.passed:22}", flush=True)
        if done.failures or done.touched:
            bad += 1
            print(done.failures[-3000:])
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
