"""The documentation is correct: its commands work, it covers every choice, its links exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import generate
import pytest
from PIL import Image

from lorapipe.cli import main

ROOT = Path(__file__).parents[1]
COMMANDS = [file.stem for file in sorted((ROOT / "lorapipe" / "commands").glob("[a-z]*.py"))]
WRITTEN = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")),
]
PAGES = [*WRITTEN, *sorted((ROOT / "docs" / "reference").glob("*.md"))]
PROSE = "\n".join(page.read_text("utf-8") for page in WRITTEN)
WHOLE = """\
vars: {trigger: penny, steps: 1000}
stages:
  dataset: {uses: prepare, images: photos, base: {family: sd15, checkpoint: pocket}}
  penny: {uses: train, dataset: $dataset, adapter: {type: lora}}
  lora: {uses: train, dataset: $dataset, adapter: {type: lora}}
  grid: {uses: evaluate, weights: $lora, prompts: [penny]}
"""
"""The pipeline into which a block with a part of one is inserted."""


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Return every block of a language, by its page and position."""
    for page in WRITTEN:
        found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
        for place, (indent, text) in enumerate(found):
            yield f"{page.stem}-{place}", re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)


YAML, PYTHON = dict(blocks("yaml")), dict(blocks("python"))


@pytest.mark.parametrize("name", sorted(YAML.keys() - {"comfyui-0"}))  # which is a file of ComfyUI's
def test_every_pipeline_is_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With pocket instead of missing bases; a part of a pipeline extends a complete one."""
    here = tmp_path / "project"
    for folder in ("photos/penny", "penny", "women", "larger"):
        (here / folder).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (512, 512), (50 * number, 90, 20)).save(here / folder / f"{number}.png")
    (tmp_path / "ComfyUI" / "models" / "loras").mkdir(parents=True)
    monkeypatch.chdir(here)
    text = re.sub(r"checkpoint: [^\s,}$\"]+", "checkpoint: pocket", YAML[name]).replace("family: sdxl", "family: sd15")
    text = re.sub(r"bases: \[[^\]]+\]", "bases: [pocket]", text)
    has_base = "extends: lorapipe:" in text
    part = not has_base and ("uses: prepare" not in text or "stages:" not in text or "base:" not in text)
    if part:
        (here / "whole.yaml").write_text(WHOLE, encoding="utf-8")
        text = f"extends: whole.yaml\n{text if 'stages:' in text else 'stages:' + chr(10) + text}"
    (here / "cat.yaml").write_text(text, encoding="utf-8")
    assert main(["check", "cat.yaml"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in PYTHON if name.startswith("python-")])
def test_every_program_runs(
    name: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    exec(PYTHON[name], {"__name__": "guide"})  # noqa: S102
    assert capsys.readouterr().out


@pytest.mark.slow
def test_the_pocket_base_is_drawn_with_as_its_page_says() -> None:
    """With fewer steps."""
    found: dict[str, Image.Image] = {}
    exec(PYTHON["pocket-0"].replace("num_inference_steps=25", "num_inference_steps=2"), found)  # noqa: S102
    assert found["picture"].size == (64, 64)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_docs(command: str) -> None:
    assert re.search(rf"lorapipe {command}\b|`{command} ", PROSE)


def test_every_knob_group_and_stage_is_in_the_prose() -> None:
    stages, groups = generate.kinds()["stage"], generate.groups()
    assert not [name for name in (*stages, *groups) if f"`{name}`" not in PROSE and f"`{name}:" not in PROSE]


def test_what_is_made_from_the_code_is_current() -> None:
    """Otherwise: python tools/generate.py."""
    made = dict(generate.documents())
    assert not [file.name for file, text in made.items() if file.read_text("utf-8") != text]
    assert {*generate.REFERENCE.glob("*.md")} <= made.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?:", target):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), target
            assert not anchor or anchor in set(anchors(file)), target


def anchors(page: Path) -> Iterator[str]:
    """Return GitHub's anchors of a page's headings."""
    for heading in re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_are_named_are_there(page: Path) -> None:
    """Paths of the repository in code spans."""
    named = re.findall(
        r"`((?:lorapipe|tests|tools|benchmarks|pipelines|comfy_nodes|docs|schemas)/[\w./-]+)`", page.read_text("utf-8")
    )
    missing = {path for path in named if not (ROOT / path).exists() and not re.search(r"[A-Z]{4}|outputs", path)}
    assert not missing


def test_the_recipes_example_is_a_sample_that_passes_its_contract_tests() -> None:
    sample = ROOT / "tests" / "additions" / "optimizer" / "lorapipe" / "training" / "optimizers" / "radam.py"
    assert PYTHON["CONTRIBUTING-0"].strip() in sample.read_text("utf-8")
