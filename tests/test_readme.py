"""The commands of the README work as written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from lorapipe.cli import main

ROOT = Path(__file__).parents[1]
BLOCK = next(
    text
    for text in re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    if "vars:" in text
)
EXAMPLE = (ROOT / "pipelines" / "train-sd15.yaml").read_text("utf-8")


@pytest.mark.parametrize(("text", "training"), [(BLOCK, "penny"), (EXAMPLE, "subject")], ids=["README", "train-sd15"])
def test_ones_own_pictures_can_be_tried_with_pocket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, training: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(4):
        picture = Image.new("RGB", (320, 240 + 40 * number), (90 * (number % 3), 200, 40 * number))
        ImageDraw.Draw(picture).ellipse((20 + 30 * number, 30, 200, 180), fill=(200, 60 * number, 30))
        picture.save(tmp_path / "photos" / f"{number}.jpg")
    Path("my.yaml").write_text(text.replace("./animefull.safetensors", "pocket"), encoding="utf-8")
    assert main(["check", "my.yaml"]) == main(["plan", "my.yaml"]) == 0
    if training == "penny":
        quick = [
            f"{training}.steps=3",
            f"{training}.snapshots=1",
            "grid.steps=2",
            "grid.pictures=1",
            "grid.strengths=[1.0]",
        ]
        assert main(["run", "my.yaml", "--quiet", *(word for each in quick for word in ("--set", each))]) == 0
        assert (tmp_path / "out" / "penny.safetensors").stat().st_size > 10_000
        guide: dict[str, Any] = {}
        exec((ROOT / "docs" / "judging.md").read_text("utf-8").split("```python\n")[1].partition("```")[0], guide)  # noqa: S102
        assert guide["best_strength"](next(tmp_path.rglob("report.json"))) == 1
