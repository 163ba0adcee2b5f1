"""Cost of the page with 10,000 jobs in the queue: CPU time and bytes of the board, with and without changes.

python benchmarks/board.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lorapipe.job_queue.queue import Queue
from lorapipe.page.routes import Routes

WAITING, ENDED, ROUNDS = 5000, 5000, 50


def filled(folder: Path) -> Queue:
    """Fill a queue with one running job, many waiting and many finished ones."""
    queue = Queue(folder)
    row = "(title, pipeline, sets, device, priority, position, state, added, finished, source, settings, reason)"
    with queue._writing() as db:
        db.executemany(
            f"INSERT INTO job {row} VALUES (?, ?, '[]', 'auto', 0, ?, ?, 1.0, ?, ?, '{{}}', ?)",
            [
                (
                    f"character {number}", f"/home/me/outputs/character-{number}/pipeline.yaml", float(number),
                    "waiting" if number < WAITING else "done" if number % 3 else "failed",
                    None if number < WAITING else 1e9 + number, f"/home/me/inbox/character-{number}", "x" * 80,
                )
                for number in range(WAITING + ENDED)
            ],
        )  # fmt: skip
    return queue


def cpu_milliseconds(work: Callable[[int], object]) -> float:
    """Return the mean CPU time of several rounds, in ms."""
    begin = time.process_time()
    for number in range(ROUNDS):
        work(number)
    return (time.process_time() - begin) / ROUNDS * 1000


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        queue = filled(Path(folder))
        claim = queue.claim("cpu")
        assert claim is not None
        answers = Routes(queue)

        def changed(number: int) -> None:
            queue.record_progress(claim.job.number, {"stage": "lora", "step": number, "total": 100, "unit": "steps"})
            answers.get("board")

        seen = answers.get("board")
        print(f"{WAITING} waiting, {ENDED} ended")
        print(f"a change   {cpu_milliseconds(changed):6.1f} ms CPU, {len(seen.body) / 1000:.0f} kB")
        seen = answers.get("board")
        print(f"no change  {cpu_milliseconds(lambda number: answers.get('board', seen.tag)):6.1f} ms CPU, 0 kB")
        print(f"400 each   {cpu_milliseconds(lambda number: answers.get('board/400')):6.1f} ms CPU")
        queue.finish(claim, "done")
        queue.close()


if __name__ == "__main__":
    main()
