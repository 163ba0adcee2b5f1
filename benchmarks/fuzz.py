"""Fuzzes readers with damaged and hostile input: each must accept it or refuse it with a message.

    python benchmarks/fuzz.py [NAME …] [--seconds 60] [--first 1000]

The fuzzers are the files of tests/fuzzers; each runs for this time, from seed `first` on. Failing seeds are printed: a seed
gives the same input everywhere, and becomes a test once the fault is fixed.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import sys
import tempfile
import time
import traceback
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
NAMES = sorted(file.stem for file in (TESTS / "fuzzers").glob("*.py"))


def outcome(fuzzer: object, seed: int) -> str:
    """Say what went wrong with a seed; empty where nothing did."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return fuzzer.case(seed, Path(folder))
        except Exception:
            return traceback.format_exc()


def main() -> int:
    """Run the fuzzers; return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", metavar="NAME", nargs="*", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--first", type=int, default=1000)
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no fuzzer {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    sys.path.insert(0, str(TESTS))
    failures = 0
    for name in options.names or NAMES:
        fuzzer = importlib.import_module(f"fuzzers.{name}")
        end, tried, wrong, slowest = time.monotonic() + options.seconds, 0, 0, (0.0, 0)
        for seed in itertools.count(options.first):
            if time.monotonic() >= end:
                break
            begun = time.process_time()
            what = outcome(fuzzer, seed)
            slowest = max(slowest, (time.process_time() - begun, seed))
            tried += 1
            if what:
                wrong += 1
                print(f"{name} seed {seed}: {what}", flush=True)
        print(f"{name}: {tried} tried, {wrong} wrong; slowest {slowest[0]:.2f} CPU s (seed {slowest[1]})", flush=True)
        failures += wrong
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
