"""The queue: order, survival of kills, and requests of other processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lorapipe.atomic import write_text
from lorapipe.cli import main
from lorapipe.commands.queue import QueueDisplay
from lorapipe.errors import InputError
from lorapipe.job_queue.job import QueueJob
from lorapipe.job_queue.queue import Queue
from lorapipe.job_queue.runner import JobEvent, QueueRunner
from lorapipe.job_queue.views import board, details
from lorapipe.pipeline.events import Asked, Finished, Progress
from lorapipe.pipeline.execution.runner import open_pool


def titles(queue: Queue, *states: str) -> list[str]:
    return [job.title for job in queue.jobs() if job.state in (states or ("waiting",))]


def add(queue: Queue, *names: str, **how) -> list[QueueJob]:
    return [queue.add(Path(f"/jobs/{name}.yaml"), title=name, **how) for name in names]


# --------------------------------------------------------------------------------------------------------- who is next


def test_first_in_first_out_and_a_higher_priority_before(queue: Queue) -> None:
    add(queue, "a", "b")
    add(queue, "urgent", priority=5)
    assert titles(queue) == ["urgent", "a", "b"]
    claims = [queue.claim("cpu") for _ in range(4)]
    assert [claim and claim.job.title for claim in claims] == ["urgent", "a", "b", None]


def test_jobs_are_moved_among_those_that_wait(queue: Queue) -> None:
    urgent, *_ = add(queue, "urgent", priority=5)
    _, b, c, _ = add(queue, "a", "b", "c", "d")
    queue.move(c.number, 1)
    assert titles(queue) == ["c", "urgent", "a", "b", "d"]
    queue.move(urgent.number, 99)
    queue.move(b.number, 2)
    assert titles(queue) == ["c", "b", "a", "d", "urgent"]
    add(queue, "e")
    assert titles(queue)[-1] == "e"
    queue.claim("cpu")
    with pytest.raises(InputError, match="is not waiting: it is running"):
        queue.move(c.number, 2)


def test_a_job_waits_for_the_device_that_it_asks_for(queue: Queue) -> None:
    add(queue, "second", device="cuda:1")
    add(queue, "first", device="cuda")
    add(queue, "any")
    first = queue.claim("cuda:0")
    assert first is not None and first.job.title == "first"  # cuda is cuda:0
    second = queue.claim("cuda:1")
    assert second is not None and second.job.title == "second"


def test_an_objection_is_noted_and_the_next_one_goes(queue: Queue) -> None:
    add(queue, "large", "small")
    claim = queue.claim("cpu", lambda job: "waits for room on the disk" if job.title == "large" else "")
    assert claim is not None and claim.job.title == "small"
    assert [job.reason for job in queue.jobs() if job.state == "waiting"] == ["waits for room on the disk"]


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_what_nothing_stands_against_any_more_begins_at_once(queue: Queue, seconds: float) -> None:
    """Also if the previous search took long, as on a busy machine or a network share."""
    add(queue, "large")

    def objection(job: QueueJob) -> str:
        time.sleep(seconds)
        return "waits for room"

    assert queue.claim("cpu", objection) is None
    claim = queue.claim("cpu")
    assert claim is not None and claim.job.title == "large"


def test_no_two_owners_get_the_same_job(queue: Queue) -> None:
    add(queue, *(f"{index}" for index in range(40)))
    got: list[int] = []

    def own() -> None:
        mine = Queue(queue.root)
        while (claim := mine.claim("cpu")) is not None:
            got.append(claim.job.number)
            mine.finish(claim, "done")
        mine.close()

    owners = [threading.Thread(target=own) for _ in range(4)]
    for owner in owners:
        owner.start()
    for owner in owners:
        owner.join()
    assert sorted(got) == sorted(job.number for job in queue.jobs())
    assert not list((queue.root / "jobs").iterdir())  # and no lock is left


def test_a_paused_queue_gives_nothing_out(queue: Queue) -> None:
    add(queue, "a")
    queue.pause()
    assert queue.claim("cpu") is None and queue.is_paused
    queue.resume()
    assert queue.claim("cpu") is not None


# ---------------------------------------------------------------------------------------------------- owners that are gone


def test_a_job_whose_owner_is_gone_is_first_again_and_set_aside_the_second_time(queue: Queue) -> None:
    add(queue, "a", "b")
    other = Queue(queue.root)
    claim = other.claim("cpu")
    assert claim is not None and queue.recover() == []  # its owner holds the lock
    claim.lock.close()  # as the kernel does when a process ends
    assert [job.title for job in queue.recover()] == ["a"]
    assert titles(queue) == ["a", "b"]
    again = other.claim("cpu")
    assert again is not None and again.job.attempts == 2
    again.lock.close()
    [aside] = queue.recover()
    assert (aside.title, aside.state) == ("a", "aside") and "2 times" in aside.reason
    third = queue.claim("cpu")
    assert third is not None and third.job.title == "b"
    assert queue.retry(aside.number).crashes == 0
    other.close()


def test_a_job_that_was_to_be_cancelled_is_so_when_its_owner_is_gone(queue: Queue) -> None:
    [job] = add(queue, "a")
    claim = queue.claim("cpu")
    assert claim is not None
    assert queue.cancel(job.number).asked == 1
    claim.lock.close()
    assert [each.state for each in queue.recover()] == ["cancelled"]
    assert [each.number for each in queue.ended()] == [job.number] and queue.ended() == []  # reported once


@pytest.mark.skipif(sys.platform == "win32", reason="signals as Unix has them")
def test_a_killed_owner_costs_nothing_but_time(queue: Queue, project: Path) -> None:
    pipeline, sets = project / "cat.yaml", ["tally.steps=150", "tally.pause=0.02"]
    first, second = queue.add(pipeline, sets), queue.add(pipeline, ["tally.word=b"])
    owner = subprocess.Popen([sys.executable, "-m", "lorapipe", "queue", "work"], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    deadline = time.monotonic() + 30
    while not queue.progress() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(owner.pid, signal.SIGKILL)
    owner.communicate()
    assert queue.job(first.number).state == "running"
    assert main(["queue", "work"]) == 0
    job = queue.job(first.number)
    assert (job.state, job.attempts, job.crashes) == ("done", 2, 1)
    assert queue.job(second.number).state == "done"
    [log] = [file for file in (project / ".lorapipe" / "store").glob("*/log.txt") if "resumed at" in file.read_text()]
    assert 0 < int(log.read_text().split()[-1]) < 150


# ------------------------------------------------------------------------------------------------------------- running


def worked(queue: Queue, **how) -> list[JobEvent]:
    return list(QueueRunner(queue, ["cpu"], on=how.pop("on", "inline"), **how).events())


def test_the_queue_goes_on_after_a_failure_and_says_why_in_words(queue: Queue, project: Path) -> None:
    bad = project / "bad.yaml"
    bad.write_text(
        "stages:\n  bad: {uses: trouble, how: input}\n  after: {uses: count, text: $bad}\n", encoding="utf-8"
    )
    failing, good = queue.add(bad), queue.add(project / "cat.yaml")
    wrong = queue.add(project / "cat.yaml", ["tally.least=-1"])
    gone = queue.add(project / "gone.yaml")
    told = worked(queue)
    assert [job.state for job in map(queue.job, (failing.number, good.number, wrong.number, gone.number))] == [
        "failed", "done", "failed", "failed"
    ]  # fmt: skip
    assert queue.job(failing.number).reason == "bad: a.png: the picture is broken. Take it away."
    assert "-1 is below the minimum 0" in queue.job(wrong.number).reason
    assert "there is no such file" in queue.job(gone.number).reason
    ended = [(each.job.number, each.job.state) for each in told if each.event is None]
    assert ended[:2] == [(failing.number, "running"), (failing.number, "failed")]
    assert [each.event.stage for each in told if isinstance(each.event, Finished)] == ["text", "tally", "kept"]


def test_a_worker_lost_twice_sets_the_job_aside_with_its_log(queue: Queue, project: Path) -> None:
    dying = project / "dying.yaml"
    dying.write_text("stages:\n  bad: {uses: trouble, how: die}\n", encoding="utf-8")
    bad, good = queue.add(dying), queue.add(project / "cat.yaml")
    worked(queue, on="local")
    job = queue.job(bad.number)
    assert job.state == "aside" and "the worker process ended unexpectedly" in job.reason
    assert Path(job.reason.rpartition("Its log: ")[2]).is_file()
    assert queue.job(good.number).state == "done"


def test_a_running_job_is_cancelled_by_another_process(queue: Queue, project: Path) -> None:
    job = queue.add(project / "cat.yaml", ["tally.steps=4000", "tally.pause=0.01"])
    other, asked = Queue(queue.root), False
    for told in QueueRunner(queue, ["cpu"], on="inline").events():
        if isinstance(told.event, Progress) and not asked:
            asked = True
            assert other.cancel(job.number).state == "running"
    other.close()
    assert queue.job(job.number).state == "cancelled"
    assert (next((project / ".lorapipe" / "work").iterdir()) / "resume" / "step.txt").exists()
    with pytest.raises(InputError, match="ended already"):
        queue.cancel(job.number)


def test_a_stopped_owner_gives_the_job_back_and_the_next_one_goes_on(queue: Queue, project: Path) -> None:
    long = queue.add(project / "cat.yaml", ["tally.steps=150", "tally.pause=0.01"])
    add(queue, "later")
    stop = threading.Event()
    for told in QueueRunner(queue, ["cpu"], on="inline", stopping=lambda: int(stop.is_set())).events():
        if isinstance(told.event, Progress):
            stop.set()
    assert queue.jobs()[0].number == long.number and queue.jobs()[0].state == "waiting" and not queue.jobs()[0].crashes
    worked(queue)
    job = queue.job(long.number)
    assert (job.state, job.attempts) == ("done", 2)


def test_workers_end_when_nothing_waits(queue: Queue, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools, closed = [], []

    def counted(*where):
        pool = open_pool(*where)
        pools.append(pool)
        close = pool.close
        monkeypatch.setattr(pool, "close", lambda: (closed.append(pool), close()))
        return pool

    monkeypatch.setattr("lorapipe.job_queue.runner.open_pool", counted)
    queue.add(project / "cat.yaml")
    queue.add(project / "cat.yaml", ["tally.word=b"])
    runner = QueueRunner(queue, ["cpu"], on="inline", forever=True)
    events = runner.events()
    done = 0
    while done < 2:
        done += next(events).job.state == "done"
    deadline = time.monotonic() + 10
    while not closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(pools) == 1 and closed == pools  # warm between the two, ended after them
    queue.add(project / "cat.yaml", ["tally.word=c"])
    runner.wake()
    while done < 3:
        done += next(events).job.state == "done"
    events.close()
    assert len(pools) == 2


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no interval timers")
def test_a_signal_never_makes_the_queue_wait_for_ever(tmp_path: Path) -> None:
    """Handlers are at work at nearly every moment, so also when a wait's time is over."""
    probe = """
import signal, sys, time
from pathlib import Path
from lorapipe.job_queue.queue import Queue
from lorapipe.job_queue.runner import QueueRunner
def handler(number, frame):
    over = time.monotonic() + 0.08
    while time.monotonic() < over:
        pass
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
end = time.monotonic() + 3
runner = QueueRunner(Queue(Path(sys.argv[1])), ("cpu",), stopping=lambda: int(time.monotonic() > end), forever=True)
events = [*runner.events()]
signal.setitimer(signal.ITIMER_REAL, 0)
print(events)
"""
    run = subprocess.run(
        [sys.executable, "-c", probe, str(tmp_path)], capture_output=True, encoding="utf-8", check=True, timeout=60
    )
    assert run.stdout == "[]\n"


