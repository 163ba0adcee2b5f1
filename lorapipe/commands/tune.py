"""`lorapipe tune`: run a pipeline again and again with the settings that its verdict names."""

from __future__ import annotations

import argparse

from lorapipe.commands import takes_device, takes_json, takes_launcher, takes_pipeline, takes_quiet

HELP = "train again with the settings that the verdict names, until it is good"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    takes_pipeline(parser)
    takes_json(parser)
    takes_device(parser)
    takes_launcher(parser)
    takes_quiet(parser)


def main(options: argparse.Namespace) -> int:
    """Tune the pipeline, by its `tune:` or, without that, the usual settings."""
    from dataclasses import replace

    from lorapipe.commands.run import run_all
    from lorapipe.pipeline import destinations, loader
    from lorapipe.pipeline.execution.devices import parse_devices
    from lorapipe.pipeline.execution.runner import open_pool
    from lorapipe.pipeline.tune_options import TuneOptions
    from lorapipe.pipeline.yaml_document import parse
    from lorapipe.tuning.rounds import begun

    pipeline = loader.load(options.file, options.set)
    pipeline = replace(pipeline, tune=pipeline.tune or TuneOptions())
    begun(pipeline)
    destinations.check([pipeline])
    pool = open_pool(parse(options.on, "--on").value, parse_devices(options.device))
    return run_all([("", (pipeline, frozenset()))], pool, options)
