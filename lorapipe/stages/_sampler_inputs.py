"""What stages that sample pictures share: the sampler's options, the prompts, and words of embedding files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from lorapipe.errors import InputError
from lorapipe.evaluation import prompts
from lorapipe.pipeline.events import Log
from lorapipe.training.data.trigger_word import trigger_word

if TYPE_CHECKING:
    from lorapipe.evaluation.sampler import SamplingOptions
    from lorapipe.models import Family, Model
    from lorapipe.pipeline.context import Context
    from lorapipe.spec import Source
    from lorapipe.training.caption_augment import Captioning
    from lorapipe.training.data.manifest import Manifest
    from lorapipe.training.solver_names import SolverName
    from lorapipe.training_record import TrainingRecord

READING: Mapping[str, Any] = {"max_tokens": 75, "clip_skip": 1, "weighted": False}
"""How prompts are read for weights without a training record."""


def sampling_options(
    base: Family,
    size: tuple[int, int],
    steps: int,
    cfg: float,
    solver: SolverName,
    negative: str,
    reading: Mapping[str, Any],
) -> SamplingOptions:
    """Return how pictures are sampled. `InputError` if the base cannot paint that size."""
    from lorapipe.evaluation.sampler import SamplingOptions

    step = base.size_step()
    if any(side % step for side in size):
        cure = f"Both sides must be multiples of {step}."
        raise InputError(f"{size[0]}x{size[1]} does not fit the base.", where="size", cure=cure)
    return SamplingOptions(size, steps, cfg, solver, negative, **reading)


def asked_prompts(
    wanted: Sequence[str],
    record: TrainingRecord | None,
    manifest: Manifest,
    captioning: Captioning,
    context: Context,
) -> tuple[str, ...]:
    """Return the prompts, with scenes in place of `auto`; the trigger word alone is the first, if it is known."""
    captions = [captioning.canonical(each.caption) for each in manifest.training]
    own = {"captions": dict(manifest.captions)} if manifest.captions else {}
    trigger = trigger_word({**(record.settings if record else {}), **own}, captions)
    if not trigger:
        context.emit(Log(text="no trigger word is known: neither settings nor captions have one in common"))
    asked = prompts.prompt_rows(wanted, trigger, captions)
    if prompts.AUTO in wanted:
        context.emit(Log(text=f"prompts: auto asks for {' · '.join(asked)}"))
    return asked


def words_added(embeddings: Sequence[Source], model: Model) -> AbstractContextManager[object]:
    """Add the words of embedding files to the model for a while; a file's name is its word. `InputError` if it has none."""
    from lorapipe import formats
    from lorapipe.formats import AdapterWeights
    from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
    from lorapipe.training.model_contexts import attached

    words: dict[str, Any] = {}
    for place, file in enumerate(embeddings):
        found = formats.open(file.path, model.kohya_names())
        if found.modules or len(found.embeddings) != 1:
            what = f"{file.path.name} is not an embedding of one word."
            raise InputError(what, where=f"embeddings[{place}]", cure="Name an embedding's file.")
        words[file.path.stem] = next(iter(found.embeddings.values()))
    return attached(WeightsAdapter(AdapterWeights(embeddings=words)), model, ()) if words else nullcontext()
