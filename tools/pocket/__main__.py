"""Rebuilds the bundled models: `python -m tools.pocket vae|clip|clip-on|base|tagger|score|examples`.

`vae`, `clip`, `clip-on` and `base` train, in this order, in `--work`; each resumes where it was stopped, and the same seed
gives the same weights on the same machine. All but `vae` publish into the package at the end, `base` also during training;
`clip-on` begins with the published CLIP.
`tagger` fits a probe to the published CLIP, in some minutes, and publishes both as a tagger. `score` measures the published
models. `examples` draws the picture folders.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.errors import LorapipeError
from lorapipe.pocket import BASE, CLIP, TAGGER

if TYPE_CHECKING:
    from transformers import CLIPModel

    from tools.pocket.clip import Course

EXAMPLES = Path(__file__).parents[2] / "pipelines" / "examples"
PUBLISH_EVERY = 500


def main() -> int:
    """Parse the command line and run one command."""
    parser = argparse.ArgumentParser(prog="python -m tools.pocket", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--work", type=Path, default=Path("build/pocket"), help="where checkpoints are kept")
    parser.add_argument("--device", default="cpu", help="where to train; on cuda minutes, on a processor days")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is left to chance")
    parser.add_argument("--count", type=int, default=500, help="how many unseen captions `score` uses")
    options = parser.parse_args()
    try:
        COMMANDS[options.command](options)
    except LorapipeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def train_vae(options: argparse.Namespace) -> None:
    """Train the autoencoder."""
    from tools.pocket import vae

    _report((step, loss, psnr) for step, loss, psnr in vae.train_vae(options.work, options.seed, options.device))


def train_clip(options: argparse.Namespace) -> None:
    """Train and publish the tiny CLIP."""
    from tools.pocket import clip

    _train_clip(options, clip.FROM_NOTHING)


def train_clip_on(options: argparse.Namespace) -> None:
    """Train the published tiny CLIP further, and publish it again."""
    from tools.pocket import clip, clip_score

    model = clip_score.load_clip(CLIP).clip.train()
    for course in clip.FURTHER:
        model = _train_clip(options, course, model)


def _train_clip(options: argparse.Namespace, course: "Course", start: "CLIPModel | None" = None) -> "CLIPModel":
    """Train a course and publish what it ends with, which is returned."""
    from tools.pocket import clip, publish, tokenizer

    with tempfile.TemporaryDirectory() as folder:
        words = tokenizer.write_tokenizer(Path(folder))
    drawn = clip.unseen(500)

    def progress() -> Iterable[tuple[int, float, float | None]]:
        for step, loss, run in clip.train_clip(options.work, words, options.seed, options.device, course, start):
            yield step, loss, clip.mean_accuracy(run.average, *drawn) if step % 250 == 0 else None

    _report(progress())
    trained = clip.finished_clip(options.work, words, course).clip
    publish.publish_clip(CLIP, trained)
    return trained


def train_base(options: argparse.Namespace) -> None:
    """Train U-Net and text encoder on the trained VAE's latents, and publish the whole base."""
    from tools.pocket import publish, tokenizer, unet, vae

    autoencoder = vae.finished_vae(options.work, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        words = tokenizer.write_tokenizer(Path(folder))

    def progress() -> Iterable[tuple[int, float, None]]:
        for step, loss, run in unet.train_unet(options.work, autoencoder, words, options.seed, options.device):
            yield step, loss, None
            if step % PUBLISH_EVERY == 0:
                publish.publish_base(BASE, autoencoder, run.average)

    _report(progress())
    publish.publish_base(BASE, autoencoder, unet.finished_unet(options.work, words))


def train_tagger(options: argparse.Namespace) -> None:
    """Fit the tagger's probe to the published CLIP, and publish both."""
    from tools.pocket import tagger
    from tools.pocket.clip_score import load_clip

    clip, drawn = load_clip(CLIP).clip, tagger.drawings(options.seed)
    seen = tagger.features(clip, drawn.pictures, options.seed)

    def progress() -> Iterable[tuple[int, float, None]]:
        for step, loss, probe in tagger.train_probe(seen, drawn.answers, options.seed):
            yield step, loss, None
            if step == tagger.STEPS:
                tagger.publish_tagger(TAGGER, clip, probe)

    _report(progress(), every=250)


def print_score(options: argparse.Namespace) -> None:
    """Print what the CLIP sees in the examples' drawings, then the table of attribute accuracies."""
    from lorapipe.pocket.examples import EXAMPLES
    from tools.pocket.clip_score import said_tags, score

    for example in EXAMPLES:
        shares = said_tags(CLIP, example)
        print(f"{example:12}" + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()), flush=True)

    print(f"{'attribute':12}{'drawings':>10}{'samples':>10}")
    for name, drawn, sampled in score(BASE, CLIP, options.count):
        print(f"{name:12}{drawn:10.1%}{sampled:10.1%}", flush=True)


def write_examples(options: argparse.Namespace) -> None:
    """Draw the example folders."""
    from lorapipe.pocket.examples import write_examples

    write_examples(EXAMPLES)


COMMANDS = {
    "vae": train_vae,
    "clip": train_clip,
    "clip-on": train_clip_on,
    "base": train_base,
    "tagger": train_tagger,
    "score": print_score,
    "examples": write_examples,
}


def _report(progress: Iterable[tuple[int, float, float | None]], every: int = 50) -> None:
    """Print the mean loss of every `every` steps and, if there is one, the score on unseen drawings."""
    start, losses = time.monotonic(), []
    for step, loss, measure in progress:
        losses.append(loss)
        if step % every == 0:
            shown = "" if measure is None else f"  unseen {measure:.4g}"
            seconds, loss = time.monotonic() - start, sum(losses) / len(losses)
            print(f"step {step}  loss {loss:.4f}  {seconds:.0f} s{shown}", flush=True)
            losses = []


if __name__ == "__main__":
    sys.exit(main())
