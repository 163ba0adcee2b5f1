"""Pictures are sampled from every family, by every solver, also where the schedule ends in pure noise."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import tiny

from lorapipe.evaluation.sampler import Sampler, SamplingOptions
from lorapipe.models import Family
from lorapipe.models.sd2 import SD2
from lorapipe.training.solver_names import SolverName

REGISTRY = Family.registry
assert REGISTRY is not None


@pytest.mark.parametrize("solver", get_args(SolverName))
@pytest.mark.parametrize("name", [*REGISTRY.names(), "sd2 to pure noise"])
def test_a_picture_is_finite_and_of_its_size(
    name: str, solver: SolverName, tmp_path_factory: pytest.TempPathFactory
) -> None:
    family = REGISTRY.get(name.split()[0]).tiny(tmp_path_factory.mktemp("family"))
    if name.endswith("noise"):
        family = SD2(checkpoint=family.checkpoint, zero_terminal_snr=True)
    model = family.load(tiny.DEVICE)
    sampler = Sampler(model, SamplingOptions((64, 48), steps=4, cfg=3.0, solver=solver))
    sampler.read(["a red hat"])
    latents = sampler.latents(["a red hat"], [1], lambda: None)
    assert latents.isfinite().all() and float(latents.abs().max()) < 1e3
    (picture,) = sampler.pictures(["a red hat"], [1], lambda: None)
    assert picture.size == (64, 48) and np.asarray(picture).std() > 0
