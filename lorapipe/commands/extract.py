"""`lorapipe extract`: a LoRA from a tuned checkpoint and its base."""

from __future__ import annotations

import argparse
from pathlib import Path

from lorapipe.commands import DONE, takes_force, takes_json, takes_quiet, takes_rank, takes_sets, takes_target

HELP = "extract a LoRA from a tuned checkpoint and its base: TUNED BASE --rank 64 --to FILE"
SETS = "any setting of the stage extract: conv_rank=32, energy=0.95, form=diff, text_encoders=false, dtype=bf16"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("tuned", help="the tuned checkpoint: a file or a diffusers folder")
    parser.add_argument("base", help="the base that it was trained from; pocket is the bundled one")
    takes_rank(parser)
    takes_target(parser, "the LoRA's file, in kohya's format", required=True)
    takes_sets(parser, SETS, "KNOB=VALUE")
    takes_force(parser)
    takes_quiet(parser)
    takes_json(parser)


def main(options: argparse.Namespace) -> int:
    """Extract, and say how much is kept."""
    from lorapipe.commands._one_stage import may_replace, parsed, run_alone, settings
    from lorapipe.lora_tools.detected_base import detected_base
    from lorapipe.lora_tools.kept_report import FILE
    from lorapipe.lora_tools.publication import require_other

    require_other(options.to, [Path(options.tuned), Path(options.base)])
    may_replace(options.to, options.force)
    base = {"family": detected_base(options.base).name, "checkpoint": options.base}
    rank = {} if options.rank is None else {"rank": options.rank}
    stage = parsed("extract", {"tuned": options.tuned, "base": base, **rank, **settings(options.set)})
    report = FILE if options.json else ""
    run_alone(stage, options.to, lambda made: made.snapshots[-1].path, quiet=options.quiet, report=report)  # type: ignore[attr-defined]
    return DONE
