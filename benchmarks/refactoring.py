"""Proves that a refactoring changes no result: compares seeded trainings and stored keys before and after it.

    python benchmarks/refactoring.py [BEFORE]

BEFORE is a commit (HEAD if left out); after is the working tree. Both run their own `tests/seeded_runs.py` and
`tests/recorded_keys.py` with this Python, one after the other: losses and tensors must be equal bit for bit, and keys equal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def figures(checkout: Path, script: str, folder: Path) -> dict[str, Any]:
    """Run a script of a checkout, and return the JSON that it writes."""
    file = folder / "figures.json"
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(checkout / "tests" / script), str(file)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise SystemExit(f"{script} of {checkout} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def main() -> int:
    """Compare the results; return 1 if something differs."""
    before = sys.argv[1] if len(sys.argv) > 1 else "HEAD"
    differences = compared = 0
    with tempfile.TemporaryDirectory() as place:
        folder, checkout = Path(place), Path(place) / "before"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(checkout), before], check=True)
        try:
            for script in ("recorded_keys.py", "seeded_runs.py"):
                old, new = figures(checkout, script, folder), figures(ROOT, script, folder)
                for name in sorted(old.keys() | new.keys()):
                    compared += 1
                    if old.get(name) != new.get(name):
                        differences += 1
                        print(f"differs: {name}\n  before {old.get(name)}\n  after  {new.get(name)}")
        finally:
            subprocess.run([*git, "remove", "--force", str(checkout)], check=True)
    print(f"{compared} compared with {before}, {differences} differ")
    return 1 if differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
