"""The nodes and the lorapipe that is installed for them: what ComfyUI-Manager runs, and what a user is told."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import venv
import zipfile
from pathlib import Path

import pytest

import lorapipe
from comfy_nodes import installation

ROOT = Path(__file__).parents[1]
PACK = ROOT / "comfy_nodes"


def test_another_version_is_told_with_the_command_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    installation.check()
    monkeypatch.setattr(lorapipe, "__version__", "9.9.9")
    with pytest.raises(RuntimeError, match=r"lorapipe 9\.9\.9 is installed\. Run .*install\.py\" and restart ComfyUI"):
        installation.check()


def test_a_package_that_is_missing_is_told_with_the_command_to_run() -> None:
    with (
        pytest.raises(RuntimeError, match=r"lorapype is not installed in ComfyUI's Python\. Run "),
        installation.explained(),
    ):
        import lorapype  # noqa: F401
    with pytest.raises(ModuleNotFoundError), installation.explained():
        import comfy_of_nobody  # noqa: F401


def test_no_requirement_is_torch() -> None:
    names = [re.split(r"[<>=!~ ;\[]", line)[0] for line in (PACK / "requirements.txt").read_text("utf-8").splitlines()]
    assert "diffusers" in names and "torch" not in names


@pytest.mark.parametrize("can_link", [True, False])
def test_a_clone_has_its_texts_and_examples_where_comfyui_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_link: bool
) -> None:
    for file in ("locales/ko/main.json", "example_workflows/first.json"):
        (tmp_path / "comfy_nodes" / file).parent.mkdir(parents=True)
        (tmp_path / "comfy_nodes" / file).write_text("1", encoding="utf-8")
    if not can_link:  # Windows wants a privilege for it
        monkeypatch.setattr(Path, "symlink_to", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    for text in ("1", "2"):  # and after an update
        (tmp_path / "comfy_nodes/locales/ko/main.json").write_text(text, encoding="utf-8")
        installation.lay_out(tmp_path)
        assert (tmp_path / "locales/ko/main.json").read_text("utf-8") == text
        assert (tmp_path / "example_workflows/first.json").is_file()


def wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    """Write the wheel of an empty package."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as made:
        made.writestr(f"{name}.py", "")
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", "")


@pytest.mark.slow
def test_installing_never_replaces_torch(tmp_path: Path) -> None:
    """Though lorapipe wants a newer one, and so does something that it needs."""
    wheels, pack = tmp_path / "wheels", tmp_path / "pack"
    wheels.mkdir()
    for name, version, requires in (
        ("torch", "2.5.0", ""),
        ("torch", "2.9.0", ""),
        ("needed", "1.0", "torch"),
        ("lorapipe", lorapipe.__version__, "torch>=2.6"),
    ):
        wheel(wheels, name, version, requires)
    pack.mkdir()
    for name in ("install.py", "pyproject.toml"):
        shutil.copy(PACK / name, pack)
    (pack / "requirements.txt").write_text("needed\n", encoding="utf-8")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(python), *words], env=environment, capture_output=True, text=True)

    refused = run(str(pack / "install.py"))
    assert refused.returncode == 2 and "Run this file with the Python that runs ComfyUI" in refused.stderr
    run("-m", "pip", "install", "torch==2.5.0").check_returncode()
    done = run(str(pack / "install.py"))
    assert done.returncode == 0, done.stderr
    assert "torch>=2.6, but you have torch 2.5.0" in done.stdout
    listed = run("-m", "pip", "list").stdout
    assert re.search(r"torch +2\.5\.0", listed) and re.search(rf"lorapipe +{lorapipe.__version__}", listed)
    (pack / "requirements.txt").write_text("needed\ntorch>=2.9\n", encoding="utf-8")
    assert run(str(pack / "install.py")).returncode != 0, "pip may not change torch, even if something needs it"
