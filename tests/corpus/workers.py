"""Faulty worker processes: each is a program that is started instead of `worker_main`.

They read a job from a line of standard input and write messages to standard output, as
`lorapipe.pipeline.execution.worker_main` does, until they fail.
"""

from __future__ import annotations

import sys

BEGINNING = """\
import json, os, signal, subprocess, sys, time
def tell(data, end=b"\\n"):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    left = memoryview(data + end)
    while left:
        left = left[os.write(1, left):]
def live_on():
    time.sleep(3600)
def die():
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
if not {deaf!r}:
    sys.stdin.readline()
    tell({{"v": 1, "event": "started", "key": "k"}})
"""

LOST = {
    "killed in the middle of a line": ('tell(b\'{"event": "progr\', b""); die()', "the worker process was killed"),
    "killed in the middle of its outcome": ('tell(b\'{"artifact": {"kind"\', b""); die()', "the worker process was killed"),
    "killed without a word": ("die()", "the worker process was killed"),
    "ended as if all were well": ("", "ended unexpectedly (status 0)"),
    "not UTF-8": (r'tell(b"{\"event\": \"log\", \"text\": \"\xff\xfe\"}"); live_on()', "invalid message: '{"),
    "not JSON": ('tell(b"Segmentation fault"); live_on()', "invalid message: 'Segmentation fault'"),
    "an empty line": ('tell(b""); live_on()', "invalid message: ''"),
    "a line that never ends": ('\nwhile True: tell(b"x" * (1 << 20), b"")', "a line of more than 16 MB"),
    "nested without end": ('tell(b"[" * 200_000); live_on()', "invalid message: '[[["),
    "a list": ("tell([1, 2]); live_on()", "invalid message: '[1, 2]'"),
    "a number": ("tell(5); live_on()", "invalid message: '5'"),
    "null": ("tell(None); live_on()", "invalid message: 'null'"),
    "an event of an unknown kind": ('tell({"event": "dance"}); live_on()', "invalid message: '{\"event\": \"dance\"}'"),
    "an event that is the run's to tell": ('tell({"event": "finished", "key": "k"}); live_on()', "invalid message: "),
    "a step that is a word": ('tell({"event": "progress", "step": "two", "total": 3}); live_on()', "invalid message: "),
    "values that are a list": ('tell({"event": "metric", "values": [1]}); live_on()', "invalid message: "),
    "a cause that is not known": ('tell({"event": "failed", "cause": "mood"}); live_on()', "invalid message: "),
    "an artifact that is a number": ("tell({\"artifact\": 7}); live_on()", "invalid message: "),
    "closes its output and lives on": ("os.close(1); live_on()", "tells nothing any more"),
    "dead, its output held open by a child of its own": (
        'subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)"]); die()',
        "the worker process was killed",
    ),
}  # fmt: skip
"""Fault → the worker's code, and part of the message. No message can follow, so the driver must not wait for one."""

FAILED = {
    "an artifact of no kind": ('tell({"artifact": {}}); live_on()', ""),
    "an artifact of a kind that is not known": ('tell({"artifact": {"kind": "dream", "path": "x"}}); live_on()', ""),
    "fields of a later version": (
        'tell({"v": 9, "event": "failed", "cause": "error", "message": "as told", "mood": 3}); live_on()',
        "as told",
    ),
    "a name that is not UTF-8": (
        'tell({"event": "log", "text": "caf\\udce9.png"}); '
        'tell({"event": "failed", "cause": "error", "message": "caf\\udce9.png is broken"}); live_on()',
        "caf\udce9.png is broken",
    ),
    "an outcome told twice, and more after it": (
        'told = {"event": "failed", "cause": "error", "message": "once"}; tell(told); tell(told); tell(b"noise"); live_on()',
        "once",
    ),
}
"""The same, with the message of the failure that the worker itself has sent."""

SILENT = {
    "reads nothing": ("live_on()", True, 2),
    "says nothing": ("live_on()", False, 2),
    "says nothing and does not end when asked": (
        'signal.signal(signal.SIGTERM, signal.SIG_IGN); tell({"event": "log", "text": "deaf"}); live_on()',
        False,
        2,
    ),
    "closes its input": ("os.close(0); live_on()", False, 1),
}
"""Likewise, with whether it does not even read its job, and how urgently it has to be asked to stop to end within seconds.
They are at work, for all that can be known."""


def command(what: str, deaf: bool = False) -> tuple[str, ...]:
    """The command that starts such a worker."""
    return (sys.executable, "-S", "-E", "-c", BEGINNING.format(deaf=deaf) + what)