def test_two_devices_work_side_by_side(queue: Queue, toys: None, tmp_path: Path) -> None:
    for sign in ("one", "two"):
        text = f"stages:\n  meet: {{uses: meet, place: signs, sign: {sign}}}\n"
        (tmp_path / f"{sign}.yaml").write_text(text, encoding="utf-8")
        queue.add(tmp_path / f"{sign}.yaml")
    list(QueueRunner(queue, ["cuda:0", "cuda:1"], on="inline").events())
    assert [job.state for job in queue.jobs()] == ["done", "done"]


# --------------------------------------------------------------------------------------------- what came through an inbox


def test_the_same_content_is_a_job_once_and_new_content_a_new_version(queue: Queue, tmp_path: Path) -> None:
    def drop(source: str, content: str, title: str) -> QueueJob | None:
        return queue.drop(f"/inbox/{source}", content, title, tmp_path, {"quiet": 5})

    one = drop("penny", "A", "penny")
    assert one is not None and one.folder == tmp_path / "penny" and json.loads(one.settings) == {"quiet": 5}
    assert drop("penny", "A", "penny") is None
    two = drop("penny", "B", "penny")
    assert two is not None and (two.version, two.folder) == (2, one.folder)
    assert queue.job(one.number).state == "cancelled" and f"job {two.number}" in queue.job(one.number).reason
    other = drop("Penny", "A", "Penny")
    assert other is not None and other.folder == tmp_path / "Penny-2"  # also on file systems that ignore case
    (tmp_path / "cat").mkdir()
    cat = drop("cat", "A", "cat")
    assert cat is not None and cat.folder.name == "cat-2"  # a user's folder is not touched
    claim = queue.claim("cpu")
    assert claim is not None and claim.job.number == two.number
    drop("penny", "C", "penny")
    assert next(each for each in iter(lambda: queue.claim("cpu"), None)).job.title == "Penny-2"  # not v3 beside v2
    queue.finish(claim, "done")
    assert queue.clear() == 2
    assert drop("penny", "B", "penny") is None  # the job is removed, but its content is still known


