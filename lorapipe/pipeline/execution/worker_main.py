"""A worker process: runs one job after another for the process that started it.

It reads JSON lines from its standard input (`{"job": …}`, `{"stop": true}`) and writes JSON lines, many events and one
outcome a job, to what was its standard output. Standard output and error are the job's log, down to what C libraries
print. It ignores Ctrl-C, which a terminal sends to everyone: stopping is for the driver to decide. When its input ends,
the driver has died: the worker stops its job, which saves what it needs to go on, and ends.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from lorapipe.pipeline.context import ModelCache
from lorapipe.pipeline.execution.job import Job, failure
from lorapipe.pipeline.execution.pool import Message, logged_to, to_line
from lorapipe.pipeline.execution.stage_execution import perform
from lorapipe.supervised_thread import SupervisedThread

ORPHAN_SECONDS = 30.0
"""How long a stage may take to save what it needs when its driver has died."""


def main() -> None:
    """Run jobs until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace", newline="\n")
    stop, jobs = threading.Event(), queue.SimpleQueue[Job | None]()
    SupervisedThread("driver", lambda: _read_driver(sys.stdin, stop, jobs)).start()
    lock, model_cache = threading.Lock(), ModelCache()

    def tell(message: Message) -> None:
        with lock, suppress(OSError):
            driver.write(to_line(message) + "\n")
            driver.flush()

    with logged_to(Path(os.devnull)):
        while (job := jobs.get()) is not None:
            try:
                with logged_to(job.log):
                    outcome = perform(job, tell, stop.is_set, model_cache)
            except OSError as error:  # there is no place for its log
                outcome = failure(job.name, error)
            tell(outcome)


def _read_driver(stream: IO[str], stop: threading.Event, jobs: queue.SimpleQueue[Job | None]) -> None:
    """Take jobs and the wish to stop. Whatever ends this, the end of the driver above all, ends the worker."""
    try:
        for line in stream:
            message = json.loads(line)
            if "job" in message:
                stop.clear()
                jobs.put(Job(**message["job"]))
            else:
                stop.set()
    finally:
        stop.set()
        jobs.put(None)
        time.sleep(ORPHAN_SECONDS)  # a daemon thread: it ends with the process, or ends a process that does not
        os._exit(1)


if __name__ == "__main__":
    main()
