"""`lorapipe resize`: a LoRA with a lower rank."""

from __future__ import annotations

import argparse
from pathlib import Path

from lorapipe.commands import DONE, takes_force, takes_json, takes_quiet, takes_rank, takes_sets, takes_target

HELP = "slim a LoRA to a lower rank: LORA --rank 16 --to FILE"
SETS = "any setting of the stage resize: conv_rank=8, energy=0.95, sv_fro=0.9, sv_ratio=20, dtype=fp16"
"""What `--set` takes."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("lora", help="the LoRA's file, of any kind and format; its base is not needed")
    takes_rank(parser)
    takes_target(parser, "the new file, with the same names of modules", required=True)
    takes_sets(parser, SETS, "KNOB=VALUE")
    takes_force(parser)
    takes_quiet(parser)
    takes_json(parser)


def main(options: argparse.Namespace) -> int:
    """Resize, and say how much is kept."""
    from lorapipe.commands._one_stage import may_replace, parsed, run_alone, settings
    from lorapipe.lora_tools.kept_report import FILE
    from lorapipe.lora_tools.publication import require_other

    require_other(options.to, [Path(options.lora)])
    may_replace(options.to, options.force)
    rank = {} if options.rank is None else {"rank": options.rank}
    base = {"family": "sd15", "checkpoint": "pocket"}  # the stage names one for its result; a file needs none
    stage = parsed("resize", {"lora": options.lora, "base": base, **rank, **settings(options.set)})
    report = FILE if options.json else ""
    run_alone(stage, options.to, lambda made: made.snapshots[-1].path, quiet=options.quiet, report=report)  # type: ignore[attr-defined]
    return DONE
