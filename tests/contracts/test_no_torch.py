"""Describing, planning and reusing never import torch or similar packages, so that the command line is quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "accelerate",
    "numpy",
    "PIL",
    "safetensors",
    "rich",
    "jsonschema",
)
PROBE = """
import sys
from lorapipe.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as end:
    status = end.code
print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(status)
"""


def loaded(*words: str, folder: Path = ROOT) -> set[str]:
    """Return the packages that a command has imported."""
    run = subprocess.run(
        [sys.executable, "-c", PROBE, *words], cwd=folder, capture_output=True, encoding="utf-8", timeout=120
    )
    assert run.returncode == 0, run.stderr
    return set(run.stderr.rpartition("loaded:")[2].split())


def test_an_import_loads_nothing_heavy(tmp_path: Path) -> None:
    script = "accelerate launch train_network.py --optimizer_type=Prodigy --pretrained_model_name_or_path=pocket"
    (tmp_path / "a.sh").write_text(f"{script}\n", encoding="utf-8")
    assert not loaded("import", "a.sh", "--to", "a.yaml", folder=tmp_path) & set(HEAVY)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["show"],
        ["show", "stage"],
        ["show", "stage", "train"],
        ["show", "adapter", "lora"],
        ["schema"],
    ],
    ids=" ".join,
)
def test_commands_that_describe_load_nothing_heavy(words: list[str]) -> None:
    assert not loaded(*words) & set(HEAVY)


def test_the_queue_and_an_idle_watcher_load_nothing_heavy(tmp_path: Path) -> None:
    assert not loaded("queue") & {*HEAVY, "watchdog"}
    probe = """
import os, signal, sys, threading, time
def end():
    while not {"inbox", "page", "queue auto"} <= {thread.name for thread in threading.enumerate()}:
        time.sleep(0.05)
    time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=end, daemon=True).start()
from lorapipe.cli import main
assert main(["watch", sys.argv[1], "--ui"]) == 130
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    run = subprocess.run(
        [sys.executable, "-c", probe, str(tmp_path)], capture_output=True, encoding="utf-8", check=True
    )
    modules = set(run.stdout.splitlines()[-1].split())
    assert {"watchdog", "http"} <= modules and not modules & set(HEAVY)


def test_a_watcher_writes_a_job_without_anything_heavy(tmp_path: Path) -> None:
    """Pictures are looked at in a process of their own."""
    probe = """
import sys
from pathlib import Path
from lorapipe.watch.isolated_scan import scan_isolated
from lorapipe.watch.pipeline_writer import DroppedFolder, InboxPipeline, write
from lorapipe.watch.settings import WatchSettings
penny, folder = Path("pipelines/examples/penny").resolve(), Path(sys.argv[1])
scan_isolated(penny)
write(InboxPipeline(None, (), WatchSettings()), DroppedFolder(penny, "penny", folder, "penny"))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    words = [sys.executable, "-c", probe, str(tmp_path)]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert not {*run.stdout.splitlines()[-1].split()} & set(HEAVY)


def test_writing_a_workflow_loads_nothing_heavy(tmp_path: Path) -> None:
    assert not loaded("workflow", "pipelines/quickstart.yaml", str(tmp_path / "graph.json")) & set(HEAVY)
    assert (tmp_path / "graph.json").is_file()


@pytest.mark.parametrize("command", ["check", "plan"])
def test_a_plan_and_its_rules_load_only_what_reads_the_heads_of_pictures(command: str) -> None:
    assert not loaded(command, "pipelines/quickstart.yaml") & (set(HEAVY) - {"PIL"})


def test_a_run_that_reuses_everything_loads_nothing_heavy(project: Path) -> None:
    loaded("run", "cat.yaml", "--on", "inline", "--quiet", folder=project)
    assert not loaded("run", "cat.yaml", folder=project) & set(HEAVY)


def test_describing_comfyuis_nodes_loads_nothing_heavy() -> None:
    probe = "import sys, comfy_nodes.describe as d, comfy_nodes.bridge; d.nodes(); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120)
    assert run.returncode == 0, run.stderr
    assert not {name.partition(".")[0] for name in run.stdout.split()} & set(HEAVY)
