"""Installs lorapipe for these nodes, into the Python that runs this file. ComfyUI-Manager runs it after each download.

The versions of torch, torchvision and torchaudio stay as they are, since ComfyUI needs them: requirements.txt has all
that lorapipe needs except torch, and lorapipe itself is installed without its dependencies.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
KEPT = ("torch", "torchvision", "torchaudio")


def main() -> int:
    """Install, and return the exit status."""
    kept = [f"{name}=={found}" for name in KEPT if (found := _installed(name))]
    if not kept or not kept[0].startswith("torch=="):
        print(
            f"There is no torch in {sys.executable}. Run this file with the Python that runs ComfyUI.", file=sys.stderr
        )
        return 2
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("\n".join(kept) + "\n", encoding="utf-8")
        for arguments in (["-r", str(FOLDER / "requirements.txt")], ["--no-deps", *source()]):
            if status := subprocess.call([*_pip(), "install", "--constraint", str(constraints), *arguments]):
                return status
    print(_about_torch())
    return 0


def source() -> list[str]:
    """Return what pip installs: the repository around this folder, or the release with the version of these nodes."""
    if (FOLDER.parent / "lorapipe" / "__init__.py").is_file():
        return ["--editable", str(FOLDER.parent)]
    about = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [f"{about['name']}=={about['version']}"]


def _pip() -> list[str]:
    """Return the command of pip, or of uv, where the environment has no pip."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    return ["uv", "pip", "--python", sys.executable]


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _about_torch() -> str:
    """Return whether lorapipe works with the torch that is there, as pip says."""
    told = subprocess.run([*_pip(), "check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    complaints = [line.strip() for line in told.splitlines() if "lorapipe" in line and "torch" in line]
    if complaints:
        return f"lorapipe is installed, but ComfyUI's torch is not one that it needs: {' '.join(complaints)}"
    return f"lorapipe is installed; torch is {_installed('torch')}, as before. Restart ComfyUI."


if __name__ == "__main__":
    sys.exit(main())
