"""Quality of the quickstart: what its LoRA's samples show, by classifiers that were trained on drawings.

    python benchmarks/quickstart.py [--example penny|neon|lantern …] [--seeds 3] [--count 45] [--work FOLDER]
                                    [--captions true|tagged]

Runs `pipelines/quickstart.yaml` (for a style or a concept with that example's pictures and prompts) once for each seed
in a new folder, loads the exported file into diffusers at the verdict's strength, and samples `--count` prompts that no
caption has. *whole*: every part of the subject, the style or the object is there; *asked*: background, eyes and hat are
as the prompt says. The pictures stay in `--work`. With `--captions tagged` the pictures' captions are replaced by those of
the pocket tagger, of which the attributes that the true ones have are kept, after the trigger.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import lorapipe  # noqa: E402
from lorapipe.captioning.taggers.pocket import PocketTags  # noqa: E402
from lorapipe.pipeline.artifacts import File, Report  # noqa: E402
from lorapipe.pocket import BASE, CFG, concept_lantern, style_neon, subject_penny  # noqa: E402
from lorapipe.pocket.world import ATTRIBUTES, Creature, sample  # noqa: E402
from tools.pocket.clip_score import load_base, pictures  # noqa: E402
from tools.pocket.drawing_classifier import (  # noqa: E402
    PARTS,
    DrawingClassifier,
    accuracy,
    labelled,
    said,
    train_classifier,
)
from tools.pocket.pictures import to_bytes  # noqa: E402

ASKED = ("background", "eyes", "hat")
UNSAID = {"no hat", "empty hands"}
"""Tags of what is not there, which the examples' captions leave out."""
DRAWINGS, STEPS, SEED, ACROSS = 5000, 1200, 1000, 15


def main() -> None:
    """Measure every example and seed, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--example", nargs="+", choices=PROMPTS, default=[*PROMPTS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--count", type=int, default=45)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-quickstart")
    parser.add_argument("--captions", choices=("true", "tagged"), default="true")
    options = parser.parse_args()
    is_tagged = options.captions == "tagged"
    for example in options.example:
        judge = classifier(example, options.work)
        right = accuracy(judge, labelled(example, 300, 2))
        print(f"{example:8} classifier: " + ", ".join(f"{name} {share:.1%}" for name, share in right.items()))
        for seed in range(options.seeds):
            folder = options.work / f"{example}-{seed}{'-tagged' * is_tagged}"
            measure(example, seed, options.count, judge, folder, tagged=is_tagged)


def measure(
    example: str, seed: int, count: int, judge: DrawingClassifier, folder: Path, *, tagged: bool = False
) -> None:
    """Run the quickstart in a new `folder` and print what its LoRA's samples show."""
    shutil.rmtree(folder, ignore_errors=True)
    file, strength, step, seconds = quickstart(example, seed, folder, tagged=tagged)
    named, prompts = named_prompts(example, count)
    shown = []
    for cfg in (CFG, 3.0, 2.0):
        whole, asked = shares(judge, painted(file, strength, cfg, prompts, folder / f"cfg-{cfg:g}.png"), named)
        shown.append(f"cfg {cfg:g}: whole {whole:5.1%}, asked {asked:5.1%}")
    print(f"{example:8} seed {seed}: {seconds:4.0f} s, step {step} at {strength:g}; " + "; ".join(shown), flush=True)


def named_prompts(example: str, count: int) -> tuple[list[dict[str, str]], list[str]]:
    """Return the tags of unseen prompts, and the prompts."""
    both = [PROMPTS[example](Random(f"asked {number}"), number) for number in range(count)]
    return [named for named, _ in both], [prompt for _, prompt in both]


def shares(judge: DrawingClassifier, pictures: torch.Tensor, named: list[dict[str, str]]) -> tuple[float, float]:
    """Return the share of pictures that are whole, and the share of attributes of `ASKED` that are as the prompt says."""
    whole, seen = judge.shown(pictures)
    right = [seen[place][name] == each[name] for place, each in enumerate(named) for name in ASKED]
    return sum(whole) / len(whole), sum(right) / len(right)


