"""Does tuning mend bad starts? Tunes the quickstart, on the pocket base, from settings that are deliberately wrong.

    python benchmarks/tune.py [--only rates-up] [--seeds 1] [--minutes 60] [--work FOLDER]

Each start is a tuning of at most four rounds; what is done is kept in the folder, so the command goes on where it stopped.
Prints for each start what the first round and the best are at strength 1, and the verdicts of all rounds; then how many
ended good, whether one ended worse than it began (exit status 1), and the likeness and prompt-following that all ended with,
beside those of the quickstart as it is set by hand. A round takes some minutes on one core.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lorapipe.pipeline import loader
from lorapipe.tuning.rounds import TuningState
from lorapipe.tuning.search import WORSE
from lorapipe.tuning.tuner import Tuning

ROOT = Path(__file__).parents[1] / "pipelines"
ROUNDS = 4
UNET, TEXT_ENCODER, STEPS = 1e-3, 2.5e-4, 400
"""A third of the quickstart's rates, so that eight times as much is a rate that can be written at all."""
STARTS: Mapping[str, Mapping[str, float]] = {
    "as it is": {},
    "rates-up": {"unet_lr": UNET * 8, "text_encoder_lr": TEXT_ENCODER * 8},
    "rates-down": {"unet_lr": UNET / 8, "text_encoder_lr": TEXT_ENCODER / 8},
    "unet-up": {"unet_lr": UNET * 9},
    "text-encoder-up": {"text_encoder_lr": TEXT_ENCODER * 10},
    "steps-many": {"steps": STEPS * 4},
    "steps-few": {"steps": STEPS // 4},
    "rank-low": {"adapter.rank": 2},
    "rank-high": {"adapter.rank": 128},
}
BY_HAND = "by-hand"
"""The quickstart with its own settings: what the others are compared with, and not counted."""
LEAKING = "leaking"
"""One more start: captions that say nothing but the trigger word, beside a caption stage."""
EVERY = (BY_HAND, *STARTS, LEAKING)
TAGS = f"""\
extends: {ROOT / "quickstart.yaml"}
tune: {{captions: tags}}
stages:
  tags: {{uses: caption, images: "${{images}}", tagger: pocket, existing: extend}}
"""


class Outcome(NamedTuple):
    """How a tuning ended."""

    start: str
    seed: int
    tuned: TuningState

    @property
    def is_worse(self) -> bool:
        """Whether the best round is clearly worse than the first."""
        return self.tuned.best.merit < self.tuned.rounds[0].merit - WORSE

    @property
    def likeness(self) -> float:
        """How alike the best round is at strength 1."""
        return min(each.identity for each in self.tuned.best.judgements)

    @property
    def following(self) -> float:
        """How far the best round follows prompts at strength 1."""
        return min(each.following or 0.0 for each in self.tuned.best.judgements)

    def line(self) -> str:
        """The outcome in a line."""
        first, best = self.tuned.rounds[0], self.tuned.best
        states = " → ".join("/".join(each.state for each in round.judgements) for round in self.tuned.rounds)
        good = "good" if best.is_good else "not good"
        ends = (
            f"merit {first.merit:.2f} → {best.merit:.2f} (likeness {self.likeness:.2f}, prompts {self.following:.2f})"
        )
        return f"{self.start:16} seed {self.seed}: {good}, {ends}, {len(self.tuned.rounds)} rounds: {states}"


def main(given: Sequence[str] | None = None) -> int:
    """Tune every start with every seed until the time is over, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=EVERY, help="this start; may be repeated")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no start after so long")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-tune")
    options = parser.parse_args(given)
    began, outcomes = time.monotonic(), list[Outcome]()
    for seed in range(options.seeds):
        for start in options.only or EVERY:
            if time.monotonic() - began < options.minutes * 60:
                outcomes.append(tuned(start, seed, options.work))
                print(outcomes[-1].line(), flush=True)
    by_hand = [each for each in outcomes if each.start == BY_HAND]
    starts = [each for each in outcomes if each.start != BY_HAND]
    good, worse = sum(each.tuned.best.is_good for each in starts), sum(each.is_worse for each in starts)
    print(f"{good} of {len(starts)} good at strength 1, {worse} worse than at first")
    for name, some in (("tuned", starts), ("by hand", by_hand)):
        if some:
            likeness, following = (
                statistics.fmean(getattr(each, of) for each in some) for of in ("likeness", "following")
            )
            print(f"{name}: likeness {likeness:.2f}, prompts {following:.2f} on average")
    return 1 if worse else 0


def tuned(start: str, seed: int, work: Path) -> Outcome:
    """Tune the quickstart from a start."""
    folder = work / start.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    images = ROOT / "examples" / "penny"
    if start == LEAKING:
        images = without_captions(images, folder / "penny")
        (folder / f"seed-{seed}.yaml").write_text(TAGS, encoding="utf-8")
    else:
        shutil.copy(ROOT / "quickstart.yaml", folder / f"seed-{seed}.yaml")
    settings = {"unet_lr": UNET, "text_encoder_lr": TEXT_ENCODER, "steps": STEPS, **STARTS.get(start, {})}
    settings = {"seed": seed} | ({} if start == BY_HAND else settings)
    sets = [f"penny.{name}={value}" for name, value in settings.items()]
    sets += [f"tune.rounds={ROUNDS}", f"vars.images={images}", f"file.to=seed-{seed}.safetensors"]
    tuning = Tuning(loader.load(folder / f"seed-{seed}.yaml", sets), devices=["cpu"])
    tuning.finish()
    return Outcome(start, seed, tuning.tuned)


def without_captions(images: Path, folder: Path) -> Path:
    """Copy pictures, with captions of the trigger word alone."""
    folder.mkdir(exist_ok=True)
    for picture in images.glob("*.png"):
        shutil.copy(picture, folder)
        (folder / picture.with_suffix(".txt").name).write_text("penny", encoding="utf-8")
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
