"""Module names in exported files are those that ComfyUI looks for; at full size, without weights."""

from __future__ import annotations

from pathlib import Path

import comfyui_names
import published
import pytest

from lorapipe.models import Family

assert Family.registry is not None


@pytest.mark.parametrize("family", Family.registry.names())
def test_every_module_is_written_under_a_name_that_comfyui_knows(family: str, tmp_path: Path) -> None:
    model = published.model(published.base(family, tmp_path))
    for convolutions in (False, True):
        places = [(part, ref.path) for part in model.trainable for ref in model.targets(part, convolutions)]
        written = [model.kohya_name(*place) for place in places]
        assert len(written) == len(set(written))
        assert set(written) == comfyui_names.of_family(family, convolutions)
