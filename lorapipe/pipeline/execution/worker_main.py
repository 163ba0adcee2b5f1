"""A worker process: runs one job after another for the process that started it.

It reads JSON lines from its standard input (`{"job": …}`, `{"stop": true}`) and writes JSON lines (many events and one
outcome for each job) to its original standard output. Standard output and error are redirected to the job's log, also for
C libraries. The worker ignores Ctrl-C, which a terminal sends to the whole group: the driver decides when to stop. End of
input means that the driver has died: the worker asks its job to save its state and stop, and ends.
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
"""How long a stage may take to save its state after its driver has died."""


def main() -> None:
    """Run jobs until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace", newline="\n")
    stop, jobs = threading.Event(), queue.SimpleQueue[Job | None]()
    SupervisedThread("driver", lambda: _read_driver(sys.stdin, stop, jobs)).start()
    lock, model_cache = threading.Lock(), ModelCache.of_worker()

    def tell(message: Message) -> None:
        with lock, suppress(OSError):
            driver.write(to_line(message) + "\n")
            driver.flush()

    with logged_to(Path(os.devnull)):
        while (job := jobs.get()) is not None:
            try:
                with logged_to(job.log):
                    outcome = perform(job, tell, stop.is_set, model_cache)
            except OSError as error:  # its log cannot be created
                outcome = failure(job.name, error)
            tell(outcome)


def _read_driver(stream: IO[str], stop: threading.Event, jobs: queue.SimpleQueue[Job | None]) -> None:
    """Read jobs and stop requests. The end of the input (the driver has died) or any error ends the worker."""
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
        time.sleep(ORPHAN_SECONDS)  # a daemon thread: it ends with the process, or kills it after this time
        os._exit(1)


if __name__ == "__main__":
    main()