# --------------------------------------------------------------------------------------------------------------- showing


def test_the_board_shows_states_progress_curves_and_files(queue: Queue, project: Path) -> None:
    done = queue.add(project / "cat.yaml", ["tally.steps=1000"])
    waiting = queue.add(project / "gone.yaml")
    running = None
    for told in QueueRunner(queue, ["cpu"], on="inline").events():
        if isinstance(told.event, Progress) and running is None:
            running = board(queue)["jobs"][0]
    assert running is not None
    assert (running["state"], running["progress"]["stage"], running["progress"]["total"]) == ("running", "tally", 1000)
    cards = board(queue)["jobs"]
    assert {card["number"]: card["state"] for card in cards} == {done.number: "done", waiting.number: "failed"}
    shown = details(queue, done.number)
    assert [(stage["name"], stage["state"]) for stage in shown["stages"]] == [
        ("text", "finished"), ("tally", "finished"), ("kept", "finished")
    ]  # fmt: skip
    points = shown["curves"]["tally"]["loss"]
    assert 200 <= len(points) <= 300 and points[-1][0] == 999 and points[0][1] > points[-1][1]
    assert shown["report"] == str(project / "result.html") and shown["progress"] is None
    assert json.dumps(shown)


def test_a_job_that_waits_for_an_answer_says_so_until_it_has_one(
    queue: Queue, toys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text("stages: {asked: {uses: question, what: Which?}, other: {uses: question}}")
    job = queue.add(tmp_path / "p.yaml")
    listed, answered = list[str](), False
    for told in QueueRunner(queue, ["cpu"], on="inline").events():
        if isinstance(told.event, Finished) and told.event.stage == "other":
            (card,) = board(queue)["jobs"]
            assert card["progress"] and main(["queue", "list"]) == 0
            listed = capsys.readouterr().out.splitlines()
            write_text("this", Path(str(card["progress"]["answer"])))
            answered = True
        elif answered and told.event is not None:
            assert "answer" not in (queue.progress().get(job.number) or {})
    assert "asked: Which? It waits for" in listed[1] and titles(queue, "done")


def test_the_command_adds_lists_and_changes(
    queue: Queue, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    assert main(["queue"]) == 0 and capsys.readouterr().out == "The queue is empty.\n"
    assert main(["queue", "add", "cat.yaml", "--set", "tally.word=b", "--device", "cpu"]) == 0
    assert main(["queue", "add", "cat.yaml", "--set", "queue.priority=1"]) == 0
    assert [(job.priority, job.device, job.sets) for job in queue.jobs()] == [
        (1, "auto", ()),
        (0, "cpu", ("tally.word=b",)),
    ]
    assert main(["queue", "move", "1", "first"]) == 0 and [job.number for job in queue.jobs()] == [1, 2]
    assert main(["queue", "cancel", "2"]) == 0
    capsys.readouterr()
    assert main(["queue", "--json"]) == 0
    assert [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()] == ["waiting", "cancelled"]
    assert main(["queue", "work"]) == 0 and queue.job(1).reason == "waits for the device cpu"
    assert main(["queue", "work", "--device", "cpu"]) == 0 and queue.job(1).state == "done"
    assert main(["queue", "retry", "2"]) == 0 and main(["queue", "pause"]) == 0
    assert main(["queue", "work"]) == 0 and queue.job(2).state == "waiting"
    assert main(["queue", "resume"]) == 0 and main(["queue", "clear"]) == 0
    assert [job.number for job in queue.jobs()] == [2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lst"], "Did you mean 'list'?"),
        (["cancel"], "name a job by its number"),
        (["cancel", "x"], "'x' is not the number of a job"),
        (["cancel", "7"], "there is no job 7"),
        (["add"], "there is no pipeline to add"),
        (["add", "cta.yaml"], "Did you mean 'cat.yaml'?"),
        (["add", "cat.yaml", "--set", "tally.wrod=a"], "Did you mean 'word'?"),
        (["add", "cat.yaml", "--device", "gpu"], "'gpu' is not a device"),
        (["move", "1", "frist"], "lorapipe queue move 12 first"),
    ],
)
def test_mistakes_are_said_at_once(
    queue: Queue, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    words: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(project)
    assert main(["queue", *words]) == 2
    assert said in capsys.readouterr().err and not queue.jobs()


def test_the_queue_says_that_a_stage_waits_for_a_person(
    queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cat.yaml").write_text("stages: {}", encoding="utf-8")
    job = queue.add(tmp_path / "cat.yaml")
    asked = Asked("grown", text="Choose 4 of 12 pictures.", question="question.json", answer="answer.json")
    QueueDisplay(as_json=False, quiet=True).show(JobEvent(job, asked))
    assert capsys.readouterr().out.split() == [
        str(job.number), "?", "grown", *["Choose", "4", "of", "12", "pictures.", "It", "waits", "for", "answer.json"]
    ]  # fmt: skip
