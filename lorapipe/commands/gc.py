"""`lorapipe gc`: remove results and caches that no recent run has used."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.commands import DONE, agreed, takes_yes

if TYPE_CHECKING:
    pass

HELP = "remove results and caches that no recent run has used"
DAYS = 30.0
NOUNS = {"cache entry": "cache entries"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    text = f"keep what was used in the last DAYS (default {DAYS:g}); the last run of each pipeline is always kept"
    parser.add_argument("days", type=float, nargs="?", default=DAYS, help=text)
    takes_yes(parser)


def main(options: argparse.Namespace) -> int:
    """List what can be removed, ask, and remove it."""
    from lorapipe.errors import counted
    from lorapipe.pipeline.garbage_collection import clean, waste
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.terminal import Printer

    printer = Printer(sys.stdout)
    with closing(Ledger(Path.cwd())) as ledger:
        ledger.must_exist()
        found = waste(ledger, options.days)
        if not found:
            printer.line("Everything here is in use.")
            return DONE
        sizes: Counter[str] = Counter()
        for each in found:
            sizes[each.kind] += each.size
        counts = Counter(each.kind for each in found)
        for kind, size in sizes.items():
            number, noun = counted(counts[kind], kind, NOUNS.get(kind, "")).split(" ", 1)
            printer.line(f"{number:>6} {noun:<14} {size / 1e6:10.1f} MB")
        if not agreed(options, printer, "Remove them?"):
            return DONE
        printer.line(f"{clean(ledger, found) / 1e6:.1f} MB were freed.")
    return DONE
