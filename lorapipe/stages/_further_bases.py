"""Judging weights on further bases: their names, the dataset as each encodes it, and what all of them say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lorapipe.evaluation.base_comparison import BaseComparison
    from lorapipe.evaluation.evaluation_result import EvaluationResult
    from lorapipe.models import Checkpoint, Family, Model
    from lorapipe.training.data.cache import Cache
    from lorapipe.training.data.manifest import Manifest


def base_name(checkpoint: Checkpoint) -> str:
    """Return the name of a base: its checkpoint's, without folder and ending."""
    path = checkpoint.path
    return "pocket" if checkpoint.plain() == "pocket" else path.stem if path.is_file() else path.name


def encoded_by(manifest: Manifest, base: Family, model: Model, dtype: str, cache: Cache) -> Manifest:
    """Return a dataset's manifest with the cache keys of its pictures as another base's VAE encodes them."""
    from lorapipe.training.data.encoders import PICTURE_PARTS, encoder_digest
    from lorapipe.training.data.filter import with_latents
    from lorapipe.training.data.latents import latents_key

    encoder = encoder_digest(base, PICTURE_PARTS, dtype, cache, lambda: model)
    return with_latents(manifest, lambda picture, variant: latents_key(picture, variant, manifest.background, encoder))


def on_several_bases(result: EvaluationResult, compared: BaseComparison) -> EvaluationResult:
    """Return the result on the first base with the snapshot for all bases chosen, and with what all of them say."""
    first = compared.bases[0]
    best = result.best
    if compared.step != best.step and first.scores is not None:
        chosen = next(
            cell
            for cell in result.scored
            if cell.step == compared.step and cell.uniform and cell.strength == first.strength
        )
        best = chosen
    verdict = result.verdict
    headline = verdict.headline.replace(str(verdict.best), str(best))
    return replace(
        result, verdict=replace(verdict, best=best, headline=headline, reasons=(*verdict.reasons, *compared.reasons()))
    )
