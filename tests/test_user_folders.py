"""The queue and the device locks are where earlier releases put them, on every system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path, PurePath

import platformdirs
import platformdirs.windows
import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from lorapipe.user_folders import device_locks_folder, state_folder

MACHINE = os.uname().nodename if sys.platform != "win32" else ""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="plays all three systems, from one of the others")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def play(monkeypatch: pytest.MonkeyPatch, system: str, dirs: type, local: Path | None = None) -> None:
    """Simulate another system; `local` is Windows' own value of %LOCALAPPDATA%."""
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platformdirs, "PlatformDirs", dirs)
    monkeypatch.setattr(platformdirs.windows, "get_win_folder", lambda name: str(local))


@pytest.mark.parametrize(
    ("system", "dirs", "state", "locks"),
    [
        ("linux", Unix, f".local/state/lorapipe/{MACHINE}", f".cache/lorapipe/devices/{MACHINE}"),
        (
            "darwin",
            MacOS,
            f"Library/Application Support/lorapipe/{MACHINE}",
            f".cache/lorapipe/devices/{MACHINE}",
        ),
        ("win32", Windows, "AppData/Local/lorapipe", "AppData/Local/lorapipe/devices/PC"),
    ],
)
def test_they_are_where_they_were(
    home: Path, monkeypatch: pytest.MonkeyPatch, system: str, dirs: type, state: str, locks: str
) -> None:
    if system == "win32":
        monkeypatch.setenv("LOCALAPPDATA", str(home / "AppData" / "Local"))
        monkeypatch.setenv("COMPUTERNAME", "PC")
    play(monkeypatch, system, dirs, home / "AppData" / "Local")
    assert PurePath(os.path.normpath(state_folder())) == home / state
    assert PurePath(os.path.normpath(device_locks_folder())) == home / locks


def test_linux_has_them_where_the_environment_says(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, "linux", Unix)
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    assert state_folder() == home / "state" / "lorapipe" / MACHINE
    assert device_locks_folder() == home / "cache" / "lorapipe" / "devices" / MACHINE


@pytest.mark.parametrize(
    ("system", "dirs", "former"),
    [("darwin", MacOS, "Library/Application Support"), ("win32", Windows, "AppData/Local")],
)
def test_a_queue_that_is_there_is_found_again_whatever_the_environment_says(
    home: Path, monkeypatch: pytest.MonkeyPatch, system: str, dirs: type, former: str
) -> None:
    monkeypatch.setenv("LOCALAPPDATA", str(home / former))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "elsewhere"))
    play(monkeypatch, system, dirs, home / "elsewhere")
    assert state_folder().is_relative_to(home / "elsewhere")
    (home / former / "lorapipe").mkdir(parents=True)
    assert state_folder().is_relative_to(home / former / "lorapipe")


def test_nothing_is_loaded_for_them_until_they_are_wanted() -> None:
    modules = "sys, lorapipe.cli, lorapipe.job_queue.home, lorapipe.pipeline.execution.devices"
    code = f"import {modules}; print('platformdirs' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