def quickstart(
    example: str, seed: int, folder: Path, more: Sequence[str] = (), *, tagged: bool = False
) -> tuple[Path, float, int, float]:
    """Run the quickstart; return the exported file, the verdict's strength and step, and the seconds.

    Results of an earlier run in `folder` are reused. With `tagged`, the captions are the pocket tagger's.
    """
    examples = folder / "pipelines" / "examples" / example
    shutil.copytree(ROOT / "pipelines" / "examples" / example, examples, dirs_exist_ok=True)
    if tagged:
        write_tagged(examples)
    pipeline = shutil.copy(ROOT / "pipelines" / "quickstart.yaml", folder / "pipelines")
    changes = [*more, f"vars.images=examples/{example}", f"penny.seed={seed}"]
    if example != "penny":
        prompts = [PROMPTS[example](Random(f"prompt {number}"), number)[1] for number in range(3)]
        changes.append(f"grid.prompts={prompts}")
    started = time.monotonic()
    made = lorapipe.run(lorapipe.load(pipeline, changes))
    report, file = made["grid"], made["file"]
    assert isinstance(report, Report) and isinstance(file, File)
    return file.path, report.best.strength, report.best.snapshots[0].step, time.monotonic() - started


def write_tagged(folder: Path) -> None:
    """Replace the captions of an example by the pocket tagger's: the trigger, then attributes that true ones name."""
    model = PocketTags().load("cpu")
    kinds = {tag: name for name, values in ATTRIBUTES.items() for tag in values}
    files = sorted(folder.glob("*.txt"))
    true = [file.read_text(encoding="utf-8").strip().split(", ") for file in files]
    kept = {kinds[tag] for tags in true for tag in tags if tag in kinds}
    for file, tags in zip(files, true, strict=True):
        with Image.open(file.with_suffix(".png")) as picture:
            [found] = model.tag([model.prepare(picture.convert("RGB"))])
        said = [tag for tag in found.caption.split(", ") if kinds.get(tag) in kept and tag not in UNSAID]
        file.write_text(", ".join([tags[0], *said]) + "\n", encoding="utf-8")


def painted(file: Path, strength: float, cfg: float, prompts: list[str], sheet: Path) -> torch.Tensor:
    """Sample a picture for each prompt, (N, 3, 64, 64) in -1..1; save all of them side by side as `sheet`."""
    pipeline = load_base(BASE)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.load_lora_weights(str(file.parent), weight_name=file.name)
    pipeline.fuse_lora(lora_scale=strength)
    pipeline.unload_lora_weights()
    found = pictures(pipeline, prompts, SEED, cfg)
    rows = to_bytes(found)
    wide = [
        np.concatenate([*rows[start : start + ACROSS]], axis=1) for start in range(0, len(rows) - ACROSS + 1, ACROSS)
    ]
    Image.fromarray(np.concatenate(wide)).resize((ACROSS * 128, len(wide) * 128), Image.Resampling.NEAREST).save(sheet)
    return found


def classifier(example: str, work: Path) -> DrawingClassifier:
    """Load an example's classifier from `work`, and train it first if it is missing."""
    work.mkdir(parents=True, exist_ok=True)
    kept = work / f"classifier-{example}.pt"
    if kept.exists():
        model = DrawingClassifier(len(PARTS[example]))
        model.load_state_dict(torch.load(kept, weights_only=True))
    else:
        *_, (_, _, model) = train_classifier(labelled(example, DRAWINGS, 1), STEPS)
        torch.save(model.state_dict(), kept)
    return model.eval()


def _penny(rng: Random, number: int) -> tuple[dict[str, str], str]:
    pose = subject_penny.pose(rng, ATTRIBUTES["background"][number % 9])
    return said(pose), subject_penny.caption(pose)


def _of_creatures(caption: Callable[[Creature], str]) -> Callable[[Random, int], tuple[dict[str, str], str]]:
    def prompt(rng: Random, number: int) -> tuple[dict[str, str], str]:
        creature = sample(rng, ATTRIBUTES["background"][number % 9])
        return said(creature), caption(creature)

    return prompt


PROMPTS = {
    "penny": _penny,
    "neon": _of_creatures(style_neon.caption),
    "lantern": _of_creatures(concept_lantern.caption),
}
"""Example → function that returns the tags of an unseen prompt, and the prompt."""

if __name__ == "__main__":
    main()
