"""The stages and variables of a drafted pipeline, with the reason of every setting."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from lorapipe.spec.paths import from_folder
from lorapipe.starting_settings.caption_facts import CaptionFacts
from lorapipe.starting_settings.choices import Choices, notes
from lorapipe.starting_settings.drafts import PipelineDraft, Setting, StageDraft, literal
from lorapipe.starting_settings.folder_facts import HELD_OUT
from lorapipe.training.data.filter import ENOUGH_TO_HOLD_OUT

POCKET_RATES = (3e-3, 7.5e-4)
"""Learning rates of the pocket base: thirty times SD1.5's."""
FEW_EPOCHS = 10


def draft(choices: Choices, folder: Path) -> PipelineDraft:
    """Return the pipeline for a file in `folder`."""
    wishes = choices.wishes
    kind = choices.base.kind.partition(" ")[2].removesuffix(" checkpoint")
    on = "the bundled pocket base" if choices.is_pocket else kind
    how = "" if wishes.subject == "style" else f", category {wishes.category}"
    title = f"A LoRA of a {wishes.subject}{how}, on {on}: {choices.facts.summary()}."
    stages = [*_datasets(choices), _training(choices), _grid(choices), _file(choices)]
    return PipelineDraft(title, tuple(notes(choices)), tuple(_variables(choices, folder)), tuple(stages))


def _variables(choices: Choices, folder: Path) -> Iterator[Setting]:
    facts, checkpoint = choices.facts, choices.base.checkpoint
    yield Setting("images", literal(from_folder(facts.root, folder)), facts.summary())
    where = "pocket" if choices.is_pocket else literal(from_folder(checkpoint.path, folder))
    why = "comes with lorapipe, to try the pictures; new --base FILE writes this for yours"
    yield Setting("checkpoint", where, why if choices.is_pocket else f"{choices.base.kind}, by its tensors")
    captions = choices.facts.captions
    source = "in the captions" if captions.shared == choices.trigger else "from the folder's name"
    yield Setting("trigger", literal(choices.trigger), "as asked" if choices.wishes.trigger else source)


# -------------------------------------------------------------------------------------------------------- the pictures


def _datasets(choices: Choices) -> Iterator[StageDraft]:
    """Yield the stages that prepare pictures: one for all, or one for each subfolder where repeats balance them."""
    facts = choices.facts
    if choices.is_balanced:
        for place, group in enumerate(facts.groups):
            count = choices.repeats(group)
            why = f"{group.count} pictures, {count} times in an epoch, so that the subfolders count alike"
            more = (Setting("repeats", count, why),)
            yield _prepare(choices, _dataset_name(choices, place), f"${{images}}/{literal(group.name)}", more)
    else:
        yield _prepare(choices, "dataset", "${images}", (*_excluded(choices), *_repeated(choices)))
    if choices.is_regularised:
        yield StageDraft(
            "class",
            "prepare",
            "pictures of the class, used as often as the others, so that only the subject is learnt",
            (
                Setting("images", f"${{images}}/{literal(facts.regularisation)}", "the subfolder"),
                Setting("base", _base(choices), "the same base"),
                Setting("resolution", choices.sized[0].resolution, "as the others"),
                Setting("held_out", 0, "none of these is needed for the report"),
                Setting("captions", {}, "these do not get the trigger word"),
            ),
        )


def _dataset_name(choices: Choices, place: int) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", choices.facts.groups[place].name).strip("-")
    return f"{name}-pictures" if name else f"pictures-{place + 1}"


def _excluded(choices: Choices) -> tuple[Setting, ...]:
    reg = choices.facts.regularisation
    if not reg:
        return ()
    why = "prepared below, as regularisation" if choices.is_regularised else "not used: see above"
    return (Setting("exclude", [reg], why),)


def _repeated(choices: Choices) -> Iterator[Setting]:
    if choices.own_repeats > 1:
        yield Setting("repeats", choices.own_repeats, "times in an epoch, as the folder's name says")


def _base(choices: Choices) -> dict[str, object]:
    return {"family": choices.base.name, "checkpoint": "${checkpoint}"}


