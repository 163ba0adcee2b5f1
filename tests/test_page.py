"""The page: access control, responses, and actions of a user in a browser.

Browser tests run if CHROMIUM and PLAYWRIGHT name a browser and its driver; CONTRIBUTING says how to install them.
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browsers import Browser, in_a_browser, json_at, page_of_command, without_complaints

from lorapipe.job_queue.job import Claim
from lorapipe.job_queue.queue import Queue
from lorapipe.page import server
from lorapipe.page.routes import Routes
from lorapipe.page.server import Page, key_in
from lorapipe.pipeline.events import Event, Failed, Finished, Log, Metric, Planned, Preview, Reused, Started, to_json

STATIC = Path(__file__).parents[1] / "lorapipe" / "page" / "static"
NASTY = "<script>document.title='taken'</script>\"'고양이 🐈"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    (tmp_path / "home").mkdir()
    queue = Queue(tmp_path / "home")
    yield queue
    queue.close()


@pytest.fixture
def page(queue: Queue, tmp_path: Path) -> Iterator[Page]:
    with Page(Routes(queue, tmp_path / "inbox", lambda: {"new": "arriving, 3 pictures so far"}), queue.root, 0) as page:
        yield page


def add(queue: Queue, folder: Path, title: str = "penny", *events: Event) -> int:
    """Add a job whose run has these events."""
    folder.mkdir(parents=True, exist_ok=True)
    job = queue.add(folder / "cat.yaml", title=title)
    tell(folder, *events)
    queue.note_run(job.number, 1)
    return job.number


def tell(folder: Path, *events: Event, run: int = 1) -> None:
    place = folder / ".lorapipe" / "runs" / str(run)
    place.mkdir(parents=True, exist_ok=True)
    with (place / "events.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(to_json(event) + "\n" for event in events)


def start(queue: Queue) -> Claim:
    claim = queue.claim("cpu")
    assert claim is not None
    return claim


def training(folder: Path, steps: int = 40) -> list[Event]:
    """Return the events of a training; the loss of one step is NaN."""
    preview = folder / "step.png"
    folder.mkdir(parents=True, exist_ok=True)
    preview.write_bytes(PIXEL)
    losses = [Metric("lora", step, {"loss": float("nan") if step == 9 else 1 / step}) for step in range(1, steps + 1)]
    return [Planned("lora"), Started("lora"), *losses, Preview("lora", str(preview), f"step {steps}: {NASTY}")]


class Asked:
    """One request and its response."""

    def __init__(self, page: Page, path: str, method: str = "GET", root: str | None = None, **headers: str) -> None:
        where = urlsplit(page.address)
        own = {"Host": where.netloc, **({"Origin": f"http://{where.netloc}"} if method == "POST" else {})}
        connection = http.client.HTTPConnection(where.netloc, timeout=10)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, (where.path if root is None else root) + path, headers={**own, **given})
        answer = connection.getresponse()
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()
        connection.close()

    @property
    def json(self) -> Any:
        return json.loads(self.body, parse_constant=lambda name: pytest.fail(f"{name} is not for browsers"))


# ------------------------------------------------------------------------------------------------------------ who may ask


def test_only_this_machine_is_served_and_a_taken_port_is_passed_over(page: Page, queue: Queue) -> None:
    host, port = page._server.server_address[:2]
    assert host == "127.0.0.1"
    with Page(Routes(queue), queue.root, int(port)) as second:
        assert urlsplit(second.address).port != port and urlsplit(second.address).path == urlsplit(page.address).path
        assert Asked(second, "").status == 200


def test_the_key_is_the_users_alone_and_stays(tmp_path: Path) -> None:
    key = key_in(tmp_path)
    assert key_in(tmp_path) == key and len(key) == 22
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "page.key").stat().st_mode) == 0o600
    (tmp_path / "page.key").write_text("")
    assert len(key_in(tmp_path)) == 22


@pytest.mark.parametrize(
    ("status", "asked"),
    [
        (404, {"root": "/"}),
        (404, {"root": "/guessed-key/"}),
        (403, {"Host": "evil.example:7373"}),
        (403, {"Host": "127.0.0.1.evil.example"}),
        (403, {"Sec_Fetch_Site": "cross-site"}),
        (403, {"Sec_Fetch_Site": "same-site"}),
        (200, {"Host": "localhost:9000", "Sec_Fetch_Site": "same-origin"}),
    ],
    ids=str,
)
def test_strangers_are_sent_away(page: Page, status: int, asked: dict[str, str]) -> None:
    assert Asked(page, "board", **asked).status == status


def test_a_crowd_of_silent_and_of_dribbling_connections_keeps_nobody_out(page: Page) -> None:
    where = urlsplit(page.address)
    own = http.client.HTTPConnection(where.netloc, timeout=10)  # kept open, as by a browser

    def ask() -> int:
        own.request("GET", f"{where.path}board", headers={"Host": where.netloc})
        answer = own.getresponse()
        answer.read()
        return answer.status

    assert ask() == 200
    kept = own.sock
    crowd = list[socket.socket]()
    try:
        for number in range(200):
            stranger = socket.create_connection((where.hostname or "", where.port or 0), timeout=10)
            crowd.append(stranger)
            if number % 3 == 1:
                stranger.sendall(b"GET / HT")
            elif number % 3 == 2:
                stranger.sendall(b"GET /guessed/board HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            if number % 20 == 0:
                assert Asked(page, "board").status == 200 and ask() == 200
                for each in crowd[-40:]:
                    with suppress(OSError):
                        each.sendall(b"x")
        assert own.sock is kept
        assert len(page._server._strangers) + len(page._server._known) <= 64
    finally:
        for each in crowd:
            each.close()
        own.close()


def test_who_does_not_show_the_key_in_time_is_hung_up_on_however_it_dribbles(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STRANGER_SECONDS", 0.5)
    where = urlsplit(page.address)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n")
        with suppress(OSError):  # it would never end
            for _ in range(400):
                stranger.sendall(b"X: y\r\n")
                time.sleep(0.05)
            pytest.fail("it was let dribble for 20 s")
    question = f"GET {where.path}page.css HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode()
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as guest:
        for _ in range(2):
            guest.sendall(question)
            read = b""
            while not read.endswith((STATIC / "page.css").read_bytes()[-20:]):
                read += guest.recv(65536)
            assert read.startswith(b"HTTP/1.1 200")
            time.sleep(1)  # with the key, a connection may be idle


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://127.0.0.1:1"])
def test_nothing_is_done_for_another_page(page: Page, queue: Queue, origin: str) -> None:
    assert Asked(page, "pause", "POST", Origin=origin).status == 403
    assert Asked(page, "pause", "GET").status == 404
    assert not queue.is_paused


def test_a_request_with_a_body_is_not_read(page: Page, queue: Queue) -> None:
    for headers in ({"Content_Length": "999999999"}, {"Transfer_Encoding": "chunked"}):
        assert Asked(page, "pause", "POST", **headers).status == 413
    assert not queue.is_paused


def test_only_files_that_a_job_has_told_of_are_served(page: Page, queue: Queue, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "drawing.svg").write_text("<svg/>")
    (tmp_path / "report.html").write_text("<p>good</p>")
    files = tuple(str(tmp_path / name) for name in ("drawing.svg", "report.html", "penny.safetensors"))
    number = add(queue, tmp_path / "p", "penny", Finished("grid", files=files))
    shown = Asked(page, f"jobs/{number}").json
    assert [file["address"] is None for file in shown["files"]] == [True, False, True]
    report = Asked(page, shown["report"]["address"])
    assert report.body == b"<p>good</p>" and report.headers["Content-Security-Policy"].startswith("sandbox; ")
    mark = shown["report"]["address"].rpartition("/")[2]
    for path in (
        "../secret.txt",
        f"jobs/{number}/files/../../../secret.txt",
        f"jobs/{number}/files//{tmp_path}/secret.txt",
        f"jobs/{number}/files/%2e%2e%2fsecret.txt",
        f"jobs/{number}/files/",
        f"jobs/{number + 1}/files/{mark}",
        "static/page.html",
        "__init__.py",
        "../server.py",
    ):
        assert Asked(page, path).status == 404, path


def test_what_is_sent_may_load_nothing_from_elsewhere() -> None:
    text = "".join(file.read_text("utf-8") for file in STATIC.iterdir())
    assert "innerHTML" not in text and " style=" not in text and " onclick=" not in text
    assert text.count("://") == text.count("http://www.w3.org/2000/svg")


# --------------------------------------------------------------------------------------------------------- what is answered


def test_the_board_and_a_job_with_hostile_names_and_numbers_that_are_none(
    page: Page, queue: Queue, tmp_path: Path
) -> None:
    number = add(queue, tmp_path / "p", NASTY, *training(tmp_path / "p"))
    claim = start(queue)
    told = {
        "stage": "lora",
        "step": 40,
        "total": 80,
        "unit": "steps",
        "seconds_left": 9.0,
        "values": {"loss": float("nan")},
    }
    queue.record_progress(number, told)
    board = Asked(page, "board").json
    assert board["jobs"][0]["title"] == NASTY and board["jobs"][0]["progress"]["values"]["loss"] is None
    assert board["inbox"] == str(tmp_path / "inbox") and board["arriving"] == {"new": "arriving, 3 pictures so far"}
    job = Asked(page, f"jobs/{number}").json
    assert job["curves"]["lora"]["loss"][7:10] == [[8, 0.125], [9, None], [10, 0.1]]
    assert Asked(page, job["previews"][0]["file"]["address"]).body == PIXEL
    assert Asked(page, "jobs/99").json["error"].startswith("there is no job 99.")
    queue.finish(claim, "done")


def test_of_many_jobs_a_window_is_sent_with_the_counts_of_all(page: Page, queue: Queue, tmp_path: Path) -> None:
    for number in range(130):
        queue.add(tmp_path / f"{number}.yaml", title=f"job {number}")
    for number in range(1, 121):
        queue.cancel(number)
    for number in range(130, 260):
        queue.add(tmp_path / f"{number}.yaml", title=f"job {number}")
    claim = start(queue)
    board = Asked(page, "board").json
    assert board["counts"] == {"running": 1, "waiting": 139, "ended": 120}
    states = [card["state"] for card in board["jobs"]]
    assert states == ["running"] + ["waiting"] * 100 + ["cancelled"] * 100
    everything = [job.number for job in queue.jobs()]
    assert [card["number"] for card in board["jobs"]] == everything[:101] + everything[140:240]
    assert [card["number"] for card in Asked(page, "board/300").json["jobs"]] == everything
    assert Asked(page, "board/x").status == 404
    queue.finish(claim, "done")


def test_with_ten_thousand_jobs_a_change_costs_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 ms are documented; a machine that also runs other tests gets three times as long."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    benchmark = importlib.import_module("board")
    queue = benchmark.filled(tmp_path)
    claim, answers = start(queue), Routes(queue)
    begin, rounds = time.process_time(), 10
    for step in range(rounds):
        queue.record_progress(claim.job.number, {"stage": "lora", "step": step, "total": 9, "unit": "steps"})
        body = answers.get("board").body
    assert (time.process_time() - begin) / rounds < 0.09 and len(body) < 200_000
    assert json.loads(body)["counts"] == {"running": 1, "waiting": 4999, "ended": 5000}
    queue.finish(claim, "done")
    queue.close()


def test_what_has_not_changed_is_not_sent_again(page: Page, queue: Queue, tmp_path: Path) -> None:
    number = add(queue, tmp_path / "p", "penny", *training(tmp_path / "p"))
    for path in ("board", f"jobs/{number}", "page.css"):
        first = Asked(page, path)
        assert Asked(page, path, If_None_Match=first.headers["ETag"]).status == 304, path
    tags = {path: Asked(page, path).headers["ETag"] for path in ("board", f"jobs/{number}")}
    tell(tmp_path / "p", Metric("lora", 41, {"loss": 0.5}))
    assert Asked(page, f"jobs/{number}", If_None_Match=tags[f"jobs/{number}"]).json["curves"]["lora"]["loss"][-1] == [
        41,
        0.5,
    ]
    queue.pause()
    assert Asked(page, "board", If_None_Match=tags["board"]).json["paused"]


def test_a_half_written_event_waits_for_its_end(page: Page, queue: Queue, tmp_path: Path) -> None:
    number = add(queue, tmp_path / "p", "penny", Log("lora", "one"))
    events = tmp_path / "p" / ".lorapipe" / "runs" / "1" / "events.jsonl"
    line = to_json(Log("lora", "고양이")).encode() + b"\n"
    for part in (line[:-9], line[-9:]):
        before = Asked(page, f"jobs/{number}").json["log"]
        with events.open("ab") as file:
            file.write(part)
    assert before == ["lora: one"] and Asked(page, f"jobs/{number}").json["log"] == ["lora: one", "lora: 고양이"]


def test_a_training_that_went_on_has_its_whole_curve(page: Page, queue: Queue, tmp_path: Path) -> None:
    def steps(first: int, last: int, loss: float) -> list[Event]:
        return [Metric("lora", step, {"loss": loss}) for step in range(first, last + 1)]

    folder, plan = tmp_path / "p", [Planned("dataset"), Planned("lora")]
    number = add(queue, folder, "penny", *plan, Started("lora", "other"), *steps(1, 9, 9.0))
    tell(folder, *plan, Started("lora", "key"), *steps(1, 5, 0.5), run=2)
    tell(folder, *plan, Started("lora", "key"), *steps(4, 6, 0.25), run=3)
    tell(folder, *plan, Reused("lora", "key"), Started("grid"), run=4)
    for run in (3, 4):
        queue.note_run(number, run)
        shown = Asked(page, f"jobs/{number}").json
        assert shown["curves"]["lora"]["loss"] == [[s, 0.5 if s < 4 else 0.25] for s in range(1, 7)]
        assert [stage["name"] for stage in shown["stages"]][:2] == ["dataset", "lora"]


def test_actions_act_and_say_what_cannot_be_done(page: Page, queue: Queue, tmp_path: Path) -> None:
    first, second, third = (add(queue, tmp_path / name, name) for name in "abc")
    assert Asked(page, "pause", "POST").status == 200 and queue.is_paused
    assert Asked(page, "resume", "POST").status == 200 and not queue.is_paused
    Asked(page, f"jobs/{third}/first", "POST")
    assert [job.number for job in queue.jobs()] == [third, first, second]
    Asked(page, f"jobs/{first}/cancel", "POST")
    assert queue.job(first).state == "cancelled"
    refused = Asked(page, f"jobs/{first}/cancel", "POST")
    assert (refused.status, refused.json) == (409, {"error": f"job {first} has ended already: cancelled."})
    Asked(page, f"jobs/{first}/retry", "POST")
    assert queue.job(first).state == "waiting"
    claim = start(queue)
    assert claim.job.number == third
    Asked(page, f"jobs/{third}/cancel", "POST")
    assert queue.asked(third) == 1 and Asked(page, "board").json["jobs"][0]["asked"] == 1
    assert Asked(page, f"jobs/{third}/clear", "POST").status == 404


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C as Unix sends it")
@pytest.mark.parametrize("words", [["watch", "inbox", "--ui"], ["queue", "ui"]], ids=" ".join)
def test_commands_show_the_page_and_stop(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "inbox").mkdir()
    with page_of_command(tmp_path, *words) as where:
        connection, board = json_at(where, "board")  # kept open: a connected browser does not prevent the end
        assert board["inbox"] == (str((tmp_path / "inbox").resolve()) if "inbox" in words else None)
    with pytest.raises(OSError):
        socket.create_connection((where.hostname or "", where.port or 0), timeout=1).close()
    connection.close()


# ------------------------------------------------------------------------------------------------------------ in a browser


@pytest.fixture
def watched(browser: Browser, page: Page) -> Iterator[Browser]:
    with without_complaints(browser, page):
        yield browser


@in_a_browser
def test_an_empty_queue_says_what_to_do(watched: Browser, page: Page, tmp_path: Path) -> None:
    watched.open(page, 360)
    watched.sees("Nothing to do yet", str(tmp_path / "inbox"), "arriving, 3 pictures so far")


@in_a_browser
def test_a_training_is_seen_live(watched: Browser, page: Page, queue: Queue, tmp_path: Path) -> None:
    watched.open(page)
    number = add(queue, tmp_path / "p", NASTY, *training(tmp_path / "p"))
    watched.sees(NASTY, "waiting", where="main")
    claim = start(queue)
    told = {"stage": "lora", "unit": "steps", "total": 80, "seconds_left": 125.0}
    queue.record_progress(number, {**told, "step": 20, "values": {"loss": 0.25, "s/it": 1.5}})
    watched.sees("20 / 80", "0.25", "1.5", "2:05", where="main")
    queue.record_progress(number, {**told, "step": 40, "values": {"loss": 0.125, "s/it": 1.5}})
    watched.sees("40 / 80", where="main")
    assert watched.has("document.querySelector('svg .raw').points.length") == 39  # one was NaN
    assert watched.has("document.querySelector('svg').getAttribute('aria-label')").startswith(
        "Loss from 1 at step 1 to"
    )
    watched.do("await page.waitForFunction(() => document.querySelector('.previews img').naturalWidth === 1);")
    assert watched.has("document.title") == f"50 % {NASTY} · lorapipe"
    tell(tmp_path / "p", Failed("lora", cause="oom", message="There is not enough memory.", hint="Lower the batch."))
    queue.finish(claim, "failed", "lora: There is not enough memory. Lower the batch.")
    watched.sees("lora: There is not enough memory. Lower the batch.", "then try again", where=".why")
    watched.sees(f"{NASTY}: failed", where="#said")
    watched.do("await page.getByRole('button', {name: 'Try again'}).click();")
    watched.sees("waiting", where=".head")
    assert queue.job(number).state == "waiting"


@in_a_browser
@pytest.mark.parametrize("losses", [[], [0.5], [0.5, None, None], [None], [1e30, 1e-30], [3.0] * 5], ids=str)
def test_any_curve_is_drawn(
    watched: Browser, page: Page, queue: Queue, tmp_path: Path, losses: list[float | None]
) -> None:
    points = [
        Metric("lora", step, {"loss": float("nan") if loss is None else loss}) for step, loss in enumerate(losses, 1)
    ]
    add(queue, tmp_path / "p", "penny", Started("lora"), *points)
    watched.open(page)
    watched.sees("Stages")
    drawn = watched.has("[...document.querySelectorAll('svg *')].map(each => each.outerHTML).join('')")
    assert bool(drawn) == any(loss is not None for loss in losses) and "NaN" not in drawn and "Infinity" not in drawn
    if losses and losses[-1] is None:
        watched.sees("the training has diverged")


@in_a_browser
def test_everything_works_with_the_keyboard(watched: Browser, page: Page, queue: Queue, tmp_path: Path) -> None:
    a, b, c = (add(queue, tmp_path / name, f"job {name}") for name in "abc")
    claim = start(queue)
    watched.open(page)
    watched.sees("job a", where="main")
    watched.press("j", "j")
    watched.sees("job c", where="main")
    watched.press("k")
    watched.sees("job b", where="main")
    focused = "document.activeElement.textContent"
    watched.press("Tab")
    assert watched.has(focused).startswith("job c")
    watched.press("Enter")
    watched.sees("job c", where="main")
    while "front" not in watched.has(focused):
        watched.press("Tab")
    assert watched.has("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    watched.press("Enter")
    watched.do(f"await page.locator('section:nth-of-type(2) li:first-child a[href=\"#{c}\"]').waitFor();")
    assert [job.number for job in queue.jobs()] == [a, c, b]
    watched.do("await page.locator('a.card').first().focus();")
    queue.record_progress(
        a, {"stage": "lora", "step": 3, "total": 9, "unit": "steps", "seconds_left": None, "values": {}}
    )
    watched.sees("lora · 3 of 9 steps")
    question = {"stage": "grown", "text": "Choose 4 of 12.", "question": "/q.json", "answer": "/chosen.txt"}
    queue.record_progress(a, question)
    watched.sees("grown waits for your answer")
    watched.press("Enter")
    watched.sees("Choose 4 of 12.", "/chosen.txt", where="main")
    watched.sees("job a", where="main")
    watched.do("await page.getByRole('button', {name: 'Cancel'}).focus();")
    watched.press("Enter", "Enter")  # the first choice of the dialog is to let it run
    assert queue.asked(a) == 0 and "Cancel" in watched.has(focused)
    watched.press("Enter", "Tab", "Enter")
    watched.sees("stopping", "Stop at once", where="main")
    assert queue.asked(a) == 1
    queue.finish(claim, "cancelled")
    watched.sees("cancelled", where="main")


@in_a_browser
def test_a_question_that_is_asked_again_at_once_waits_for_its_own_answer(
    watched: Browser, page: Page, queue: Queue, tmp_path: Path
) -> None:
    number = add(queue, tmp_path / "a", "job a")
    claim = start(queue)
    watched.open(page)
    watched.sees("Cancel", where="main")
    ask = "[...document.querySelectorAll('main button')].find((each) => each.textContent === 'Cancel').click()"
    let_it_run = "document.querySelector('#sure [value=no]').click()"
    watched.do(f"await page.evaluate(() => {{ {ask}; {let_it_run}; {ask}; }});")  # before the browser draws a frame
    watched.do("await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done))));")
    assert queue.asked(number) == 0
    watched.do("await page.getByRole('button', {name: 'Cancel it'}).click();")
    watched.sees("stopping", where="main")
    assert queue.asked(number) == 1
    queue.finish(claim, "cancelled")


@in_a_browser
def test_a_phone_shows_the_list_and_then_a_job(watched: Browser, page: Page, queue: Queue, tmp_path: Path) -> None:
    name = "a" * 120 + NASTY
    made = str(tmp_path / ("long" * 30) / "penny.safetensors")
    add(queue, tmp_path / "p", name, *training(tmp_path / "p"), Finished("lora", seconds=9, files=(made,)))
    queue.finish(start(queue), "done")
    watched.open(page, 360)
    visible = "return [await page.locator('nav').isVisible(), await page.locator('main').isVisible()];"
    watched.sees(name)
    assert watched.do(visible) == [True, False]
    watched.do("await page.locator('a.card').tap().catch(() => page.locator('a.card').click());")
    watched.sees(made)
    assert watched.do(visible) == [False, True]
    assert watched.has("document.documentElement.scrollWidth") == 360
    watched.do("await page.goBack();")
    assert watched.do(visible) == [True, False]


@in_a_browser
def test_more_of_a_long_queue_is_shown_on_demand(watched: Browser, page: Page, queue: Queue, tmp_path: Path) -> None:
    for number in range(130):
        queue.add(tmp_path / f"{number}.yaml", title=f"job of {number}")
    watched.open(page)
    watched.sees("130 waiting", "and 30 more jobs", "job of 99")
    assert watched.has("document.querySelectorAll('a.card').length") == 100
    watched.do("await page.getByRole('button', {name: 'Show more'}).click();")
    watched.sees("job of 129")
    assert watched.has("document.querySelector('#older').textContent") == ""


@in_a_browser
def test_a_server_that_is_gone_is_said_and_found_again(browser: Browser, queue: Queue, tmp_path: Path) -> None:
    add(queue, tmp_path / "p", "penny")
    with Page(Routes(queue), queue.root, 0) as page:
        port = urlsplit(page.address).port
        browser.open(page)
        browser.sees("penny", where="main")
    browser.sees("Not connected", where="#away")
    browser.sees("penny", where="main")
    queue.pause()
    with Page(Routes(queue), queue.root, port or 0):
        browser.sees("paused", where="#summary")
        browser.do("await page.locator('#away').waitFor({state: 'hidden'}); await page.goto('about:blank');")
