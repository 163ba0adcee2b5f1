"""The content keys of the example pipelines' stages, with names in place of the digests of sources and inputs.

    python tests/recorded_keys.py FILE        writes them as JSON

Results are stored under their keys, and the next version must find them: a key may change if the same settings give another
result, but not because something was moved or renamed. Versions of libraries are left out.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import typing
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
PIPELINES = {"quickstart.yaml": "", "train-sd15.yaml": "sd15", "train-sdxl.yaml": "sdxl"}
"""The examples, and the family of the base that they need beside them."""


OF_A_TRAINING = {"Weights": ("dataset", "training", "log")}
"""Optional fields that the result of a training has."""


class _Names:
    """Digests of files, replaced by their names."""

    def __init__(self) -> None:
        self.listings: dict[str, dict[str, str]] = {}

    def path(self, path: Path) -> str:
        """Return a file's name as its digest."""
        return f"sha256:{path.name}"


def keys(folder: Path) -> dict[str, str]:
    """Return the key of each stage of each example, by `file stage`; `folder` is empty."""
    from lorapipe.models import Family
    from lorapipe.pipeline import keys as module
    from lorapipe.pipeline import loader, references

    (folder / "photos").mkdir()
    found = {}
    for name, family in PIPELINES.items():
        sets = []
        if family:
            Family.registry.get(family).tiny(folder / family)  # type: ignore[union-attr]
            sets = [f"vars.images={folder / 'photos'}", f"vars.checkpoint={folder / family}"]
        pipeline = loader.load(ROOT / "pipelines" / name, sets)
        made: dict[str, Any] = {}
        for stage_name, stage in pipeline.stages.items():
            stage = references.resolve(stage, made)
            with patch.object(module, "installed", lambda distribution: "any"):
                found[f"{name} {stage_name}"] = module.identify(stage, _Names()).key  # type: ignore[arg-type]
            made[stage_name] = _stand_in(type(stage).makes, stage_name, getattr(stage, "base", None), made)
    return found


def _stand_in(kind: Any, stage: str, base: Any, made: dict[str, Any]) -> Any:
    """Make an artifact whose files are named after its stage and fields; artifacts inside it are earlier ones."""
    from lorapipe.spec import Spec

    hints = typing.get_type_hints(kind)
    known = {type(artifact): artifact for artifact in made.values()}

    def value(name: str) -> Any:
        hint = next((each for each in typing.get_args(hints[name]) if each in (*known, Path)), hints[name])
        if hint in known:
            return known[hint]
        if hint is Path:
            return Path(f"{stage}-{name}")
        if hint is Spec:
            return base
        return ()

    required = [each.name for each in dataclasses.fields(kind) if each.default is dataclasses.MISSING]
    return kind(**{name: value(name) for name in (*required, *OF_A_TRAINING.get(kind.__name__, ()))})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        text = json.dumps(keys(Path(place)), indent=1)
    Path(sys.argv[1]).write_text(text + "\n", encoding="utf-8")
