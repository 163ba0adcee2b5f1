"""Substitution by a regular expression in a process of its own with a time limit.

Python's `re` backtracks: a pattern such as `(a+)+b` may need more steps than there are atoms, and nothing in the process can
interrupt it on every system. So a child process computes, and is ended after the limit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from lorapipe.errors import InputError

SECONDS = 20.0
"""Most time for all captions; ordinary patterns need milliseconds."""
MOST = 100_000
"""Most characters of a text afterwards."""
CHILD = """
import json, re, sys
pattern, replacement, most, texts = json.load(sys.stdin)
search = re.compile(pattern)
def substitute(text):
    parts, length, end = [], 0, 0
    for found in search.finditer(text):
        part = text[end:found.start()] + found.expand(replacement)
        parts.append(part)
        length, end = length + len(part), found.end()
        if length > most:
            sys.exit(3)
    return "".join(parts) + text[end:]
json.dump([substitute(text) for text in texts], sys.stdout)
"""


def substituted(pattern: str, replacement: str, texts: Sequence[str]) -> list[str]:
    """Return each text with the replacement for every match of the pattern. `InputError` if it takes too long."""
    if not texts:
        return []
    given = json.dumps([pattern, replacement, MOST, list(texts)])
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", CHILD], input=given, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        what = f"the regular expression {pattern[:100]!r} takes longer than {SECONDS:g} seconds."
        raise InputError(what, cure="Repetitions in repetitions, such as (a+)+, take for ever: write a+.") from None
    if done.returncode == 3:
        what = f"the regular expression {pattern[:100]!r} makes a caption of more than {MOST} characters."
        raise InputError(what, cure="Write a shorter replacement.")
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2][:200]
        raise InputError(f"the regular expression {pattern[:100]!r} failed: {last}.")
    found: list[str] = json.loads(done.stdout)
    return found
