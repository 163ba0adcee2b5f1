"""`lorapipe show`: list the available choices, and explain settings."""

from __future__ import annotations

import argparse
import sys

from lorapipe.commands import DONE

HELP = "list the available choices, or explain one: show adapter lora, show min-snr, show --network_dim"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("kind", nargs="?", help="stage, adapter, rule, preset …; watch for the settings of an inbox")
    parser.add_argument(
        "name", nargs="*", help="one of them; or any words, to find a setting by its name or kohya's flag"
    )


def main(options: argparse.Namespace) -> int:
    """Print the reference."""
    from lorapipe import settings_reference, settings_search
    from lorapipe.pipeline import presets
    from lorapipe.pipeline.contracts import contracts
    from lorapipe.terminal import Printer

    if options.kind is None:
        text = settings_reference.overview()
    elif options.kind == "watch":
        from lorapipe.watch.settings import WatchSettings

        text = settings_reference.of_spec("watch", WatchSettings)
    elif options.kind == "preset":
        name = " ".join(options.name)
        text = presets.text_of(name).rstrip() if name else settings_reference.of_presets()
    elif options.kind == "rule":
        name = " ".join(options.name)
        text = settings_reference.of_rule(name) if name else settings_reference.of_rules()
    elif options.kind not in contracts():
        text = settings_search.search(" ".join([options.kind, *options.name]))
    elif not options.name:
        text = settings_reference.of_kind(options.kind)
    else:
        text = settings_reference.of_name(options.kind, " ".join(options.name))
    Printer(sys.stdout).line(text)
    return DONE