def _prepare(choices: Choices, name: str, images: str, more: tuple[Setting, ...]) -> StageDraft:
    size, changed = choices.sized
    flip, why_flip = choices.flip()
    settings = [
        Setting("images", images, "read with its subfolders; nothing in it is changed"),
        *more,
        Setting("base", _base(choices), "pictures are encoded with its VAE"),
        Setting("resolution", size.resolution, changed.get("resolution") or choices.resolution()[1]),
        *_buckets(choices),
        Setting("augment", {"flip": flip}, why_flip),
    ]
    if choices.words.class_word and not all(choices.facts.captions.texts):
        settings.append(Setting("class_word", "${trigger}", "the caption of pictures that have none"))
    if choices.facts.usable >= ENOUGH_TO_HOLD_OUT:
        settings.append(
            Setting("held_out", HELD_OUT, "one picture in ten is kept back, to tell learning from memorising")
        )
    return StageDraft(name, "prepare", "sorts the pictures by shape and encodes them, once", tuple(settings))


def _buckets(choices: Choices) -> Iterator[Setting]:
    facts, size = choices.facts, choices.sized[0]
    low, high = facts.ratios
    if facts.is_square:
        yield Setting("enable_bucket", True, "all pictures are about square, so there is one bucket")
    elif high - low < 0.05:
        yield Setting("enable_bucket", True, f"all pictures have one shape (width / height {low:.2f}), which is kept")
    else:
        yield Setting("enable_bucket", True, f"keeps the shapes (width / height {low:.2f} to {high:.2f}), crops little")
    small = facts.smaller_than(size.resolution * 3 // 4)
    if choices.is_pocket:
        return
    if small:
        yield Setting("bucket_no_upscale", True, f"{small} pictures are smaller, and enlarging would teach their blur")
    elif high - low >= 0.05 and size.resolution in (512, 576):
        longest = 768 if low >= 0.5 and high <= 2 else 1024
        yield Setting("min_bucket_reso", 320, "the shortest side; smaller ones show too little")
        yield Setting("max_bucket_reso", longest, "the longest side, for the shapes that there are")


# -------------------------------------------------------------------------------------------------------- the training


def _training(choices: Choices) -> StageDraft:
    wishes = choices.wishes
    length, why_length = choices.length()
    settings = [
        *_given_datasets(choices),
        Setting("subject", wishes.subject, "for check and plan alone: what is compared with the settings"),
        *([] if wishes.subject == "style" else [Setting("difficulty", wishes.category, "the same")]),
        *_adapter(choices),
        *_rates(choices),
        Setting("weighting", {"type": "min_snr", "gamma": 5}, "trains several times faster; 5 suits every subject"),
        Setting("steps", length, why_length),
        Setting("snapshots", _snapshots(choices.epochs()[0]), "the report says which is the best"),
        *_batch(choices),
        *_text(choices),
        Setting(
            "scale_weight_norms", 0 if choices.is_pocket else 1, "1 keeps the LoRA combinable with others; 0 is off"
        ),
        Setting("seed", 0, "fixed, so that a change of a setting can be seen; change it last"),
        Setting("preview_prompts", ["${trigger}"], "pictures during the training; they change nothing"),
    ]
    return StageDraft("lora", "train", "the training; a stopped one goes on where it was", tuple(settings))


def _given_datasets(choices: Choices) -> Iterator[Setting]:
    names = [_dataset_name(choices, place) for place in range(len(choices.facts.groups))] if choices.is_balanced else []
    yield Setting("dataset", f"${names[0] if names else 'dataset'}", "the pictures")
    if names[1:]:
        yield Setting("more_datasets", [f"${name}" for name in names[1:]], "the other subfolders")
    if choices.is_regularised:
        yield Setting("regularisation", "$class", "keeps the faults of the pictures from being learnt for the class")


def _adapter(choices: Choices) -> Iterator[Setting]:
    size, changed = choices.sized
    why = changed.get("adapter") or choices.rank()[1]
    if choices.is_pocket:
        yield Setting("adapter", {"type": "locon", "rank": size.rank}, "also convolutions, half of so small a U-Net")
        return
    alpha = size.rank // 2 if size.optimizer == "prodigy" or choices.wishes.subject == "style" else size.rank
    yield Setting("adapter", {"type": "lora", "rank": size.rank, "alpha": alpha}, why)


def _rates(choices: Choices) -> Iterator[Setting]:
    size, changed = choices.sized
    if size.optimizer == "prodigy":
        yield Setting("optimizer", "prodigy", "finds its own rate; the rates below are factors on it")
        yield Setting("unet_lr", 1.0, "the best factor; to learn less or more, give the optimizer another d_coef")
        rate, why = 1.0, "the same, as prodigy has one rate for all parts"
    else:
        why = changed.get("optimizer") or "quick and sparing, with rates that are known to work"
        yield Setting("optimizer", "adamw", why)
        main, rate = POCKET_RATES if choices.is_pocket else (1e-4 * size.batch, choices.text_encoder_rate)
        usual = "noise or repeated parts in pictures: lower; details missing: higher"
        why = "thirty times SD1.5's, as the base is small" if choices.is_pocket else usual
        yield Setting("unet_lr", main, why)
        why = "well below unet_lr; unwanted things appear: lower"
    off = changed.get("text_encoder_lr") or "the text encoders are not trained, which is usual here and saves memory"
    yield Setting("text_encoder_lr", rate, why) if size.text_encoder else Setting("text_encoder_lr", 0, off)
    if size.optimizer == "prodigy":
        yield Setting("scheduler", "constant", "a falling schedule would undo what prodigy finds")
    else:
        best = "cosine" if choices.is_pocket else "cosine_with_restarts"
        yield Setting("scheduler", best, "large steps first, small ones at the end: finer pictures")


def _snapshots(epochs: int) -> object:
    return f"every {math.ceil(epochs / FEW_EPOCHS)} epochs" if epochs > FEW_EPOCHS else FEW_EPOCHS


def _batch(choices: Choices) -> Iterator[Setting]:
    size, changed = choices.sized
    what = "several at once, for speed; the rates are for so many" if size.batch > 1 else "one picture at a time"
    yield Setting("batch", size.batch, changed.get("batch") or what)
    memory = size.need(choices.base)
    about = f"about {memory / 2**30:.1f} GB by estimate" if memory else "memory is not known for this base"
    why = changed.get("gradient_checkpointing", "")
    how = "auto computes again what a small card asks for; true everything: a fifth of the memory, 1.3 times the time"
    yield Setting("gradient_checkpointing", size.checkpointing or "auto", f"{about}; {why or how}")


def _text(choices: Choices) -> Iterator[Setting]:
    longest = max(choices.facts.captions.longest, CaptionFacts((choices.trigger,)).longest)
    tokens = next((most for most in (75, 150) if longest <= most), 225)
    yield Setting("max_tokens", tokens, f"the longest caption has about {longest} tokens")
    clip_skip, why = choices.clip_skip()
    if choices.base.name == "sd15":
        yield Setting("clip_skip", clip_skip, why)
    yield _captioning(choices)


def _captioning(choices: Choices) -> Setting:
    captions, words = choices.facts.captions, choices.words
    how: dict[str, object] = {}
    reasons = []
    if words.prefix:
        how["prefix"] = "${trigger},"
        reasons.append("no caption has the trigger word: it is put before each")
    elif words.trigger:
        how["trigger"] = "${trigger}"
        reasons.append("the trigger word is put before captions that lack it")
    first = bool(how) or captions.in_front(choices.trigger)
    if captions.kind == "tags" and first and len(set(captions.texts)) > 1:
        how |= {"shuffle": True, "keep_tokens": 1}
        reasons.append("tags in another order each time, the trigger word first")
    if choices.is_pocket:
        how["dropout"] = 0.1
        reasons.append("one picture in ten without its caption, or high CFG burns the pictures")
    return Setting("captions", how, "; ".join(reasons) or "used as they are")


# ------------------------------------------------------------------------------------------------ what comes out of it


def _grid(choices: Choices) -> StageDraft:
    settings = [
        Setting("weights", "$lora", "every snapshot is sampled and judged"),
        Setting(
            "prompts",
            [*map(literal, choices.prompts())],
            "scenes made from the captions, combined anew",
        ),
    ]
    if choices.wishes.subject in ("style", "character"):
        kind = "style" if choices.wishes.subject == "style" else "subject"
        settings.append(Setting("kind", kind, "how pictures are compared with the training pictures"))
    if choices.is_pocket:
        settings += [
            Setting("snapshots", 4, "of them are judged, to save time"),
            Setting("strengths", [0.7, 1.0], "two are enough to try"),
            Setting("part_strengths", [], "left out, to save time"),
            Setting("cfg", 2, "the pocket base's pictures burn above"),
        ]
    return StageDraft("grid", "evaluate", "chooses the best snapshot, and says what to change", tuple(settings))


def _file(choices: Choices) -> StageDraft:
    settings = (
        Setting("weights", "$grid.best", "the chosen snapshot"),
        Setting("to", f"out/{literal(choices.file_name)}.safetensors", "loads in ComfyUI, A1111 and Forge"),
        Setting("trigger", "${trigger}", "written into the file, for programs that show it"),
    )
    return StageDraft("file", "export", "the LoRA file", settings)
